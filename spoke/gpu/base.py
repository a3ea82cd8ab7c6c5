"""What the agent needs to know of graphics cards. Probes stand beside this module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hubspoke.types import Gpu
    from spoke.core.cards import Card


class GpuProbe(Protocol):
    """The way to look at all cards of a machine."""

    async def probe(self) -> tuple[Gpu, ...]:
        """Describe every card, by index. None is a normal answer; a card that cannot be used has a `fault`."""
        ...

    async def aclose(self) -> None:
        """Let go of the drivers."""
        ...


class CardSource(Protocol):
    """One interface through which some of the cards can be seen."""

    @property
    def unseen(self) -> tuple[Card, ...]:
        """What stands for its cards while it has never answered."""
        ...

    async def look(self) -> tuple[Card, ...]:
        """Describe every card that it sees; raise a MeshError when it cannot tell. It may hang with its driver."""
        ...

    async def aclose(self) -> None:
        """Let go of the driver."""
        ...
