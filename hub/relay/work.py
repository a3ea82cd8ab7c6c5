"""One Work stream, seen from the hub: an idle slot that takes a job, carries its answer, and is idle again.

The stream's own reader calls `chunk`, `last` and `declined`, and its handler writes what `outbox` gives. A chunk goes
straight from that read to the client's stream: no queue, and no second task for a token.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import grpc

from hub.core import slot
from hub.core.slot import Event, Slot, SlotState
from hub.relay.outbox import Outbox
from hubspoke.errors import ClientStalled, EngineTimeout, MeshError, ProtocolViolation, SpokeLost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hub.core.types import Target
    from hubspoke.types import CallKind, FinishReason, SpokeId, Task, Usage

    Sink: TypeAlias = Callable[[bytes], Awaitable[object]]
    """Where an answer goes: the write of a client's stream. It raises `grpc.aio.BaseError` once the client is gone."""

DRAIN_S: Final = 10.0
"""How long a cancelled job may take to its Last before the stream is closed."""

SINK_STALL_S: Final = 30.0
"""How long a client may leave a message unread before its call is ended."""

PROGRESS_S_MAX: Final = 900.0
"""How long a spoke may say nothing about a job. A long prompt on a slow processor takes minutes."""

OUTBOX_LIMIT: Final = 4
"""An assignment and its cancel, twice: more can only wait for a spoke that has stopped reading."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One attempt at one request; *timeout_s* is what is left of its time."""

    attempt: int
    target: Target
    kind: CallKind
    timeout_s: float | None
    request: bytes
    task: Task | None = None
    """Set for work that the spoke does once, whatever becomes of its session."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop an attempt."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Ended:
    """An answer that is complete; its last message has been passed on."""

    finish: FinishReason
    usage: Usage


@dataclass(slots=True)
class Job:
    """An attempt on its way through a slot. `done` gets its end, or the error that came instead."""

    assignment: Assignment
    sink: Sink
    done: asyncio.Future[Ended]
    announced: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the client knows where its answer is made; nothing of the answer goes out before."""
    tokens: int = 0
    """Those of the answer so far."""
    is_watched: bool = False
    """Whether the sink itself gives up a client that reads nothing, and knows better than a message that takes long."""

    @property
    def has_text(self) -> bool:
        """Whether there is anything of the answer."""
        return self.tokens > 0

    def fail(self, error: MeshError) -> None:
        """End without an answer, unless it has ended already."""
        if not self.done.done():
            self.done.set_exception(error)


