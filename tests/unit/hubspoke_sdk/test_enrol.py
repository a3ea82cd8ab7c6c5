from pathlib import Path

import pytest

from hubspoke import enrol
from hubspoke.channel import dial
from hubspoke.clock import SystemClock
from hubspoke.credentials import channel_credentials
from hubspoke.enrol import join
from hubspoke.errors import AlreadyEnrolled, InvalidRequest, Unauthenticated, Unreachable
from pki.address import TOLD_MAX, Address
from pki.authority_files import ROOT
from pki.errors import BadToken, NotEnrolled
from pki.files import NodeFiles
from pki.identity import Identity, NodeName, Role
from pki.tokens import JoinToken
from tests.fakes.hub import NOWHERE, FakeHub, MeshOnDisk, make_mesh, serve_enrol, serve_mesh


def token_for(mesh: MeshOnDisk, *addresses: str) -> str:
    root = mesh.hub.authorities.load_certificate(ROOT)
    return JoinToken.mint(root, [Address(address) for address in addresses]).text


async def join_as_app(token: str, directory: Path, *, replace: bool = False):
    return await join(token, directory, roles=[Role.APP, Role.ADMIN], clock=SystemClock(), replace=replace)


async def test_a_token_becomes_a_stored_identity(mesh: MeshOnDisk, tmp_path: Path):
    with serve_enrol(FakeHub(mesh.hub)) as address:
        identity = await join_as_app(token_for(mesh, address), tmp_path)
    files = NodeFiles(tmp_path)
    assert identity.identity == Identity(Role.APP, NodeName("laptop"))
    assert files.load_identity() == identity
    assert files.anchors.read_bytes() == mesh.hub.anchors.read_bytes()
    assert files.load_addresses().mesh == ("127.0.0.1:7443",)
    assert files.load_addresses().enrol == (address,)
    assert not files.next_key.exists()


async def test_a_dead_first_address_is_passed_over(mesh: MeshOnDisk, tmp_path: Path):
    with serve_enrol(FakeHub(mesh.hub)) as address:
        identity = await join_as_app(token_for(mesh, NOWHERE, address), tmp_path)
    assert identity.identity.name == "laptop"


async def test_no_hub_at_all_is_said_with_the_address(mesh: MeshOnDisk, tmp_path: Path):
    with pytest.raises(Unreachable, match=f"{NOWHERE} does not answer"):
        await join_as_app(token_for(mesh, NOWHERE), tmp_path)


async def test_a_fake_hub_never_sees_the_secret(mesh: MeshOnDisk, tmp_path: Path):
    fake = FakeHub(make_mesh(tmp_path / "other").hub)
    with serve_enrol(fake) as address, pytest.raises(Unreachable, match="not the hub of this mesh"):
        await join_as_app(token_for(mesh, address), tmp_path / "app")
    assert fake.joins == []


async def test_a_fake_hub_before_the_real_one_does_not_matter(mesh: MeshOnDisk, tmp_path: Path):
    fake = FakeHub(make_mesh(tmp_path / "other").hub)
    with serve_enrol(fake) as fake_address, serve_enrol(FakeHub(mesh.hub)) as address:
        await join_as_app(token_for(mesh, fake_address, address), tmp_path / "app")
    assert fake.joins == []


async def test_a_token_that_was_cut_is_refused_before_anything_is_sent(mesh: MeshOnDisk, tmp_path: Path):
    hub = FakeHub(mesh.hub)
    with serve_enrol(hub) as address, pytest.raises(BadToken):
        await join_as_app(token_for(mesh, address)[:-9], tmp_path)
    assert hub.joins == []


async def test_a_refusal_is_the_hubs_own_and_the_next_token_gets_a_new_key(mesh: MeshOnDisk, tmp_path: Path):
    hub = FakeHub(mesh.hub, refuses=Unauthenticated("the token was used already"))
    with serve_enrol(hub) as address:
        for _ in range(2):
            with pytest.raises(Unauthenticated, match="used already"):
                await join_as_app(token_for(mesh, address), tmp_path)
    first, second = hub.joins
    assert first.certificate_request != second.certificate_request
    assert keyless(tmp_path)


