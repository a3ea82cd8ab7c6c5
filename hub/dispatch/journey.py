"""From a client's request to the end of its answer, over as many attempts as it takes."""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

from hub.core import admission, estimator
from hub.core.needs import ask_of
from hub.core.types import Speed
from hub.dispatch.queue import Queue, Waiter
from hub.relay.work import SINK_STALL_S
from hubspoke.channel import MESSAGE_BYTES_MAX
from hubspoke.errors import ClientStalled, DeadlineExceeded, MeshError, is_retryable
from hubspoke.types import CallKind, EmbedRequest, Started, Waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hub.core.needs import Asked
    from hub.core.types import Ask, Wait
    from hub.dispatch.queue import Grant
    from hub.relay.sessions import Sessions
    from hub.relay.work import Ended, Job
    from hubspoke.clock import Clock
    from hubspoke.types import ModelKey, SpokeId, Task

log = logging.getLogger(__name__)

LOADING_TOLD_S: Final = 1.0
"""How often a client hears how far a load has come."""

SILENCE_TOLD_S: Final = 10.0
"""How often a client hears that a spoke has said nothing yet: a long prompt takes minutes, and so does noticing a hung engine."""

ATTEMPTS_MAX: Final = 3
"""Spokes that one request may be tried on, as long as its client has seen no text."""

REQUEST_BYTES_MAX: Final = MESSAGE_BYTES_MAX - 64 * 1024
"""An assignment wraps the request, and has to pass to the spoke as one message too."""


class Client(Protocol):
    """Whoever asked. Both methods raise `grpc.aio.BaseError` once they are gone."""

    async def tell(self, event: Waiting | Started) -> None:
        """Say why nothing runs yet, or where the answer is made."""
        ...

    async def write(self, body: bytes) -> object:
        """Pass on a message of the answer as the spoke has encoded it."""
        ...


@dataclass(slots=True)
class Progress:
    """How far an answer has come, also one that ends too early."""

    tokens: int = 0
    """Output tokens, as the spokes count them."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request with whoever made it: checked, and as it came; *timeout_s* is what is left of its time."""

    request: Asked
    body: bytes
    client: Client
    timeout_s: float | None = None
    progress: Progress = field(default_factory=Progress)
    task: Task | None = None
    """Set for work that is done once for its key, whatever becomes of sessions and hubs."""
    only: SpokeId | None = None
    """The one spoke that may have it."""
    excluded: frozenset[SpokeId] = frozenset()
    """Spokes that may not."""
    is_watched: bool = False
    """Whether a client that reads nothing is given up by whoever calls, as with an HTTP connection."""

    @property
    def kind(self) -> CallKind:
        """Which of the contract's calls it is."""
        return CallKind.EMBED if isinstance(self.request, EmbedRequest) else CallKind.INFER


