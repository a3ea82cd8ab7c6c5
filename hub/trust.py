"""What the hub trusts and signs with, as one value that is exchanged whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pki import bundle, pem
from pki.policy import key_id
from pki.rotation import in_use

if TYPE_CHECKING:
    from cryptography import x509

    from hubspoke.clock import Clock
    from pki.authority import NodeIssuer
    from pki.files import HubFiles
    from pki.policy import KeyId
    from pki.rotation import Record


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose certificates count, who signs new ones, and which roots nodes are to trust.

    *clients_pem* are those whose certificates count, as TLS takes them. *generation* counts what nodes have to take over:
    changes of the roots, and of the issuer.
    """

    node_issuers: frozenset[KeyId]
    issuer: NodeIssuer
    anchors: tuple[x509.Certificate, ...]
    generation: int
    clients_pem: bytes


def trust_of(files: HubFiles, clock: Clock, record: Record | None = None) -> Trust:
    """Read what lies in the hub's directory, as *record* puts it into use; raise PkiError for what is not there or damaged."""
    authorities = files.authorities
    record = record or authorities.load_record()
    issuers = authorities.load_node_issuers(record)
    return Trust(
        node_issuers=frozenset(map(key_id, issuers)),
        issuer=authorities.load_node_issuer(in_use(record).node_issuers[0]),
        anchors=bundle.parse_anchors(pem.write(authorities.load_roots(record)), now=clock.now()),
        generation=record.generation,
        clients_pem=pem.write(issuers),
    )
