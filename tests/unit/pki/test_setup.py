import os
import stat
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pki import authority_files, disk
from pki.address import Address, Host
from pki.bundle import parse_chain, require_anchored
from pki.errors import AlreadyInitialised, BadAddress, NotInitialised, WeakPassphrase
from pki.files import HubAddresses, HubFiles, NodeFiles
from pki.identity import Identity, Role, node_name
from pki.keys import new_key
from pki.profiles import Lifetimes
from pki.setup import Plan, Summary, initialise, renew_gateway, renew_hub

PASSPHRASE = b"five random words are enough"
PLAN = Plan(
    hub_id=node_name("h1"),
    admin_name=node_name("ada"),
    hosts=(Host("den.local"), Host("192.168.1.5")),
    addresses=HubAddresses(mesh=(Address("den.local:7443"),), enrol=(Address("den.local:7444"),)),
)


# How often `initialise` waits for the disk: 6 files of authorities and their directory, 7 files that are
# replaced and theirs, and the directory in which the authorities appear.
SYNCS = 7 + 1 + 2 * 7 + 1


class PowerCut(Exception):
    """The machine stops here."""


class PowerCutAt:
    """An `os.fsync` that works a number of times."""

    def __init__(self, moment: int):
        self.left = moment

    def __call__(self, descriptor: int) -> None:
        if self.left == 0:
            raise PowerCut
        self.left -= 1


@pytest.fixture
def hub(tmp_path: Path) -> HubFiles:
    return HubFiles(tmp_path / "state" / "hub")


@pytest.fixture
def admin(tmp_path: Path) -> NodeFiles:
    return NodeFiles(tmp_path / "config")


@pytest.fixture
def summary(hub: HubFiles, admin: NodeFiles, now: datetime) -> Summary:
    return initialise(hub, admin, PLAN, passphrase=PASSPHRASE, now=now)


