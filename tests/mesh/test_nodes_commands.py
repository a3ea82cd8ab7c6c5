"""`hubspoke nodes`, `hubspoke revoke` and the joins that wait, as people run them, beside a real hub."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from hubspoke.admin import AdminClient
from hubspoke.cli.failures import Exit
from hubspoke.types import NodeState
from pki.identity import Role
from tests.fakes.real_hub import WAIT_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fakes.real_hub import RealHub

# Up to five processes, one after the other.
pytestmark = pytest.mark.timeout(300)

HUBSPOKE = ("-c", "from hubspoke.cli import main; main()")
SPOKE_AGENT = ("-c", "from spoke.cli import main; main()")
COMMAND_S_MAX = 6 * WAIT_S


@asynccontextmanager
async def started(*words: str, state: Path, told: str = "") -> AsyncIterator[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, "--state-dir", str(state), stdin=pipe, stdout=pipe, stderr=pipe
    )
    assert process.stdin is not None
    process.stdin.write(told.encode())
    process.stdin.close()
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ran(hub: RealHub, *words: str) -> tuple[int | None, str, str]:
    """Run `hubspoke` as the mesh's admin."""
    async with started(*HUBSPOKE, *words, state=hub.directory) as process, asyncio.timeout(COMMAND_S_MAX):
        output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


async def token(hub: RealHub, name: str, role: Role) -> str:
    async with AdminClient(hub.admin.directory) as admin:
        return (await admin.create_join_token(name, role, needs_approval=True)).text


async def says(process: asyncio.subprocess.Process, part: str) -> str:
    """Read what a command says on standard error until it has said *part*."""
    assert process.stderr is not None
    said = ""
    async with asyncio.timeout(COMMAND_S_MAX):
        while part not in said:
            line = await process.stderr.readline()
            assert line, f"it has ended without a word of {part!r}: {said}"
            said += line.decode()
    return said


@pytest.mark.parametrize(("program", "role"), [(HUBSPOKE, Role.APP), (SPOKE_AGENT, Role.SPOKE)])
async def test_a_machine_says_what_the_operator_runs_and_waits_over_a_crash(
    hub: RealHub, tmp_path: Path, program: tuple[str, ...], role: Role
) -> None:
    state = tmp_path / "machine"
    async with started(*program, "join", state=state, told=await token(hub, "den", role)) as process:
        first = await says(process, "Ctrl-C leaves")
        process.kill()
    # No token is given any more.
    async with started(*program, "join", state=state) as process:
        again = await says(process, "Ctrl-C leaves")
        code, output, _ = await ran(hub, "nodes", "list", "--json")
        (den,) = (node for node in json.loads(output)["nodes"] if node["name"] == "den")
        assert (code, den["state"], den["serial"]) == (Exit.DONE, NodeState.PENDING, "")
        for said in (first, again):
            assert den["key"] in said
            assert "hubspoke nodes approve den" in said
        code, output, _ = await ran(hub, "nodes", "approve", "den")
        assert (code, den["key"] in output) == (Exit.DONE, True)
        async with asyncio.timeout(COMMAND_S_MAX):
            output, _ = await process.communicate()
        assert (process.returncode, b"Joined as" in output) == (Exit.DONE, True)


async def test_a_machine_that_is_denied_ends_with_a_sentence(hub: RealHub, tmp_path: Path) -> None:
    told = await token(hub, "den", Role.SPOKE)
    async with started(*SPOKE_AGENT, "join", state=tmp_path / "machine", told=told) as process:
        await says(process, "Ctrl-C leaves")
        code, output, _ = await ran(hub, "nodes", "deny", "den")
        assert (code, output) == (Exit.DONE, "spoke 'den' is not let in.\n")
        async with asyncio.timeout(COMMAND_S_MAX):
            _, errors = await process.communicate()
    assert process.returncode == Exit.IDENTITY
    assert errors.decode() == "Error: An admin has denied den entry to the mesh.\n"


async def test_who_is_in_the_mesh_is_a_table(hub: RealHub) -> None:
    await hub.join("den", Role.SPOKE)
    code, output, errors = await ran(hub, "nodes", "list")
    assert code == Exit.DONE, errors
    rows = {line.split()[0]: line for line in output.splitlines()}
    assert "active" in rows["admin"]
    assert "number 1, for 24 h" in rows["den"]


@pytest.mark.parametrize("words", [("revoke", "den"), ("nodes", "revoke", "den")])
async def test_a_node_is_revoked_and_the_list_says_so(hub: RealHub, words: tuple[str, ...]) -> None:
    await hub.join("den", Role.SPOKE)
    code, output, errors = await ran(hub, *words)
    assert code == Exit.DONE, errors
    assert "`hubspoke token create den --role spoke`" in output
    _, output, _ = await ran(hub, "nodes", "list")
    assert "den: revoked since" in output


@pytest.mark.parametrize(
    ("words", "says", "code"),
    [
        (("revoke", "nobody"), "There is no node 'nobody'", Exit.FAILED),
        (("nodes", "unlock", "admin"), "Admin is not locked, it is active", Exit.FAILED),
        (("nodes", "approve", "admin"), "Nobody called 'admin' waits to join", Exit.FAILED),
    ],
)
async def test_what_cannot_be_done_is_a_sentence(
    hub: RealHub, words: tuple[str, ...], says: str, code: Exit
) -> None:
    returned, output, errors = await ran(hub, *words)
    assert (returned, output) == (code, "")
    assert errors.startswith(f"Error: {says}")
