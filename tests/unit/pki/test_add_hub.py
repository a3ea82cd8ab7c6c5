"""Keys for one more hub of a mesh."""

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pki.address import Host
from pki.authority_files import HUB_ISSUING, NODE_ISSUING, ROOT
from pki.bundle import parse_chain, require_anchored
from pki.errors import AlreadyInitialised, BadIdentity, NoSuchStep, NotInitialised
from pki.files import HubFiles
from pki.identity import Identity, NodeName, Role
from pki.rotation import Kind
from pki.setup import add_hub, renew_hub
from pki.succession import RootKey, commit, prepare
from tests.fakes.hub import make_mesh

NOW = datetime(2026, 11, 1, tzinfo=UTC)
TOWER = NodeName("tower")
HOSTS = (Host("tower.local"),)  # type: ignore[arg-type]


@pytest.fixture
def hub(tmp_path: Path) -> HubFiles:
    return make_mesh(tmp_path, made_at=NOW).hub


def test_the_other_hub_is_one_of_the_same_mesh(hub: HubFiles, tmp_path: Path):
    other = HubFiles(tmp_path / "tower" / "hub")
    made = add_hub(hub, other, TOWER, HOSTS, now=NOW)
    assert made.identity == other.load_identity().identity == Identity(Role.HUB, TOWER)
    assert other.load_anchors(now=NOW) == hub.load_anchors(now=NOW)
    for chain in (other.load_identity().chain_pem, renew_hub(other, now=NOW).chain_pem):
        require_anchored(parse_chain(chain), hub.load_anchors(now=NOW))
    assert other.load_gateway().chain.leaf.issuer == hub.load_gateway().chain.leaf.issuer
    assert other.authorities.load_node_issuer().key.private_numbers() == (
        hub.authorities.load_node_issuer().key.private_numbers()
    )
    assert other.authorities.load_admin().pem == hub.authorities.load_admin().pem
    other.require_private()


def test_it_gets_what_signs_but_never_the_root_s_key(hub: HubFiles, tmp_path: Path):
    other = HubFiles(tmp_path / "tower" / "hub")
    add_hub(hub, other, TOWER, HOSTS, now=NOW)
    keys = {path.name for path in other.authorities.directory.glob("*.key")}
    assert keys == {f"{HUB_ISSUING}.key", f"{NODE_ISSUING}.key"}
    assert hub.authorities.key(ROOT).exists()
    for path in other.authorities.directory.glob("*.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_gets_nothing_of_an_exchange_that_is_only_prepared(hub: HubFiles, tmp_path: Path):
    there = {path.name for path in hub.authorities.directory.iterdir()}
    prepare(hub.authorities, Kind.ROOT, RootKey(None), now=NOW)
    assert {path.name for path in hub.authorities.directory.iterdir()} > there
    other = HubFiles(tmp_path / "tower" / "hub")
    add_hub(hub, other, TOWER, HOSTS, now=NOW)
    assert {path.name for path in other.authorities.directory.iterdir()} <= there


def test_nothing_is_overwritten_and_no_name_is_there_twice(hub: HubFiles, tmp_path: Path):
    other = HubFiles(tmp_path / "tower" / "hub")
    with pytest.raises(BadIdentity):
        add_hub(hub, other, hub.load_identity().identity.name, HOSTS, now=NOW)
    add_hub(hub, other, TOWER, HOSTS, now=NOW)
    with pytest.raises(AlreadyInitialised):
        add_hub(hub, other, TOWER, HOSTS, now=NOW)


def test_who_is_no_hub_adds_none(tmp_path: Path):
    with pytest.raises(NotInitialised):
        add_hub(HubFiles(tmp_path / "nothing"), HubFiles(tmp_path / "tower"), TOWER, HOSTS, now=NOW)
    assert not (tmp_path / "tower").exists()


def test_no_hub_is_added_while_authorities_are_exchanged(hub: HubFiles, tmp_path: Path):
    authorities = hub.authorities
    commit(
        authorities,
        Kind.NODE_ISSUING,
        prepare(authorities, Kind.NODE_ISSUING, RootKey(None), now=NOW),
        now=NOW,
    )
    with pytest.raises(NoSuchStep):
        add_hub(hub, HubFiles(tmp_path / "tower"), TOWER, HOSTS, now=NOW)
