"""A second hub on the state of one that runs is turned away, and has touched nothing of it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from hubspoke.auditlog.files import LogFiles, parse_head, verify
from hubspoke.cli.failures import Exit
from pki.identity import Role
from tests.fakes.hub_process import hub_process
from tests.fakes.pauses import pause
from tests.fakes.real_hub import POLL_S, WAIT_S

if TYPE_CHECKING:
    from pathlib import Path

# Three hubs start, one after the other.
pytestmark = pytest.mark.timeout(300)

HUB_SERVER = (sys.executable, "-c", "from hub.cli import main; main()")
NO_PORTS = ("--listen", "127.0.0.1", "--mesh-port", "0", "--enrol-port", "0")


async def turned_away(directory: Path) -> tuple[int | None, str]:
    """Start a hub on the state in *directory*, and give its exit code and what it says at its end."""
    process = await asyncio.create_subprocess_exec(
        *HUB_SERVER, "run", "--state-dir", str(directory), *NO_PORTS,
        env={**os.environ, "HUBSPOKE_GATEWAY_ENABLED": "false"}, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(3 * WAIT_S):
            _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, errors.decode()


async def is_noted(log: LogFiles, event: str, node: str) -> None:
    """Wait until the writer has brought an event onto the disk, and the head with it, which it writes last."""
    async with asyncio.timeout(WAIT_S):
        while not is_whole(log, noted := entries(log)) or not any(
            (line["event"], line.get("node")) == (event, node) for line in noted
        ):
            await pause(POLL_S)


def entries(log: LogFiles) -> list[dict[str, object]]:
    """Give what is noted; of a line that is being written there is nothing yet."""
    whole, _, _ = log.current.read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def is_whole(log: LogFiles, noted: list[dict[str, object]]) -> bool:
    """Whether the head says that the log ends with the last that is *noted*."""
    end = parse_head(log.head.read_bytes())
    return end is not None and bool(noted) and end.seq == noted[-1]["seq"]


async def test_a_second_hub_on_the_same_state_leaves_the_audit_log_of_the_first_one_whole(tmp_path: Path):
    log = LogFiles(tmp_path / "hub")
    async with hub_process(tmp_path) as hub:
        await hub.join("before", Role.APP)
        await is_noted(log, "enrol.ok", "before")
        held = log.current.read_bytes(), log.head.read_bytes()
        for _ in range(2):
            code, errors = await turned_away(tmp_path)
            assert code == Exit.FAILED
            assert "Another hub runs on this state directory; stop it first." in errors
        assert (log.current.read_bytes(), log.head.read_bytes()) == held
        # The first one goes on with its chain as if nothing had been.
        await hub.join("after", Role.APP)
        await is_noted(log, "enrol.ok", "after")
        hub.process.terminate()
        await hub.process.wait()
    report = verify(log)
    assert (report.broken, report.breaks) == (None, 0)
    events = [line["event"] for line in entries(log)]
    assert (events.count("hub.start"), events.count("hub.stop"), events[-1]) == (1, 1, "hub.stop")
