"""Who is in the mesh, as those who run it see it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from pki.identity import Identity


@unique
class NodeState(StrEnum):
    """How somebody stands with the mesh."""

    PENDING = "pending"  # has asked to join, and waits for an operator
    ACTIVE = "active"
    LOCKED = "locked"  # two holders of one identity were seen; nobody gets in with it
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A node, or whoever waits to become one.

    *serial* and *ends_at* are those of its newest certificate, of which a pending one has none; *generation* counts its
    certificates. *key* is the beginning of its key's digest, which its machine shows too. *why* is said of those that are
    not active.
    """

    identity: Identity
    state: NodeState
    since: datetime
    key: str
    why: str = ""
    serial: str = ""
    generation: int = 0
    bundle_generation: int = 0
    ends_at: datetime | None = None
