"""What the hub trusts and signs with, as one value that is exchanged whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pki.policy import key_id

if TYPE_CHECKING:
    from cryptography import x509

    from hubspoke.clock import Clock
    from pki.authority import NodeIssuer
    from pki.files import HubFiles
    from pki.policy import KeyId


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose certificates count, who signs new ones, and which roots nodes are to trust.

    *generation* counts the changes of the roots.
    """

    node_issuers: frozenset[KeyId]
    issuer: NodeIssuer
    anchors: tuple[x509.Certificate, ...]
    generation: int


def trust_of(files: HubFiles, clock: Clock) -> Trust:
    """Read what lies in the hub's directory; raise PkiError for what is not there or damaged."""
    issuer = files.authorities.load_node_issuer()
    anchors = files.load_anchors(now=clock.now())
    return Trust(frozenset({key_id(issuer.certificate)}), issuer, anchors, generation=1)
