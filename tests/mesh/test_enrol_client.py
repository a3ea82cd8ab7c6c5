"""Joining and renewing against the hub's own enrolment: its store, its rules, its two ports."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from hubspoke import enrol
from hubspoke.admin import AdminClient
from hubspoke.channel import dial
from hubspoke.clock import SystemClock
from hubspoke.credentials import channel_credentials
from hubspoke.errors import Unauthenticated
from pki.credential import StoredIdentity
from pki.files import NodeFiles
from pki.identity import Role
from pki.tokens import JoinToken
from tests.fakes.real_hub import WAIT_S, RealHub, real_hub

CLOCK = SystemClock()


class Port:
    """The enrolment of a real hub: where its two ports are, and who makes its tokens."""

    def __init__(self, hub: RealHub) -> None:
        self._hub = hub
        self.mesh = hub.mesh

    async def token(self, name: str, role: Role = Role.SPOKE) -> str:
        async with AdminClient(self._hub.admin.directory) as admin:
            return (await admin.create_join_token(name, role)).text


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Port]:
    async with real_hub(tmp_path / "mesh") as running:
        yield Port(running)


async def join(token: str, directory: Path) -> StoredIdentity:
    return await enrol.join(token, directory, roles=[Role.SPOKE], clock=CLOCK)


async def renew(files: NodeFiles, current: StoredIdentity) -> StoredIdentity:
    credentials = channel_credentials(current, files.load_anchors(now=CLOCK.now()))
    async with await dial(files.load_addresses().mesh, credentials) as channel:
        return await enrol.renew(channel, files, current, CLOCK)


async def test_a_spoke_joins_with_one_pasted_line(hub: Port, tmp_path: Path):
    identity = await join(await hub.token("den"), tmp_path / "den")
    assert identity.identity.uri == "spiffe://hubspoke.internal/spoke/den"
    assert NodeFiles(tmp_path / "den").load_addresses().mesh == (hub.mesh,)
    assert timedelta(hours=23) < identity.not_after - CLOCK.now() <= timedelta(hours=24)


async def test_a_token_lets_one_machine_in(hub: Port, tmp_path: Path):
    token = await hub.token("den")
    await join(token, tmp_path / "first")
    with pytest.raises(Unauthenticated, match="used already"):
        await join(token, tmp_path / "second")


async def test_a_token_that_was_guessed_does_not_burn_the_real_one(hub: Port, tmp_path: Path):
    token, other = await hub.token("den"), await hub.token("attic")
    parts, stranger = JoinToken.parse(token), JoinToken.parse(other)
    forged = JoinToken(parts.id, stranger.secret, parts.root, parts.addresses)
    with pytest.raises(Unauthenticated):
        await join(forged.text, tmp_path / "thief")
    assert (await join(token, tmp_path / "den")).identity.name == "den"


async def test_a_joined_machine_renews_over_its_own_connection(hub: Port, tmp_path: Path):
    files = NodeFiles(tmp_path / "den")
    first = await join(await hub.token("den"), files.directory)
    second = await renew(files, first)
    assert second.serial != first.serial
    assert (await renew(files, second)).identity == first.identity


async def test_a_renewal_whose_answer_got_lost_gets_the_same_certificate(hub: Port, tmp_path: Path):
    files = NodeFiles(tmp_path / "den")
    first = await join(await hub.token("den"), files.directory)
    before_the_crash = files.identity.read_bytes()
    files.request_key()
    key = files.next_key.read_bytes()
    second = await renew(files, first)
    restore(files, before_the_crash, key)
    assert (await renew(files, first)).serial == second.serial


def restore(files: NodeFiles, identity_pem: bytes, next_key_pem: bytes) -> None:
    """Put back what a machine has on disk that lost power between the question and the answer."""
    files.identity.write_bytes(identity_pem)
    files.next_key.write_bytes(next_key_pem)
    files.next_key.chmod(0o600)


async def test_a_hub_may_want_everybody_approved(tmp_path: Path):
    async with real_hub(tmp_path / "mesh", approve=True) as hub:
        asked: asyncio.Queue[enrol.Pending] = asyncio.Queue()
        joining = asyncio.create_task(
            enrol.join(
                await Port(hub).token("den"),
                tmp_path / "den",
                roles=[Role.SPOKE],
                clock=CLOCK,
                waiting=asked.put_nowait,
            )
        )
        async with asyncio.timeout(WAIT_S), AdminClient(hub.admin.directory) as admin:
            await admin.approve((await asked.get()).name)
            assert (await joining).identity.name == "den"
