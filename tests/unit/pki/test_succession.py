"""What is to take the place of an authority: made beside it, and put into use whole or not at all."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pki import disk, rotation
from pki.authority_files import HUB_ISSUING, NODE_ISSUING, ROOT, AuthorityFiles
from pki.bundle import parse_chain, require_anchored
from pki.errors import (
    BadBundle,
    BadKey,
    IssuerExpired,
    NoSuchStep,
    RootKeyMissing,
    WeakPassphrase,
    WrongPassphrase,
)
from pki.rotation import Kind, Numbers, Phase, Record
from pki.setup import is_issuer_in_use, renew_hub
from pki.succession import RootKey, commit, prepare
from tests.fakes.hub import make_mesh

NOW = datetime(2026, 11, 1, tzinfo=UTC)
OPEN = RootKey(None)
SHUT = RootKey(b"six words that nobody ever guesses")


@pytest.fixture
def files(tmp_path: Path) -> AuthorityFiles:
    return make_mesh(tmp_path, made_at=NOW).hub.authorities


@pytest.mark.parametrize("kind", Kind)
def test_what_was_made_comes_into_use_phase_by_phase_and_survives_in_between(
    files: AuthorityFiles, kind: Kind
):
    record = commit(files, kind, prepare(files, kind, OPEN, now=NOW), now=NOW)
    while record.rotation is not None:
        assert files.load_record() == record
        assert files.load_node_issuer().certificate == files.load_node_issuers()[0]
        record = rotation.advance(record, NOW)
        files.save_record(record)
    assert files.load_record() == record
    assert record.old == Numbers().after(kind)
    files.remove_unused(record)
    for issuer in (files.load_hub_issuer(), files.load_node_issuer()):
        issuer.certificate.verify_directly_issued_by(files.load_certificate(ROOT))


def test_nothing_changes_until_it_is_begun(files: AuthorityFiles):
    before = files.load_roots(), files.load_node_issuers(), files.load_hub_issuer().certificate
    prepare(files, Kind.ROOT, OPEN, now=NOW)
    assert (files.load_roots(), files.load_node_issuers(), files.load_hub_issuer().certificate) == before
    assert files.load_record() == Record()


def test_a_new_root_is_shut_with_its_own_passphrase(files: AuthorityFiles):
    with pytest.raises(WeakPassphrase):
        prepare(files, Kind.ROOT, RootKey(b"short"), now=NOW)
    record = commit(files, Kind.ROOT, prepare(files, Kind.ROOT, SHUT, now=NOW), now=NOW)
    for _ in range(3):
        record = rotation.advance(record, NOW)
    files.save_record(record)
    assert files.key(ROOT).name == "root-2.key"
    with pytest.raises(WrongPassphrase):
        files.load_root(None)
    assert files.load_root(SHUT.passphrase)


def test_an_issuer_takes_the_root_key_from_where_it_is(files: AuthorityFiles, tmp_path: Path):
    stick = tmp_path / "stick.key"
    files.key(ROOT).rename(stick)
    with pytest.raises(RootKeyMissing, match=r"root\.key; bring it back .* --root-key"):
        prepare(files, Kind.NODE_ISSUING, OPEN, now=NOW)
    assert prepare(files, Kind.NODE_ISSUING, RootKey(None, stick), now=NOW)


def test_a_root_that_has_ended_signs_nothing(files: AuthorityFiles):
    with pytest.raises(IssuerExpired):
        prepare(files, Kind.NODE_ISSUING, OPEN, now=NOW + timedelta(days=4_000))


def test_what_was_made_anew_meanwhile_is_not_begun_with(files: AuthorityFiles):
    first = prepare(files, Kind.HUB_ISSUING, OPEN, now=NOW)
    second = prepare(files, Kind.HUB_ISSUING, OPEN, now=NOW)
    with pytest.raises(NoSuchStep, match="made anew"):
        commit(files, Kind.HUB_ISSUING, first, now=NOW)
    assert commit(files, Kind.HUB_ISSUING, second, now=NOW).phase is Phase.SHOW


def test_what_was_never_made_is_not_begun_with(files: AuthorityFiles):
    with pytest.raises(NoSuchStep, match="nothing whole was made"):
        commit(files, Kind.ROOT, "00", now=NOW)


def test_half_of_what_was_made_is_not_begun_with(files: AuthorityFiles):
    shown = prepare(files, Kind.ROOT, OPEN, now=NOW)
    key = files.key(NODE_ISSUING, 2)
    whole = key.read_bytes()
    disk.replace(key, files.key(HUB_ISSUING, 2).read_bytes(), mode=disk.SECRET_MODE)
    with pytest.raises(BadKey):
        commit(files, Kind.ROOT, shown, now=NOW)
    key.unlink()
    with pytest.raises(BadBundle, match="missing"):
        commit(files, Kind.ROOT, shown, now=NOW)
    assert files.load_record() == Record()
    disk.replace(key, whole, mode=disk.SECRET_MODE)
    assert commit(files, Kind.ROOT, shown, now=NOW)


def test_nothing_is_made_while_something_is_exchanged(files: AuthorityFiles):
    commit(files, Kind.ROOT, prepare(files, Kind.ROOT, OPEN, now=NOW), now=NOW)
    with pytest.raises(NoSuchStep, match="finish that or roll it back"):
        prepare(files, Kind.NODE_ISSUING, OPEN, now=NOW)


def test_what_is_not_in_use_any_more_is_removed(files: AuthorityFiles):
    before = rotation.begin(Record(), Kind.ROOT, NOW)
    prepare(files, Kind.ROOT, OPEN, now=NOW)
    names = {path.name for path in files.directory.glob("*.*")}
    files.remove_unused(before)
    assert {path.name for path in files.directory.glob("*.*")} == names
    over = rotation.advance(rotation.roll_back(before, NOW), NOW)
    files.remove_unused(over, before.new)
    assert not list(files.directory.glob("*-2.*"))


def test_a_record_that_is_damaged_is_not_guessed_at(files: AuthorityFiles):
    for text in (b"", b"{}", b'{"generation": 1, "old": {}, "rotation": null}', b"[]"):
        (files.directory / "rotation.json").write_bytes(text)
        with pytest.raises(BadBundle, match=r"rotation\.json"):
            files.load_node_issuer()


def test_the_hub_s_own_certificate_follows_its_issuer(tmp_path: Path):
    hub = make_mesh(tmp_path, made_at=NOW).hub
    record = commit(
        hub.authorities, Kind.HUB_ISSUING, prepare(hub.authorities, Kind.HUB_ISSUING, OPEN, now=NOW), now=NOW
    )
    assert record.phase is Phase.SHOW
    before = hub.load_identity()
    assert not is_issuer_in_use(hub, before.chain_pem)
    assert is_issuer_in_use(hub, renew_hub(hub, now=NOW).chain_pem)
    require_anchored(parse_chain(hub.load_identity().chain_pem), hub.load_anchors(now=NOW))
