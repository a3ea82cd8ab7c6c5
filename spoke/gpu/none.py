"""For machines that are to be taken as having no graphics card."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hubspoke.types import Gpu


class NoGpus:
    """Finds nothing."""

    async def probe(self) -> tuple[Gpu, ...]:
        """Find nothing."""
        return ()

    async def indexes(self) -> tuple[int, ...]:
        """Find none that an engine computes on."""
        return ()

    def vram_bytes(self, pid: int) -> int | None:  # noqa: ARG002  # the Protocol's
        """Know nothing of any process."""
        return None

    async def aclose(self) -> None:
        """Do nothing: there is nothing to let go of."""
