"""A machine looks for itself why it is not in the mesh, on real ports and with real certificates."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
import pytest

from hubspoke.clock import SystemClock
from hubspoke.diagnosis.findings import Grade
from hubspoke.diagnosis.hub import of_hub_here
from hubspoke.diagnosis.judge import Outcome
from hubspoke.diagnosis.node import of_node, reason
from hubspoke.diagnosis.probe import Holder, look
from pki import disk
from pki.address import Address
from pki.credential import Credential
from pki.files import HubFiles
from pki.identity import Role
from pki.keys import new_key
from tests.fakes.certs import Shape, issue, make_mesh
from tests.fakes.home import Home
from tests.fakes.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from pki.files import NodeFiles
    from tests.fakes.real_hub import RealHub

CLOCK = SystemClock()
HUBSPOKE = (sys.executable, "-c", "from hubspoke.cli import main; main()")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every step take as long as it takes on a slow machine: only where nothing comes at all is the limit what matters."""
    monkeypatch.setattr("hubspoke.diagnosis.probe.STEP_TIMEOUT_S", 30.0)


def holder(files: NodeFiles) -> Holder:
    return Holder(files.identity, files.load_identity(), files.load_anchors(now=CLOCK.now()))


def nowhere() -> Address:
    """Give an address of this machine where nothing listens."""
    (port,) = free_ports(1)
    return Address(f"127.0.0.1:{port}")


@asynccontextmanager
async def listening(shown: Credential | None) -> AsyncIterator[Address]:
    """Run a gRPC server that shows *shown*, or speaks plain text."""
    server = grpc.aio.server()
    if shown is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        credentials = grpc.ssl_server_credentials([(shown.key_pem, shown.chain_pem)])
        port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield Address(f"127.0.0.1:{port}")
    finally:
        await server.stop(None)


@pytest.fixture
async def den(hub: RealHub) -> NodeFiles:
    return await hub.join("den", Role.SPOKE)


async def test_a_machine_that_is_in_the_mesh_finds_nothing_in_the_way(hub: RealHub, den: NodeFiles) -> None:
    found = await of_node(den, [Address(hub.mesh)], CLOCK.now())
    assert {finding.about for finding in found} == {"identity", "authorities", f"hub {hub.mesh}", "clock"}
    assert {finding.grade for finding in found} == {Grade.GOOD}
    assert await reason(den, [Address(hub.mesh)], CLOCK.now()) == ""


@pytest.mark.parametrize(
    ("minutes", "words"), [(-10, "so the clock is behind"), (10, "10 minutes ahead of the hub's")]
)
async def test_a_clock_that_is_ten_minutes_off_is_told(
    hub: RealHub, den: NodeFiles, minutes: int, words: str
) -> None:
    told = await reason(den, [Address(hub.mesh)], CLOCK.now() + timedelta(minutes=minutes))
    assert words in told
    assert "timedatectl" in told


async def test_a_port_where_nothing_listens_is_told(den: NodeFiles) -> None:
    assert (await look(nowhere(), holder(den))).outcome is Outcome.REFUSED


async def test_a_name_that_leads_nowhere_is_told(den: NodeFiles) -> None:
    assert (await look(Address("hub.invalid:7443"), holder(den))).outcome is Outcome.NO_NAME


