"""Requests that wait for a slot, and the pump that gives them one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, assert_never

from hub.core import admission
from hub.core.scheduler import choose, ordered
from hub.core.types import Assign, Load, Refuse, Wait
from hub.relay.work import Assignment, Job
from hubspoke.types import Capability, SpokeId

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hub.core.types import Ask
    from hub.relay.sessions import Sessions
    from hub.relay.work import Sink, WorkStream
    from hubspoke.clock import Clock
    from hubspoke.errors import MeshError
    from hubspoke.types import CallKind, Task


Kind: TypeAlias = tuple[str, frozenset[Capability], frozenset[SpokeId], SpokeId | None, int]


@dataclass(slots=True, eq=False)
class Waiter:
    """A request that wants a slot. `news` is set whenever one of the last three fields has changed."""

    ask: Ask
    kind: CallKind
    request: bytes
    sink: Sink
    task: Task | None = None
    is_watched: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)
    wait: Wait | None = None
    grant: Grant | None = None
    refusal: MeshError | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """A job that has been given to a slot, and why that one."""

    job: Job
    stream: WorkStream
    decision: Assign


class Queue:
    """Everybody who waits. Whenever something changes, `pump` lets the scheduler decide again."""

    def __init__(self, sessions: Sessions, clock: Clock) -> None:
        self._sessions = sessions
        self._clock = clock
        self._waiters: list[Waiter] = []
        # Attempts are never numbered alike, over restarts of the hub too.
        self._last_attempt = int(clock.now().timestamp() * 1_000_000)
        self._is_pumping = False
        self._is_due = False
        sessions.on_change(self.pump)

    def __len__(self) -> int:
        """Count those who wait."""
        return len(self._waiters)

    @property
    def size_bytes(self) -> int:
        """Count the bytes of the requests that wait."""
        return sum(len(waiter.request) for waiter in self._waiters)

    def add(self, waiter: Waiter) -> None:
        """Let *waiter* wait; what can be decided at once is decided before this returns."""
        self._waiters.append(waiter)
        self.pump()

    def discard(self, waiter: Waiter) -> None:
        """Let *waiter* go, whatever became of it."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    def pump(self) -> None:
        """Decide on everybody who waits, in their order."""
        self._is_due = True
        if self._is_pumping:
            return  # a decision has changed something: whoever is deciding does it all again
        self._is_pumping = True
        try:
            while self._is_due and self._waiters:
                self._is_due = False
                self._decide_all(self._clock.monotonic())
        finally:
            self._is_pumping = False

    def _decide_all(self, now: float) -> None:
        stuck: dict[Kind, list[Waiter]] = {}
        for waiter in self._in_order(now):
            kind = _kind(waiter.ask)
            if kind in stuck:
                # Whoever asks for the same as somebody ahead of them who has to wait has no better chance.
                _let_wait(waiter, stuck[kind][-1].wait)
                stuck[kind].append(waiter)
            else:
                self._decide(waiter, 0, now)
                if waiter.wait is not None:
                    stuck[kind] = [waiter]
        for waiters in stuck.values():
            # The length of a queue may be worth another replica, which only its end can tell.
            if len(waiters) > 1:
                self._decide(waiters[-1], len(waiters) - 1, now)

    def _in_order(self, now: float) -> Iterator[Waiter]:
        # Over a copy: whoever is granted or refused leaves the list meanwhile.
        yield from sorted(self._waiters, key=lambda waiter: admission.turn(waiter.ask, now))

    def _decide(self, waiter: Waiter, ahead: int, now: float) -> None:
        traffic = self._sessions.traffic({waiter.ask.model: ahead})
        decision = choose(waiter.ask, self._sessions.registry, traffic, now)
        match decision:
            case Assign():
                self._leave(waiter)
                waiter.grant = self._assign(waiter, decision, now)
            case Refuse(error=error):
                self._leave(waiter)
                waiter.refusal = error
            case Load():
                self._sessions.order_load(decision)
                _let_wait(waiter, ordered(decision, self._sessions.registry))
            case Wait():
                _let_wait(waiter, decision)
            case _:
                assert_never(decision)

    def _leave(self, waiter: Waiter) -> None:
        self._waiters.remove(waiter)
        waiter.wait = None
        waiter.news.set()

    def _assign(self, waiter: Waiter, decision: Assign, now: float) -> Grant:
        self._last_attempt += 1
        deadline_at = waiter.ask.deadline_at
        assignment = Assignment(
            attempt=self._last_attempt,
            target=decision.target,
            kind=waiter.kind,
            timeout_s=None if deadline_at is None else max(0.0, deadline_at - now),
            request=waiter.request,
            task=waiter.task,
        )
        done = asyncio.get_running_loop().create_future()
        job = Job(assignment, waiter.sink, done, is_watched=waiter.is_watched)
        return Grant(job, self._sessions.assign(job), decision)


def _kind(ask: Ask) -> Kind:
    """Say what makes requests alike, as far as chances go. Longer prompts may need another replica than short ones."""
    return ask.model, ask.needs, ask.excluded, ask.only, ask.prompt_bytes.bit_length()


def _let_wait(waiter: Waiter, wait: Wait | None) -> None:
    if waiter.wait != wait:
        waiter.wait = wait
        waiter.news.set()
