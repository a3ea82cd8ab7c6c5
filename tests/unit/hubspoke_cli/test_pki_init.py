import json
from pathlib import Path

import pytest

from hubspoke.cli.failures import Exit
from hubspoke.cli.pki import hub_name
from pki.address import Host
from pki.errors import WrongPassphrase
from pki.files import HubFiles, NodeFiles
from pki.identity import Role


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def test_a_mesh_is_made_with_an_admin_who_knows_where_the_hub_is(run, state: Path):
    ran = run("pki", "init", "--no-passphrase", "--host", "tower.local", "--mesh-port", "9443")
    assert ran.exit_code == Exit.DONE
    assert HubFiles(state / "hub").load_identity().identity.name == "tower"
    admin = NodeFiles(state / "client")
    assert admin.load_identity().identity.role is Role.ADMIN
    assert admin.load_addresses().mesh == ("localhost:9443", "tower.local:9443")


def test_json_says_what_was_made(run, state: Path):
    made = json.loads(run("pki", "init", "--no-passphrase", "--host", "10.0.0.5", "--json").output)
    assert sorted(made) == [
        "admin",
        "admin_directory",
        "hosts",
        "hub",
        "hub_directory",
        "root_expires_at",
        "root_fingerprint",
    ]
    assert (made["hub"], made["hosts"], made["hub_directory"]) == ("hub", ["10.0.0.5"], str(state / "hub"))


def test_keys_are_never_overwritten(run, state: Path):
    run("pki", "init", "--no-passphrase")
    root = HubFiles(state / "hub").authorities.key("root")
    before = root.read_bytes()
    ran = run("pki", "init", "--no-passphrase")
    assert ran.exit_code == Exit.IDENTITY
    assert "move them away first" in ran.output
    assert root.read_bytes() == before


def test_the_passphrase_of_a_file_protects_the_root(run, state: Path, tmp_path: Path):
    words = tmp_path / "words"
    words.write_text("correct horse battery\nsecond line\n")
    assert run("pki", "init", "--passphrase-file", str(words)).exit_code == Exit.DONE
    authorities = HubFiles(state / "hub").authorities
    assert authorities.load_root(b"correct horse battery")
    with pytest.raises(WrongPassphrase):
        authorities.load_root(b"something else")


def test_a_short_passphrase_makes_nothing(run, state: Path, tmp_path: Path):
    words = tmp_path / "words"
    words.write_text("short")
    assert run("pki", "init", "--passphrase-file", str(words)).exit_code == Exit.IDENTITY
    assert not HubFiles(state / "hub").authorities.directory.exists()


def test_without_a_terminal_a_passphrase_has_to_be_given(run, state: Path):
    ran = run("pki", "init")
    assert ran.exit_code == Exit.USAGE
    assert "--passphrase-file" in ran.output
    assert not state.exists()


def test_a_host_that_is_none_is_wrong_usage(run):
    assert run("pki", "init", "--no-passphrase", "--host", "not a host").exit_code == Exit.USAGE


def test_the_name_that_nodes_trust_is_no_gateways(run):
    ran = run("pki", "init", "--no-passphrase", "--host", "hub.hubspoke.internal")
    assert ran.exit_code == Exit.USAGE


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("tower.local", "tower"),
        ("my_pc", "my-pc"),
        ("192.168.1.5", "hub"),
        ("fd00::5", "hub"),
        ("_", "hub"),
        ("x" * 62 + "-y", "x" * 62),
    ],
)
def test_a_hub_is_called_like_its_machine(host: str, name: str):
    assert hub_name(Host(host)) == name


def test_one_more_hub_gets_its_keys_on_the_machine_of_the_first(run, state: Path, tmp_path: Path):
    run("pki", "init", "--no-passphrase", "--host", "box.local")
    made = run("pki", "add-hub", "tower", "--host", "tower.local", "--to", str(tmp_path / "tower"), "--json")
    assert made.exit_code == Exit.DONE
    other = HubFiles(tmp_path / "tower" / "hub")
    told = json.loads(made.output)
    assert (told["hub"], told["hosts"], told["directory"]) == ("tower", ["tower.local"], str(other.directory))
    assert other.load_identity().identity.name == "tower"
    again = run("pki", "add-hub", "tower", "--host", "tower.local", "--to", str(tmp_path / "tower"))
    assert again.exit_code == Exit.IDENTITY


def test_one_more_hub_needs_a_first_one(run, tmp_path: Path):
    ran = run("pki", "add-hub", "tower", "--host", "tower.local", "--to", str(tmp_path / "tower"))
    assert ran.exit_code == Exit.IDENTITY
    assert not (tmp_path / "tower").exists()
