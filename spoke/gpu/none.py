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

    async def aclose(self) -> None:
        """Do nothing: there is nothing to let go of."""