def snapshot(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def test_a_new_mesh_has_every_file_and_no_other(summary: Summary, hub: HubFiles, admin: NodeFiles):
    assert sorted(snapshot(hub.directory)) == [
        "anchors.pem",
        "gateway.pem",
        "identity.pem",
        "pki/admin.pem",
        "pki/hub-issuing.key",
        "pki/hub-issuing.pem",
        "pki/node-issuing.key",
        "pki/node-issuing.pem",
        "pki/root.key",
        "pki/root.pem",
    ]
    assert sorted(snapshot(admin.directory)) == [
        ".lock",
        "anchors.pem",
        "generation",
        "hub.json",
        "identity.pem",
    ]
    assert summary.hosts == PLAN.hosts


def test_hub_admin_and_gateway_belong_to_the_new_root(
    summary: Summary, hub: HubFiles, admin: NodeFiles, now: datetime
):
    anchors = admin.load_anchors(now=now)
    assert anchors == hub.load_anchors(now=now) == (hub.authorities.load_root(PASSPHRASE).certificate,)
    for chain_pem in (summary.hub.chain_pem, summary.admin.chain_pem, hub.load_gateway().chain_pem):
        require_anchored(parse_chain(chain_pem), anchors)


def test_the_summary_is_what_lies_on_disk(summary: Summary, hub: HubFiles, admin: NodeFiles):
    assert summary.hub == hub.load_identity()
    assert summary.hub.identity == Identity(Role.HUB, node_name("h1"))
    assert summary.admin == admin.load_identity()
    assert summary.admin.identity == Identity(Role.ADMIN, node_name("ada"))
    assert summary.gateway_not_after == hub.load_gateway().not_after
    assert admin.load_addresses() == PLAN.addresses


def test_the_summary_prints_no_key(summary: Summary):
    assert "PRIVATE" not in repr(summary)


def test_the_roots_key_is_encrypted_if_there_is_a_passphrase(summary: Summary, hub: HubFiles):
    assert b"ENCRYPTED" in hub.authorities.key(authority_files.ROOT).read_bytes()
    assert b"ENCRYPTED" not in hub.authorities.key(authority_files.HUB_ISSUING).read_bytes()
    assert len(summary.root_fingerprint) == 64


def test_without_a_passphrase_the_roots_key_lies_open(hub: HubFiles, admin: NodeFiles, now: datetime):
    initialise(hub, admin, PLAN, passphrase=None, now=now)
    assert hub.authorities.load_root(None)


@pytest.mark.skipif(not disk.POSIX, reason="Windows has no modes")
@pytest.mark.usefixtures("summary")
def test_every_file_with_a_key_is_the_owners_alone(hub: HubFiles):
    for path in hub.directory.rglob("*.*"):
        wanted = 0o600 if b"PRIVATE KEY" in path.read_bytes() else 0o644
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


@pytest.mark.usefixtures("summary")
def test_a_mesh_is_never_overwritten(hub: HubFiles, admin: NodeFiles, now: datetime, tmp_path: Path):
    before = snapshot(tmp_path)
    for other_admin in (admin, NodeFiles(tmp_path / "elsewhere")):
        with pytest.raises(AlreadyInitialised, match=r"there are keys in .*/pki"):
            initialise(hub, other_admin, PLAN, passphrase=None, now=now)
    assert snapshot(tmp_path) == before


@pytest.mark.usefixtures("summary")
def test_the_identity_of_another_mesh_is_never_overwritten(admin: NodeFiles, now: datetime, tmp_path: Path):
    before = snapshot(tmp_path)
    with pytest.raises(AlreadyInitialised, match="there is an identity in"):
        initialise(HubFiles(tmp_path / "other"), admin, PLAN, passphrase=None, now=now)
    assert snapshot(tmp_path) == before


@pytest.mark.usefixtures("summary")
def test_whoever_moves_the_keys_away_may_begin_again(hub: HubFiles, admin: NodeFiles, now: datetime):
    hub.authorities.directory.rename(hub.directory / "pki.old")
    again = initialise(hub, admin, PLAN, passphrase=None, now=now)
    assert hub.load_identity() == again.hub


def test_a_hub_directory_with_other_things_in_it_is_fine(hub: HubFiles, admin: NodeFiles, now: datetime):
    hub.directory.mkdir(parents=True)
    hub.state.touch()
    assert initialise(hub, admin, PLAN, passphrase=None, now=now)


def test_a_plan_that_cannot_be_leaves_no_mesh(hub: HubFiles, admin: NodeFiles, now: datetime):
    with pytest.raises(WeakPassphrase):
        initialise(hub, admin, PLAN, passphrase=b"short", now=now)
    wrong = Plan(PLAN.hub_id, PLAN.admin_name, (Host("hub.hubspoke.internal"),), PLAN.addresses)
    with pytest.raises(BadAddress):
        initialise(hub, admin, wrong, passphrase=None, now=now)
    with pytest.raises(NotInitialised):
        hub.load_identity()


@pytest.mark.skipif(not disk.POSIX, reason="counts the moments at which directories are synchronised, too")
@pytest.mark.parametrize("moment", range(SYNCS - 1))
def test_after_a_crash_at_any_moment_a_second_run_is_clean(
    hub: HubFiles, admin: NodeFiles, now: datetime, monkeypatch: pytest.MonkeyPatch, moment: int
):
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", PowerCutAt(moment))
        with pytest.raises(PowerCut):
            initialise(hub, admin, PLAN, passphrase=None, now=now)
    with pytest.raises(NotInitialised):
        hub.load_identity()

    summary = initialise(hub, admin, PLAN, passphrase=None, now=now)
    assert hub.load_identity() == summary.hub
    assert admin.load_identity() == summary.admin
    assert not [name for name in snapshot(hub.directory) if ".new" in name]


@pytest.mark.skipif(not disk.POSIX, reason="as above")
def test_after_a_crash_at_the_very_end_the_mesh_is_there(
    hub: HubFiles, admin: NodeFiles, now: datetime, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", PowerCutAt(SYNCS - 1))
        with pytest.raises(PowerCut):
            initialise(hub, admin, PLAN, passphrase=None, now=now)
    assert hub.load_identity()
    assert admin.load_identity()
    assert hub.authorities.load_node_issuer()


@pytest.mark.usefixtures("summary")
def test_the_hub_renews_itself_with_the_root_key_offline(hub: HubFiles, now: datetime):
    hub.authorities.key(authority_files.ROOT).unlink()
    before = hub.load_identity()
    after = renew_hub(hub, now=now + timedelta(hours=12))
    assert after == hub.load_identity()
    assert after.identity == before.identity
    assert after.not_after - before.not_after == timedelta(hours=12)
    assert after.key_pem != before.key_pem


@pytest.mark.usefixtures("summary")
def test_the_gateway_is_renewed_for_the_hosts_of_the_day(hub: HubFiles, now: datetime):
    renewed = renew_gateway(hub, ["attic.local"], now=now + timedelta(days=45))
    assert hub.load_gateway().chain == renewed.chain
    assert renewed.not_after == now + timedelta(days=135)


def test_a_mesh_for_a_demonstration_lives_for_seconds(hub: HubFiles, admin: NodeFiles, now: datetime):
    brief = Lifetimes(leaf=timedelta(seconds=10), gateway=timedelta(seconds=20))
    plan = Plan(PLAN.hub_id, PLAN.admin_name, PLAN.hosts, PLAN.addresses, brief)
    made = initialise(hub, admin, plan, passphrase=None, now=now)
    assert made.hub.not_after == made.admin.not_after == now + timedelta(seconds=10)
    assert made.gateway_not_after == now + timedelta(seconds=20)
    later = renew_hub(hub, now=now + timedelta(seconds=5), lifetime=brief.leaf)
    assert later.not_after == now + timedelta(seconds=15)


@pytest.mark.usefixtures("summary")
def test_nodes_are_certified_with_what_lies_on_disk(hub: HubFiles, now: datetime):
    issuer = hub.authorities.load_node_issuer()
    chain = issuer.issue_node(new_key().public_key(), Identity(Role.SPOKE, node_name("den")), now=now)
    require_anchored(chain, hub.load_anchors(now=now))
