"""`hubspoke pki rotate` and what is said of authorities, as far as that takes no hub."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from hubspoke.cli.failures import Exit
from hubspoke.cli.pki_status import rotation_lines, warnings
from hubspoke.types import AuthoritiesInfo, AuthorityInfo, HolderInfo, RotationInfo, Use
from pki.files import HubFiles
from pki.identity import Identity, NodeName, Role
from pki.rotation import Kind, Phase

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2030, 1, 1, tzinfo=UTC)
DEN = HolderInfo(
    Identity(Role.SPOKE, NodeName("den")), 1, NOW + timedelta(hours=5), "holds generation 1, not 2"
)
AWAY = HolderInfo(Identity(Role.APP, NodeName("laptop")), 1, NOW - timedelta(days=2), stays_behind=True)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def info(ends_in: timedelta, rotation: RotationInfo | None = None) -> AuthoritiesInfo:
    root = AuthorityInfo(Kind.ROOT, 1, Use.SIGNS, "ab" * 32, NOW + timedelta(days=3_000))
    issuer = AuthorityInfo(Kind.NODE_ISSUING, 1, Use.SIGNS, "cd" * 32, NOW + ends_in)
    return AuthoritiesInfo(2, (root, issuer), (), (DEN, AWAY), rotation)


def a_rotation(kind: Kind, phase: Phase, to: Phase) -> RotationInfo:
    return RotationInfo(kind, phase, to, NOW, NOW)


def test_an_authority_that_ends_within_90_days_is_warned_of_with_the_command():
    assert list(warnings(info(timedelta(days=91)), NOW)) == []
    (warning,) = warnings(info(timedelta(days=89)), NOW)
    assert "node-issuing authority ends" in warning
    assert "`hubspoke pki rotate node-issuing begin`" in warning


def test_an_authority_that_is_being_exchanged_is_not_warned_of():
    rotation = a_rotation(Kind.ROOT, Phase.INIT, Phase.UPDATE_CLIENTS)
    assert list(warnings(info(timedelta(days=1), rotation), NOW)) == []


def test_an_exchange_says_whom_it_waits_for_and_what_is_next():
    said = info(timedelta(days=1), a_rotation(Kind.ROOT, Phase.INIT, Phase.UPDATE_CLIENTS))
    lines = list(rotation_lines(said))
    assert lines[0] == "root is being exchanged: phase init, generation 2."
    assert "  den holds generation 1, not 2." in lines
    assert any(line.startswith("  laptop is away") for line in lines)
    assert lines[-1] == "Next once 1 more are ready: `hubspoke pki rotate root advance`"
    last = replace(said, nodes=(), rotation=a_rotation(Kind.ROOT, Phase.UPDATE_HUB, Phase.STEADY))
    assert list(rotation_lines(last))[-1] == "Next: `hubspoke pki rotate root finish`"


def test_without_the_hub_s_directory_it_says_where_to_begin(run):
    ran = run("pki", "rotate", "root", "begin", "--no-passphrase")
    assert ran.exit_code == Exit.IDENTITY
    assert "on the machine of the hub" in ran.stderr


def test_without_the_root_s_key_it_says_how_to_name_it(run, state: Path):
    run("pki", "init", "--no-passphrase")
    HubFiles(state / "hub").authorities.key("root").unlink()
    ran = run("pki", "rotate", "node-issuing", "begin")
    assert ran.exit_code == Exit.IDENTITY
    assert "--root-key" in ran.stderr


def test_a_passphrase_that_does_not_open_the_root_s_key_is_refused(run, state: Path, tmp_path: Path):
    words = tmp_path / "words"
    words.write_text("correct horse battery\n")
    run("pki", "init", "--passphrase-file", str(words))
    words.write_text("something else entirely\n")
    ran = run("pki", "rotate", "hub-issuing", "begin", "--passphrase-file", str(words))
    assert ran.exit_code == Exit.IDENTITY
    assert "does not open the key" in ran.stderr
    assert not list((state / "hub" / "pki").glob("*-2.*"))