class Dispatch:
    """Everything that asks the mesh goes through here, whatever language it speaks."""

    def __init__(self, sessions: Sessions, clock: Clock) -> None:
        self._sessions = sessions
        self._clock = clock
        self._queue = Queue(sessions, clock)
        self._measured: dict[tuple[SpokeId, ModelKey], Speed] = {}

    async def answer(self, call: Call) -> Ended:
        """Have *call* answered. Cancelling this stops the work on the GPU, and frees its slot.

        Raise what is in the way: a RequestError, a CapacityError, or the SpokeError that no other spoke could mend.
        """
        now = self._clock.monotonic()
        ask = ask_of(call.request, now=now, timeout_s=call.timeout_s, only=call.only, excluded=call.excluded)
        admission.admit(ask, len(self._queue), self._queue.size_bytes + len(call.body))
        try:
            async with asyncio.timeout(call.timeout_s):
                return await self._attempts(ask, call)
        except TimeoutError as error:
            raise DeadlineExceeded(
                "the deadline passed before the answer was complete; allow more time"
            ) from error

    def keep_measured(self, measured: dict[tuple[SpokeId, ModelKey], Speed]) -> None:
        """Take back what could not be stored; what was measured since counts more."""
        self._measured = {**measured, **self._measured}

    def take_measured(self) -> dict[tuple[SpokeId, ModelKey], Speed]:
        """Give what was measured since this was last asked, for the store."""
        measured, self._measured = self._measured, {}
        return measured

    def note_speed(self, spoke: SpokeId, key: ModelKey, speed: Speed) -> None:
        """Keep what was measured of a model on *spoke*."""
        self._sessions.measured(spoke, key, speed)
        self._measured[spoke, key] = speed

    async def _attempts(self, ask: Ask, call: Call) -> Ended:
        failure: MeshError | None = None
        # Where a task may have been done nevertheless, only whoever keeps its record can tell.
        for attempt in range(1, ATTEMPTS_MAX + 1 if call.task is None else 2):
            with self._waiting(ask, call) as waiter:
                try:
                    grant = await self._granted_in_time(waiter, call.client)
                except MeshError:
                    # That a spoke has failed says more than that there is no other one.
                    if failure is not None:
                        raise failure from None
                    raise
                try:
                    await self._announce(grant, ask, call.client, attempt)
                    ended = await self._heard_out(grant, call.client)
                except MeshError as error:
                    if grant.job.has_text or not is_retryable(error):
                        raise
                    failure = error
                    spoke = grant.decision.target.spoke
                    ask = replace(ask, excluded=ask.excluded | {spoke})
                    log.info(
                        "attempt failed", extra={"spoke": spoke, "reason": error.reason, "attempt": attempt}
                    )
                else:
                    self._account(grant, ended)
                    return ended
        assert failure is not None  # noqa: S101  # every round but the last one that returns has set it
        raise failure

    @contextmanager
    def _waiting(self, ask: Ask, call: Call) -> Iterator[Waiter]:
        waiter = Waiter(ask, call.kind, call.body, call.client.write, call.task, call.is_watched)
        self._queue.add(waiter)
        try:
            yield waiter
        finally:
            self._queue.discard(waiter)
            if waiter.grant is not None:
                call.progress.tokens += waiter.grant.job.tokens
                waiter.grant.stream.cancel(waiter.grant.job, self._clock.monotonic())
                _settle(waiter.grant.job)

    async def _granted_in_time(self, waiter: Waiter, client: Client) -> Grant:
        if waiter.grant is not None:
            return waiter.grant  # at once, as mostly
        left_s = admission.gives_up_at(waiter.ask) - self._clock.monotonic()
        try:
            async with asyncio.timeout(left_s):
                return await self._granted(waiter, client)
        except TimeoutError as error:
            raise DeadlineExceeded(
                "no slot became free in time; ask again later, or allow more time"
            ) from error

    async def _granted(self, waiter: Waiter, client: Client) -> Grant:
        told, told_at = None, 0.0
        while waiter.grant is None:
            if waiter.refusal is not None:
                raise waiter.refusal
            waiter.news.clear()
            wait, now = waiter.wait, self._clock.monotonic()
            is_loading = wait is not None and wait.since is not None
            if wait is not None and (wait != told or (is_loading and now - told_at >= LOADING_TOLD_S)):
                told, told_at = wait, now
                await _tell(client, _waiting(wait, now))
                continue  # something may have changed meanwhile
            with suppress(TimeoutError):
                async with asyncio.timeout(LOADING_TOLD_S if is_loading else None):
                    await waiter.news.wait()
        return waiter.grant

    async def _announce(self, grant: Grant, ask: Ask, client: Client, attempt: int) -> None:
        target = grant.decision.target
        await _tell(
            client,
            Started(
                spoke=target.spoke,
                model=target.place.model,
                model_key=target.key,
                queue_s=self._clock.monotonic() - ask.arrived_at,
                attempt=attempt,
                also_named=grant.decision.also_named,
            ),
        )
        grant.job.announced.set()

    async def _heard_out(self, grant: Grant, client: Client) -> Ended:
        """Wait for the end of the answer; until it has begun, *client* hears now and then that it is still awaited."""
        job = grant.job
        while not job.done.done():
            await asyncio.wait({job.done}, timeout=SILENCE_TOLD_S)
            silent_s = grant.stream.silent_s(job, self._clock.monotonic())
            if silent_s >= SILENCE_TOLD_S and not job.done.done():
                job.announced.clear()  # so that an answer that begins meanwhile is not written into the middle of this
                try:
                    await _tell(client, Waiting(grant.decision.target.spoke, silent_s=silent_s))
                finally:
                    job.announced.set()
        return job.done.result()

    def _account(self, grant: Grant, ended: Ended) -> None:
        target = grant.decision.target
        spoke = self._sessions.registry.spokes.get(target.spoke)
        if spoke is not None:
            speed = estimator.measured(spoke.speeds.get(target.key, Speed()), ended.usage)
            self.note_speed(target.spoke, target.key, speed)


def _waiting(wait: Wait, now: float) -> Waiting:
    return Waiting(wait.loading, None if wait.since is None else now - wait.since, wait.expected_s)


async def _tell(client: Client, event: Waiting | Started) -> None:
    try:
        async with asyncio.timeout(SINK_STALL_S):
            await client.tell(event)
    except TimeoutError as error:
        raise ClientStalled(
            f"nothing was read for {SINK_STALL_S:g} s; read the answer as it comes"
        ) from error


def _settle(job: Job) -> None:
    """End *job* for good, so that nothing that still comes of it is taken for news that nobody heard."""
    if not job.done.cancel() and not job.done.cancelled():
        job.done.exception()
