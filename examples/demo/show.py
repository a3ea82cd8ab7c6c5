"""What every way to show the demo can do, and the one for programs."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from typing import TextIO

    from examples.demo.events import Event
    from hubspoke.clock import Clock


class Show(Protocol):
    """Shows what happens, to a person or a program."""

    def tell(self, event: Event) -> None:
        """Show one event."""
        ...

    def stage(self) -> AbstractAsyncContextManager[None]:
        """Show what happens to several questions at once; ends when the block has, and all of it could be seen."""
        ...

    async def pause(self) -> None:
        """Let a person look for a moment."""
        ...


class JsonShow:
    """One JSON object a line: `event`, `at_s` since the start, and the event's own fields."""

    def __init__(self, out: TextIO, clock: Clock) -> None:
        self._out = out
        self._clock = clock
        self._began_s = clock.monotonic()

    def tell(self, event: Event) -> None:
        """Write one event."""
        at_s = round(self._clock.monotonic() - self._began_s, 3)
        fields = msgspec.to_builtins(event, order="deterministic")
        line = {"event": type(event).__name__.lower(), "at_s": at_s, **fields}
        self._out.write(msgspec.json.encode(line).decode() + "\n")
        self._out.flush()

    @asynccontextmanager
    async def stage(self) -> AsyncIterator[None]:
        """Do nothing special."""
        yield

    async def pause(self) -> None:
        """Waste no time."""