class WorkStream:
    """One slot of a spoke. *changed* is called whenever it may have become idle, or is closed."""

    def __init__(
        self, spoke: SpokeId, session: int, number: int, changed: Callable[[WorkStream], None]
    ) -> None:
        self.spoke = spoke
        self.session = session
        self.number = number
        self.outbox: Outbox[Assignment | Cancel] = Outbox(OUTBOX_LIMIT)
        self.job: Job | None = None
        self._slot = Slot()
        self._changed = changed
        self._reader: asyncio.Task[None] | None = None
        self._sink: Sink | None = None
        self._passing_since: float | None = None
        self._draining_since: float | None = None
        self._heard_at = 0.0
        self._gave_up = False

    @property
    def is_idle(self) -> bool:
        """Whether a job can be assigned."""
        return self._slot.state is SlotState.IDLE and not self.outbox.is_closed

    def read_by(self, reader: asyncio.Task[None]) -> None:
        """Tell which task reads the stream: it is woken when the client that it writes to has stalled."""
        self._reader = reader

    def offer(self) -> None:
        """Take the spoke's leave to use the slot."""
        self._slot = slot.step(self._slot, Event.OFFER)
        self._changed(self)

    def withdraw(self) -> None:
        """Give the slot back to the spoke, after what it runs."""
        self._slot = slot.step(self._slot, Event.WITHDRAW)
        self._changed(self)

    def assign(self, job: Job, now: float) -> None:
        """Send *job* to the spoke. The slot must be idle."""
        self._slot = slot.step(self._slot, Event.ASSIGN, job.assignment.attempt)
        self.job = job
        self._sink = job.sink
        self._heard_at = now
        self._send(job.assignment)

    def cancel(self, job: Job, now: float) -> None:
        """Stop *job*: nothing more of it is passed on, and the slot is free once the spoke has said Last."""
        if self.job is job and self._slot.state is SlotState.BUSY:
            self._slot = slot.step(self._slot, Event.CANCEL, job.assignment.attempt)
            self._sink = None
            self._draining_since = now
            self._wake_reader()
            self._send(Cancel(job.assignment.attempt))

    def silent_s(self, job: Job, now: float) -> float:
        """Say for how long the spoke has said nothing of *job*; 0 once there was text, or while something is passed on."""
        is_awaited = self.job is job and not job.has_text and self._passing_since is None
        return now - self._heard_at if is_awaited else 0.0

    async def chunk(self, attempt: int, body: bytes, tokens: int, now: float) -> None:
        """Pass some of the answer on."""
        slot.check_chunk(self._slot, attempt)
        self._heard_at = now
        if self.job is not None:
            self.job.tokens += tokens
        await self._pass_on(body, now)

    async def last(self, attempt: int, body: bytes, ended: Ended, now: float) -> None:
        """Pass the end of the answer on, and free the slot."""
        slot.check_chunk(self._slot, attempt)
        await self._pass_on(body, now)
        job = self._free(Event.LAST, attempt)
        if not job.done.done():
            job.done.set_result(ended)

    def failed(self, attempt: int, error: MeshError) -> None:
        """End the job with the error that the spoke met, and free the slot."""
        self._free(Event.LAST, attempt).fail(error)

    def declined(self, attempt: int, error: MeshError) -> None:
        """Take back a job that the spoke does not want, and free the slot."""
        self._free(Event.DECLINED, attempt).fail(error)

    def close(self, error: MeshError | None = None) -> None:
        """End the stream, with *error* told to the spoke; what it runs is lost."""
        self.outbox.close(error)
        if self.job is not None:
            self.job.fail(SpokeLost(f"{self.spoke} went away while it worked on this; ask again"))
        self._changed(self)

    def sweep(self, now: float) -> None:
        """Give up a client that has stopped reading, and a spoke that neither goes on nor ends what was cancelled."""
        if self._passing_since is not None:
            if now - self._passing_since > SINK_STALL_S and not (self.job and self.job.is_watched):
                self._give_up_client()
        elif self.job is not None and now - self._heard_at > PROGRESS_S_MAX:
            self.job.fail(EngineTimeout(f"{self.spoke} has said nothing about this for {PROGRESS_S_MAX:g} s"))
        if self._draining_since is not None and now - self._draining_since > DRAIN_S:
            self.close(ProtocolViolation(f"no Last within {DRAIN_S:g} s of Cancel"))

    async def _pass_on(self, body: bytes, now: float) -> None:
        if self._sink is None or self.job is None:
            return
        self._passing_since = now
        try:
            await self.job.announced.wait()
            if self._sink is not None:
                await self._sink(body)
        except grpc.aio.BaseError:
            self._sink = None  # the client is gone; its own handler cancels the job
        except asyncio.CancelledError:
            if not self._gave_up:
                raise
            self._gave_up = False
            asyncio.current_task().uncancel()  # type: ignore[union-attr]  # a coroutine that runs has a task
        finally:
            self._passing_since = None

    def _give_up_client(self) -> None:
        if self.job is not None:
            self.job.fail(
                ClientStalled(f"nothing was read for {SINK_STALL_S:g} s; read the answer as it comes")
            )
        self._sink = None
        self._wake_reader()

    def _wake_reader(self) -> None:
        """Have the reader go on when it waits for a client that does not read.

        Ending a client's call does not end a write to it: gRPC keeps that until the client reads or disconnects. The
        reader of this stream waits in that very write, and nowhere else, while `_passing_since` is set.
        """
        if self._passing_since is not None and self._reader is not None:
            self._passing_since = None
            self._gave_up = True
            self._reader.cancel()

    def _send(self, item: Assignment | Cancel) -> None:
        try:
            self.outbox.put(item)
        except ProtocolViolation as error:
            self.close(error)

    def _free(self, what: Event, attempt: int) -> Job:
        self._slot = slot.step(self._slot, what, attempt)
        job, self.job = self.job, None
        assert job is not None  # noqa: S101  # a slot that is busy or draining has one
        self._sink = None
        self._draining_since = None
        self._changed(self)
        return job