async def test_a_port_that_says_nothing_is_told(den: NodeFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine answers, and the program behind the port never does."""
    monkeypatch.setattr("hubspoke.diagnosis.probe.STEP_TIMEOUT_S", 0.5)
    ended = asyncio.Event()

    async def wait(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    async with await asyncio.start_server(wait, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert (await look(Address(f"127.0.0.1:{port}"), holder(den))).outcome is Outcome.SILENT
        ended.set()


async def test_a_port_of_another_program_is_told(den: NodeFiles) -> None:
    async with listening(None) as address:
        assert (await look(address, holder(den))).outcome in {Outcome.OTHER, Outcome.TURNED_AWAY}


async def test_a_hub_of_another_mesh_is_told(den: NodeFiles) -> None:
    shape = Shape(uris=(), dns=("hub.hubspoke.internal",))
    async with listening(issue(make_mesh(CLOCK.now()).hub_issuer, shape, now=CLOCK.now())) as address:
        assert (await look(address, holder(den))).outcome is Outcome.UNTRUSTED


async def test_the_gateway_where_the_hub_is_meant_is_told(hub: RealHub, den: NodeFiles) -> None:
    key = new_key()
    issuer = HubFiles(hub.directory / "hub").authorities.load_hub_issuer()
    gateway = Credential(key, issuer.issue_gateway(key.public_key(), ["127.0.0.1"], now=CLOCK.now()))
    async with listening(gateway) as address:
        assert (await look(address, holder(den))).outcome is Outcome.WRONG_NAME


async def test_a_certificate_that_the_hubs_tls_refuses_is_told(hub: RealHub, den: NodeFiles) -> None:
    other = issue(make_mesh(CLOCK.now()).node_issuer, now=CLOCK.now())
    disk.replace(den.identity, other.pem, mode=disk.SECRET_MODE)
    assert (await look(Address(hub.mesh), holder(den))).outcome is Outcome.TURNED_AWAY


async def test_an_identity_that_the_hub_does_not_know_is_told(hub: RealHub, den: NodeFiles) -> None:
    issuer = HubFiles(hub.directory / "hub").authorities.load_node_issuer()
    ghost = issue(issuer, Shape(uris=("spiffe://hubspoke.internal/spoke/ghost",)), now=CLOCK.now())
    disk.replace(den.identity, ghost.pem, mode=disk.SECRET_MODE)
    seen = await look(Address(hub.mesh), holder(den))
    assert seen.outcome is Outcome.DENIED
    assert "not accepted" in seen.detail


async def test_a_damaged_file_is_told_with_what_mends_it(den: NodeFiles) -> None:
    den.anchors.write_bytes(b"")
    *_, finding = await of_node(den, [], CLOCK.now())
    assert (finding.grade, finding.about) == (Grade.BAD, "files")
    assert str(den.anchors) in finding.what
    assert finding.mend


async def test_an_address_that_fails_is_only_a_warning_where_another_one_leads_to_the_hub(
    hub: RealHub, den: NodeFiles
) -> None:
    hubs = [nowhere(), Address(hub.mesh)]
    found = await of_node(den, hubs, CLOCK.now())
    assert [finding.grade for finding in found if finding.about == f"hub {hubs[0]}"] == [Grade.WARNING]
    assert await reason(den, hubs, CLOCK.now()) == ""


async def test_the_command_says_what_is_in_the_way_of_everything_on_this_machine(
    hub: RealHub, den: NodeFiles, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    den.directory.rename(state / "spoke")
    command = (*HUBSPOKE, "doctor", "--state-dir", str(state), "--json")
    well = await Home(tmp_path).run(*command, "--hub", hub.mesh)
    assert (well.status, well.errors) == (0, "")
    ill = await Home(tmp_path).run(*command, "--hub", nowhere())
    (finding,) = [row for row in json.loads(ill.output)["findings"] if row["grade"] == "bad"]
    assert (ill.status, finding["of"]) == (1, "spoke")
    assert "nothing listens" in finding["what"]
    assert "start `hub-server`" in finding["mend"]


async def test_a_hub_looks_at_its_own_keys(hub: RealHub) -> None:
    files = HubFiles(hub.directory / "hub")
    found = await of_hub_here(files, CLOCK.now())
    assert not [finding for finding in found if finding.grade is Grade.BAD]
    soon = await of_hub_here(files, CLOCK.now() + timedelta(days=1_800))
    assert "issuer of hubs ends in 2" in soon[0].what
    assert "pki rotate" in soon[0].mend
    files.authorities.key("node-issuing").chmod(0o644)
    (_, exposed, *_) = await of_hub_here(files, CLOCK.now())
    assert "chmod 600" in exposed.what