async def test_a_lost_answer_is_asked_for_again_with_the_same_key(mesh: MeshOnDisk, tmp_path: Path):
    hub = FakeHub(mesh.hub, loses_replies=1)
    with serve_enrol(hub) as address:
        token = token_for(mesh, address)
        with pytest.raises(Unreachable):
            await join_as_app(token, tmp_path)
        key = NodeFiles(tmp_path).next_key.read_bytes()
        await join_as_app(token, tmp_path)
    assert key in NodeFiles(tmp_path).identity.read_bytes()


async def test_a_token_for_another_role_is_not_stored(mesh: MeshOnDisk, tmp_path: Path):
    hub = FakeHub(mesh.hub, joiner=Identity(Role.SPOKE, NodeName("den")))
    with serve_enrol(hub) as address, pytest.raises(InvalidRequest, match="for a spoke"):
        await join_as_app(token_for(mesh, address), tmp_path)
    with pytest.raises(NotEnrolled):
        NodeFiles(tmp_path).load_identity()


async def test_a_valid_identity_is_not_lost_by_accident(mesh: MeshOnDisk, app: NodeFiles):
    hub = FakeHub(mesh.hub)
    with serve_enrol(hub) as address, pytest.raises(AlreadyEnrolled, match="app 'laptop'"):
        await join_as_app(token_for(mesh, address), app.directory)
    assert hub.joins == []


async def test_a_valid_identity_is_replaced_when_that_is_asked_for(mesh: MeshOnDisk, app: NodeFiles):
    before = app.load_identity()
    with serve_enrol(FakeHub(mesh.hub)) as address:
        await join_as_app(token_for(mesh, address), app.directory, replace=True)
    assert app.load_identity().serial != before.serial


async def test_an_identity_that_has_ended_makes_room(mesh: MeshOnDisk, ended_app: NodeFiles):
    with serve_enrol(FakeHub(mesh.hub)) as address:
        await join_as_app(token_for(mesh, address), ended_app.directory)
    assert ended_app.load_identity().not_after > SystemClock().now()


def keyless(directory: Path) -> bool:
    return not NodeFiles(directory).next_key.exists()


def addresses(*names: str) -> tuple[Address, ...]:
    return tuple(Address(f"{name}:7443") for name in names)


def test_what_a_hub_tells_comes_first_in_its_order_and_the_rest_stays_behind_it():
    known, told = addresses("by-hand", "a"), addresses("b", "a")
    assert enrol.together(known, told) == addresses("b", "a", "by-hand")
    assert enrol.together(told, told) == told


def test_of_addresses_that_no_hub_tells_any_more_the_newest_stay():
    known: tuple[Address, ...] = ()
    for number in range(enrol.KEPT_MAX + 4):  # each time a hub that is somewhere else
        known = enrol.together(known, addresses(f"n{number}"))
    assert known == addresses(*(f"n{number}" for number in reversed(range(3, enrol.KEPT_MAX + 4))))


async def caught_up(mesh: MeshOnDisk, app: NodeFiles, *tells: str) -> tuple[Address, ...]:
    """Say where a node looks for the mesh after a hub has told it *tells*."""
    with serve_mesh(FakeHub(mesh.hub, tells=tells)) as address:
        anchors = app.load_anchors(now=SystemClock().now())
        channel = await dial([address], channel_credentials(app.load_identity(), anchors))
        async with channel:
            await enrol.catch_up(channel, app, SystemClock())
    return app.load_addresses().mesh


async def test_addresses_that_cannot_be_used_are_left_out(mesh: MeshOnDisk, app: NodeFiles):
    many = [f"n{number}:7443" for number in range(TOLD_MAX + 1)]
    assert await caught_up(mesh, app, "no address", "box:7443") == ("box:7443", NOWHERE)
    assert await caught_up(mesh, app, *many) == (*many[:-1], "box:7443", NOWHERE)
    assert (await caught_up(mesh, app, "no address"))[:1] == ("n0:7443",)


async def test_addresses_that_are_damaged_are_written_anew(mesh: MeshOnDisk, app: NodeFiles):
    app.hub.write_text("{")
    assert await caught_up(mesh, app, "box:7443") == ("box:7443",)
