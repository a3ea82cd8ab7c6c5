"""All cards of the machine, from every source that there is. A source that hangs costs its own news and nothing else."""

from __future__ import annotations

import asyncio
import math
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from hubspoke.errors import MeshError
from spoke.core.cards import DRIVER_SILENT, Overview, doubted, overview, taken_bytes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence
    from typing import Any

    from hubspoke.types import Gpu
    from spoke.core.cards import Card
    from spoke.gpu.base import CardSource

LOOK_LIMIT_S: Final = 4.0
"""How long a source is waited for: less than the agent waits for a probe, which this is only a part of."""
DEVICES_KEPT_S: Final = 30.0
"""How old the engine's word on its devices may be where nobody else knows them; a newer one costs a process."""


class Cards:
    """The cards of *sources*, and those that the embedded engine alone can see.

    *devices* gives what that engine computes on, as of so many seconds ago at most.
    """

    def __init__(
        self, sources: Sequence[CardSource], devices: Callable[[float], Awaitable[tuple[Card, ...]]]
    ) -> None:
        self._sources = tuple(sources)
        self._ask_devices = devices
        self._looks = tuple(_Look(source.look, source.unseen, DRIVER_SILENT) for source in self._sources)
        # The engine has its own faults; a slow process says nothing against a card.
        self._device_look = _Look(self._look_at_devices, (), "")
        self._overview = Overview()

    async def probe(self) -> tuple[Gpu, ...]:
        """Describe every card, by index; those of a source that does not answer in time have a fault."""
        *told, devices = await asyncio.gather(*(look.cards() for look in (*self._looks, self._device_look)))
        own = (card for cards in told for card in cards)
        self._overview = overview(own, devices, self._overview)
        return self._overview.gpus

    async def indexes(self) -> tuple[int, ...]:
        """Look, and give the indexes of the cards that the embedded engine computes on."""
        await self.probe()
        return self._overview.engine_gpus

    def vram_bytes(self, pid: int) -> int | None:
        """Say what the process *pid* had of the cards' memory at the last look; None where no driver tells."""
        return taken_bytes(self._overview.gpus, pid)

    async def aclose(self) -> None:
        """End the looks under way, then let go of every driver, the last one first."""
        async with AsyncExitStack() as stack:
            for source in self._sources:
                stack.push_async_callback(source.aclose)
            for look in (*self._looks, self._device_look):
                stack.push_async_callback(look.aclose)

    async def _look_at_devices(self) -> tuple[Card, ...]:
        return await self._ask_devices(DEVICES_KEPT_S if self._overview.extra_gpus else math.inf)


class _Look:
    """Looks at one source, one look at a time, and never waits long for it."""

    def __init__(
        self, look: Callable[[], Coroutine[Any, Any, tuple[Card, ...]]], unseen: tuple[Card, ...], fault: str
    ) -> None:
        self._look = look
        self._fault = fault
        self._known = unseen
        self._under_way: asyncio.Task[tuple[Card, ...]] | None = None
        self._ends_at = 0.0

    async def cards(self) -> tuple[Card, ...]:
        """Give what the source sees, or what it last saw with a fault when it fails or is slow.

        A slow look goes on: it may only be a slow start. Until it ends, nobody waits for it again.
        """
        now = asyncio.get_running_loop().time()
        if self._under_way is None:
            self._under_way, self._ends_at = asyncio.create_task(self._look()), now + LOOK_LIMIT_S
        task = self._under_way
        await asyncio.wait({task}, timeout=max(0.0, self._ends_at - now))
        if not task.done():
            return doubted(self._known, self._fault)
        if self._under_way is task:  # else another caller has seen to that, and may have begun the next look
            self._under_way = None
        try:
            self._known = task.result()
        except MeshError as error:
            return doubted(self._known, self._fault and error.message)
        return self._known

    async def aclose(self) -> None:
        """End the look under way."""
        if self._under_way is not None:
            self._under_way.cancel()
            await asyncio.wait({self._under_way})
