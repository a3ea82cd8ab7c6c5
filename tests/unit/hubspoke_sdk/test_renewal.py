import asyncio
import shutil
from datetime import timedelta

import pytest

from hubspoke import enrol
from hubspoke.channel import dial
from hubspoke.clock import SystemClock
from hubspoke.credentials import channel_credentials
from hubspoke.errors import ProtocolViolation, Unreachable
from hubspoke.renewal import News, due_in_s, keep_fresh
from pki.credential import StoredIdentity
from pki.files import NodeFiles
from pki.policy import check_csr
from tests.fakes.clock import MovableClock
from tests.fakes.hub import WAIT_S, FakeHub, MeshOnDisk, serve_mesh

CLOCK = SystemClock()


async def renew(address: str, files: NodeFiles, current: StoredIdentity) -> StoredIdentity:
    channel = await dial([address], channel_credentials(current, files.load_anchors(now=CLOCK.now())))
    async with channel:
        return await enrol.renew(channel, files, current, CLOCK)


def test_renewal_is_due_around_half_of_the_life(app: NodeFiles):
    identity = app.load_identity()
    life_s = (identity.not_after - identity.not_before).total_seconds()
    assert due_in_s(identity, identity.not_before, chance=0.0) == pytest.approx(0.45 * life_s)
    assert due_in_s(identity, identity.not_before, chance=1.0) == pytest.approx(0.55 * life_s)


def test_renewal_that_is_late_is_due_at_once(old_app: NodeFiles):
    identity = old_app.load_identity()
    assert due_in_s(identity, identity.not_after, chance=0.5) == 0.0


async def test_what_is_due_is_renewed_once_and_the_next_one_waits_for_its_time(
    mesh: MeshOnDisk, old_app: NodeFiles
):
    renewals = asyncio.Queue[None]()

    async def give_fresh() -> StoredIdentity:
        renewals.put_nowait(None)
        return mesh.admin.load_identity()

    keeping = asyncio.create_task(
        keep_fresh(old_app.load_identity(), give_fresh, clock=CLOCK, chance=lambda: 0.5)
    )
    await asyncio.wait_for(renewals.get(), WAIT_S)
    for _ in range(10):  # as often as it could come round again
        await asyncio.sleep(0)
    keeping.cancel()
    await asyncio.wait([keeping])
    assert keeping.cancelled()
    assert renewals.empty()


async def test_a_failed_renewal_is_tried_again(old_app: NodeFiles):
    identity = old_app.load_identity()
    tries = asyncio.Queue[None]()

    async def fail() -> StoredIdentity:
        tries.put_nowait(None)
        raise Unreachable("no hub answers")

    # Chance 0 makes every back-off 0 s long.
    keeping = asyncio.create_task(keep_fresh(identity, fail, clock=CLOCK, chance=lambda: 0.0))
    for _ in range(3):
        await asyncio.wait_for(tries.get(), WAIT_S)
    keeping.cancel()
    await asyncio.wait([keeping])
    assert keeping.cancelled()


async def test_what_is_due_is_renewed_although_asking_for_news_goes_on_failing(app: NodeFiles):
    clock, asked, renewals = MovableClock(), asyncio.Queue[None](), asyncio.Queue[None]()

    async def ask() -> StoredIdentity:
        asked.put_nowait(None)
        raise ProtocolViolation("nothing that makes sense")

    async def hang() -> StoredIdentity:
        renewals.put_nowait(None)
        await asyncio.Event().wait()
        raise AssertionError

    news = News(ask)
    news.tell(0.0)
    keeping = asyncio.create_task(
        keep_fresh(app.load_identity(), hang, clock=clock, chance=lambda: 0.0, news=news)
    )
    for _ in range(3):
        await asyncio.wait_for(asked.get(), WAIT_S)
    assert renewals.empty()
    clock.set_day(12 * 3_600.0)
    await asyncio.wait_for(renewals.get(), WAIT_S)
    keeping.cancel()
    await asyncio.wait([keeping])
    assert keeping.cancelled()


async def test_a_renewed_certificate_is_stored_with_its_key(mesh: MeshOnDisk, app: NodeFiles):
    before = app.load_identity()
    with serve_mesh(FakeHub(mesh.hub)) as address:
        fresh = await renew(address, app, before)
    assert app.load_identity() == fresh
    assert fresh.identity == before.identity
    assert fresh.serial != before.serial
    assert fresh.not_after - CLOCK.now() > timedelta(hours=23)


async def test_a_lost_answer_is_asked_for_again_with_the_same_key(mesh: MeshOnDisk, app: NodeFiles):
    hub = FakeHub(mesh.hub, loses_replies=1)
    before = app.load_identity()
    with serve_mesh(hub) as address:
        with pytest.raises(Unreachable):
            await renew(address, app, before)
        assert app.load_identity() == before
        await renew(address, app, before)
    first, second = hub.keys
    assert key_of(first) == key_of(second)


async def test_what_another_process_has_renewed_is_taken_over(mesh: MeshOnDisk, app: NodeFiles):
    hub = FakeHub(mesh.hub)
    before = app.load_identity()
    with serve_mesh(hub) as address:
        theirs = await renew(address, app, before)
        assert await renew(address, app, before) == theirs
    assert len(hub.keys) == 1


async def test_a_certificate_for_somebody_else_is_not_stored(mesh: MeshOnDisk, app: NodeFiles, tmp_path):
    """The hub renews for whoever the connection belongs to, here the admin."""
    others = tmp_path / "admin"
    shutil.copytree(mesh.admin.directory, others)
    admin = NodeFiles(others).load_identity()
    before = app.load_identity()
    with serve_mesh(FakeHub(mesh.hub)) as address:
        channel = await dial([address], channel_credentials(admin, app.load_anchors(now=CLOCK.now())))
        async with channel:
            with pytest.raises(ProtocolViolation, match="somebody else"):
                await enrol.renew(channel, app, before, CLOCK)
    assert app.load_identity() == before


def key_of(request_der: bytes) -> object:
    return check_csr(request_der).public_numbers()
