import pytest

from pki import errors
from pki.errors import PeerRefused, PkiError, Refusal, UnsafeKeyFile


@pytest.mark.parametrize("kind", sorted(PkiError.__subclasses__(), key=lambda kind: kind.__name__))
def test_every_error_is_in_the_tree_of_the_docstring(kind: type[PkiError]):
    assert f"─ {kind.__name__} " in (errors.__doc__ or "")


@pytest.mark.parametrize(
    "kind", sorted(set(PkiError.__subclasses__()) - {PeerRefused, UnsafeKeyFile}, key=str)
)
def test_every_error_says_what_to_do(kind: type[PkiError]):
    assert str(kind("it is broken")) == f"it is broken; {kind.remedy}"
    assert kind.remedy


def test_a_refused_peer_comes_with_a_reason_for_the_audit_log():
    assert PeerRefused(Refusal.EXPIRED).reason is Refusal.EXPIRED
