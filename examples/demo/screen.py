"""The demo on a terminal, at a pace that a person can follow."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from rich.live import Live
from rich.text import Text

from examples.demo import panels
from examples.demo.board import Board
from examples.demo.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import NoReturn

    from rich.console import Console

    from examples.demo.events import Event
    from hubspoke.clock import Clock

FRAME_S: Final = 0.05
PAUSE_S: Final = 1.5
TITLE: Final = Text.assemble(
    ("Hubspoke", "bold"), ("  a whole mesh on this machine; it leaves nothing behind", "dim")
)


class ScreenShow:
    """Lines for what is done, and a board of the spokes for as long as questions are under way."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        self._board: Board | None = None
        console.print(TITLE)

    def tell(self, event: Event) -> None:
        """Show one event."""
        if self._board is not None:
            self._board.note(event, self._clock.monotonic())
        # While there is a board, what is printed goes above it.
        for part in panels.lines(event, has_board=self._board is not None):
            self._console.print(part)

    @asynccontextmanager
    async def stage(self) -> AsyncIterator[None]:
        """Draw a board until every answer could be read."""
        board = self._board = Board()
        try:
            with Live(console=self._console, auto_refresh=False) as live:
                async with asyncio.TaskGroup() as group:
                    drawing = group.create_task(self._draw(live, board))
                    yield
                    await until(lambda: board.is_over(self._clock.monotonic()))
                    drawing.cancel()
                self._draw_once(live, board)
        finally:
            self._board = None

    async def pause(self) -> None:
        """Let a person look for a moment."""
        await asyncio.sleep(PAUSE_S)

    async def _draw(self, live: Live, board: Board) -> NoReturn:
        while True:
            self._draw_once(live, board)
            await asyncio.sleep(FRAME_S)

    def _draw_once(self, live: Live, board: Board) -> None:
        live.update(panels.board(board, self._clock.monotonic()), refresh=True)
