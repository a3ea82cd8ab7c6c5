"""What signs the mesh's certificates, as those who run it see it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from pki.identity import Identity
    from pki.rotation import Kind, Phase


@unique
class Use(StrEnum):
    """How an authority is used."""

    SIGNS = "signs"
    COMING = "coming"  # it counts, and will sign in a later phase
    LEAVING = "leaving"  # it counts until the exchange is finished


@dataclass(frozen=True, slots=True)
class AuthorityInfo:
    """A root, or an issuer, told apart by *kind*. They are numbered from 1, each kind for itself."""

    kind: Kind
    number: int
    use: Use
    fingerprint: str
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class HubCertificateInfo:
    """What the hub shows on a *port*: "mesh" or "gateway"."""

    port: str
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class HolderInfo:
    """A node: which generation it has said it holds, and why the next phase waits for it, if it does.

    One that *stays_behind* is away, and needs a new token once the exchange is finished.
    """

    identity: Identity
    generation: int
    ends_at: datetime
    waits_because: str = ""
    stays_behind: bool = False


@dataclass(frozen=True, slots=True)
class RotationInfo:
    """An exchange under way, and the phase that comes *next*."""

    kind: Kind
    phase: Phase
    next: Phase
    since: datetime
    began_at: datetime


@dataclass(frozen=True, slots=True)
class AuthoritiesInfo:
    """Everything about the authorities of a mesh. *generation* counts what nodes had to take over."""

    generation: int
    authorities: tuple[AuthorityInfo, ...]
    certificates: tuple[HubCertificateInfo, ...]
    nodes: tuple[HolderInfo, ...]
    rotation: RotationInfo | None = None

    @property
    def waits_for(self) -> tuple[HolderInfo, ...]:
        """The nodes that the next phase has to wait for."""
        return tuple(node for node in self.nodes if node.waits_because)
