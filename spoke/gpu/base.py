"""What the agent needs to know of graphics cards. Probes stand beside this module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hubspoke.types import Gpu


class GpuProbe(Protocol):
    """One way to look at cards."""

    async def probe(self) -> tuple[Gpu, ...]:
        """Describe every card, by index. None is a normal answer; a card that cannot be used has a `fault`."""
        ...

    async def aclose(self) -> None:
        """Let go of the driver."""
        ...
