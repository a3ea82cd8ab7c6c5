"""What a spoke is told to do beside answering: load, unload, pull and delete models. It goes down the heartbeat stream."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from hub.core.types import Target
    from hubspoke.errors import MeshError
    from hubspoke.types import Place, PullStep, TaskKey


@dataclass(frozen=True, slots=True)
class LoadOrder:
    """Bring a model into memory, with that context for each slot."""

    id: int
    place: Place
    context_tokens: int


@dataclass(frozen=True, slots=True)
class UnloadOrder:
    """Take an idle model out of memory."""

    id: int
    place: Place


@dataclass(frozen=True, slots=True)
class PullOrder:
    """Get a model onto the disk."""

    id: int
    place: Place


@dataclass(frozen=True, slots=True)
class DeleteOrder:
    """Delete an idle model from the disk."""

    id: int
    place: Place


@dataclass(frozen=True, slots=True)
class StopPullOrder:
    """Stop the pull that order *pull* began."""

    id: int
    pull: int


Order: TypeAlias = LoadOrder | UnloadOrder | PullOrder | StopPullOrder | DeleteOrder


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes down a heartbeat stream: the newest beat that came, orders, and the tasks whose results nobody wants any more."""

    sequence: int
    orders: tuple[Order, ...] = ()
    settled: tuple[TaskKey, ...] = ()


@dataclass(slots=True, eq=False)
class Pending:
    """An order that was given. `news` is set whenever one of the other fields has changed.

    *target* is what it loads and *leaving* what it unloads or deletes, `None` for other orders.
    """

    id: int
    target: Target | None = None
    leaving: Place | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)
    step: PullStep | None = None
    is_over: bool = False
    error: MeshError | None = None

    def progressed(self, step: PullStep) -> None:
        """Note how far it has come."""
        self.step = step
        self.news.set()

    def end(self, error: MeshError | None) -> None:
        """Note that it is over, and what went wrong if something did."""
        self.is_over, self.error = True, error
        self.news.set()
