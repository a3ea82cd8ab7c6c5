"""The spokes that are connected now: their sessions, their slots, and what the hub has told them to do."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hub.core import registry as reg
from hub.core.estimator import loaded_in
from hub.core.types import Registry, Speed, Traffic
from hub.relay.outbox import Outbox
from hub.relay.work import DRAIN_S, WorkStream
from hubspoke.errors import NoSpoke, ProtocolViolation, SessionReplaced

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hub.core.types import Load, Target
    from hub.relay.work import Job
    from hubspoke.clock import Clock
    from hubspoke.errors import MeshError
    from hubspoke.types import Inventory, ModelKey, Place, SpokeId

log = logging.getLogger(__name__)

BEATS_LIMIT: Final = 64
"""Answers and directives that may wait for a heartbeat stream to take them."""

FLUSH_CALM_S: Final = 0.015
FLUSH_BUSY_S: Final = 0.050
CALM_JOBS: Final = 16
BUSY_JOBS: Final = 64
"""Up to 16 answers at a time tokens may come as they like; from 64 on the hub asks spokes to gather them."""


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
class Reply:
    """What goes down a heartbeat stream: the newest beat that came, and orders to carry out one after the other."""

    sequence: int
    orders: tuple[LoadOrder | UnloadOrder, ...] = ()


@dataclass(slots=True)
class Live:
    """A session that is going on."""

    session: int
    slots: int
    heartbeat: Outbox[Reply]
    streams: dict[int, WorkStream] = field(default_factory=dict)
    idle: dict[int, WorkStream] = field(default_factory=dict)
    loads: dict[int, Target] = field(default_factory=dict)
    sequence: int = 0
    has_heartbeat: bool = False


class Sessions:
    """Every connected spoke. `changed` is called whenever a waiting request might have a better chance."""

    def __init__(self, clock: Clock, flush_s: float | None = None) -> None:
        self.registry = Registry()
        self.changed: Callable[[], None] = _nobody
        self._clock = clock
        self._flush_s = flush_s
        self._live: dict[SpokeId, Live] = {}
        self._quiet = asyncio.Event()
        self._running: Counter[tuple[SpokeId, ModelKey]] = Counter()
        self._jobs: dict[WorkStream, tuple[SpokeId, ModelKey]] = {}
        # Streams of spokes that have said goodbye and not yet their last word; until when that may take.
        self._leaving: dict[WorkStream, float] = {}
        # Sessions and orders are told apart over restarts of the hub too, without keeping a number anywhere.
        self._last_number = int(clock.now().timestamp() * 1_000)

    def traffic(self) -> Traffic:
        """Say what runs now."""
        return Traffic({spoke: len(live.idle) for spoke, live in self._live.items()}, self._running)

    def streams(self, spoke: SpokeId) -> tuple[int, int]:
        """Count the Work streams of *spoke* that are open, and those among them that are busy."""
        live = self._live.get(spoke)
        if live is None:
            return 0, 0
        return len(live.streams), sum(stream.job is not None for stream in live.streams.values())

    def flush_s(self) -> float:
        """Say how long spokes are to gather tokens, given what runs."""
        if self._flush_s is not None:
            return self._flush_s
        share = (len(self._jobs) - CALM_JOBS) / (BUSY_JOBS - CALM_JOBS)
        return FLUSH_CALM_S + (FLUSH_BUSY_S - FLUSH_CALM_S) * min(max(share, 0.0), 1.0)

    def register(
        self,
        spoke: SpokeId,
        *,
        inventory: Inventory,
        slots: int,
        agent_version: str,
        speeds: Mapping[ModelKey, Speed],
    ) -> int:
        """Begin a session, which ends an older one of the same spoke, and give its number."""
        session = self._next_number()
        self.registry = reg.registered(
            self.registry,
            spoke,
            session=session,
            inventory=inventory,
            slots=slots,
            agent_version=agent_version,
            speeds=speeds,
            now=self._clock.monotonic(),
        )
        self._drop(spoke, SessionReplaced(f"{spoke} has registered again; only its newest session counts"))
        self._live[spoke] = Live(session, slots, Outbox(BEATS_LIMIT))
        log.info("spoke registered", extra={"spoke": spoke, "session": session, "slots": slots})
        self.changed()
        return session

    def heartbeat(self, spoke: SpokeId, session: int) -> Outbox[Reply]:
        """Give what is to be written to the heartbeat stream of a session, of which there is one."""
        live = self._require(spoke, session)
        if live.has_heartbeat:
            raise ProtocolViolation("a session has one Heartbeat stream, and it is open already")
        live.has_heartbeat = True
        return live.heartbeat

    def beat(
        self, spoke: SpokeId, session: int, sequence: int, *, inventory: Inventory | None, draining: bool
    ) -> None:
        """Note that a spoke lives, and what it has now; acknowledge it."""
        live = self._require(spoke, session)
        now = self._clock.monotonic()
        self.registry = reg.beat(
            self.registry, spoke, session, inventory=inventory, draining=draining, now=now
        )
        live.sequence = sequence
        self._tell(spoke, live, Reply(sequence))
        self.changed()

    def order_load(self, load: Load) -> None:
        """Tell a spoke to load a model, after it has unloaded what stands in the way."""
        target = load.target
        live = self._live[target.spoke]
        number = self._next_number()
        live.loads[number] = target
        self.registry = reg.load_started(self.registry, load, self._clock.monotonic())
        unloads = tuple(UnloadOrder(self._next_number(), place) for place in load.unload)
        order = LoadOrder(number, target.place, target.context_tokens)
        self._tell(target.spoke, live, Reply(live.sequence, (*unloads, order)))
        log.info("load ordered", extra={"spoke": target.spoke, "model": target.place.model})

    def order_ended(
        self, spoke: SpokeId, session: int, number: int, error: MeshError | None, took_s: float
    ) -> tuple[ModelKey, Speed] | None:
        """Note what became of an order; give what it says about the model's speed when it was a load that worked."""
        target = self._require(spoke, session).loads.pop(number, None)
        if target is None:
            return None  # an unload: what it did stands in the inventory of the same beat
        now = self._clock.monotonic()
        self.registry = reg.load_ended(self.registry, spoke, session, target.place, error=error, now=now)
        result = {"spoke": spoke, "model": target.place.model, "took_s": round(took_s, 3)}
        if error is not None:
            log.warning("load failed", extra={**result, "reason": error.reason, "why": error.message})
            self.changed()
            return None
        log.info("load done", extra=result)
        return target.key, loaded_in(self.registry.spokes[spoke].speeds.get(target.key, Speed()), took_s)

    def leave(self, spoke: SpokeId, session: int) -> None:
        """Note a clean end. The end of an answer may still be on its way: streams do not wait for each other."""
        self.registry = reg.left(self.registry, spoke, session)
        live = self._live.get(spoke)
        if live is not None and live.session == session:
            until = self._clock.monotonic() + DRAIN_S
            self._leaving.update(
                (stream, until) for stream in live.streams.values() if stream.job is not None
            )
        self._end(spoke, session, "spoke left", None)

    def lose(self, spoke: SpokeId, session: int) -> None:
        """Note that the heartbeat stream broke. Nothing happens after `leave`, or when a newer session is there."""
        self.registry = reg.lost(self.registry, spoke, session)
        self._end(spoke, session, "spoke lost", _over(spoke, session))

    def sweep(self) -> None:
        """Do what only the passing of time brings: silence, the end of leases, stalls. Call it about twice a second."""
        now = self._clock.monotonic()
        self.registry, lost = reg.swept(self.registry, now)
        for spoke in lost:
            self._end(spoke.id, spoke.session, "spoke lost", _over(spoke.id, spoke.session))
        for live in self._live.values():
            for stream in tuple(live.streams.values()):
                stream.sweep(now)
        for stream, until in tuple(self._leaving.items()):
            stream.sweep(now)
            if now > until:
                stream.close()
        self.changed()

    async def drain(self) -> None:
        """Wait until nothing runs."""
        while self._jobs:
            self._quiet.clear()
            await self._quiet.wait()

    def close(self) -> None:
        """End every session: the hub is going away."""
        # First all of them leave, so that nobody who waits is given to one that is about to go.
        for spoke, live in self._live.items():
            self.registry = reg.left(self.registry, spoke, live.session)
        for spoke in tuple(self._live):
            self._drop(spoke, NoSpoke("the hub is stopping; connect again in a while"))
        self.changed()

    def open_work(self, spoke: SpokeId, session: int, number: int) -> WorkStream:
        """Take in a new Work stream; raise SessionReplaced or ProtocolViolation for one that cannot be."""
        live = self._require(spoke, session)
        if number >= live.slots:
            raise ProtocolViolation(f"slot {number} of a spoke that registered {live.slots}, counted from 0")
        if number in live.streams:
            raise ProtocolViolation(f"slot {number} is open already")
        stream = WorkStream(spoke, session, number, self._stream_changed)
        live.streams[number] = stream
        return stream

    def close_work(self, stream: WorkStream) -> None:
        """Let go of a Work stream that has ended."""
        stream.close()
        self._leaving.pop(stream, None)
        live = self._live.get(stream.spoke)
        if live is not None and live.streams.get(stream.number) is stream:
            del live.streams[stream.number]
        self.changed()

    def assign(self, job: Job) -> WorkStream:
        """Give *job* to an idle slot of the spoke that it is meant for; there must be one."""
        target = job.assignment.target
        _, stream = self._live[target.spoke].idle.popitem()
        place = (target.spoke, target.key)
        self._jobs[stream] = place
        self._running[place] += 1
        stream.assign(job, self._clock.monotonic())
        return stream

    def measured(self, spoke: SpokeId, key: ModelKey, speed: Speed) -> None:
        """Note how fast a model on *spoke* was just now."""
        self.registry = reg.measured(self.registry, spoke, key, speed, self._clock.monotonic())

    def _stream_changed(self, stream: WorkStream) -> None:
        if stream.job is None or stream.outbox.is_closed:
            place = self._jobs.pop(stream, None)
            if place is not None:
                self._running[place] -= 1
                self._quiet.set()
        live = self._live.get(stream.spoke)
        if live is None or live.session != stream.session:
            return
        if stream.is_idle:
            live.idle[stream.number] = stream
            self.changed()
        else:
            live.idle.pop(stream.number, None)

    def _require(self, spoke: SpokeId, session: int) -> Live:
        live = self._live.get(spoke)
        if live is None or live.session != session:
            raise _over(spoke, session)
        return live

    def _end(self, spoke: SpokeId, session: int, event: str, error: MeshError | None) -> None:
        live = self._live.get(spoke)
        if live is not None and live.session == session:
            self._drop(spoke, error)
            log.info(event, extra={"spoke": spoke, "session": session})
            self.changed()

    def _tell(self, spoke: SpokeId, live: Live, reply: Reply) -> None:
        try:
            live.heartbeat.put(reply)
        except ProtocolViolation as error:
            self.registry = reg.lost(self.registry, spoke, live.session)
            self._end(spoke, live.session, "spoke lost", error)

    def _drop(self, spoke: SpokeId, error: MeshError | None) -> None:
        live = self._live.pop(spoke, None)
        if live is None:
            return
        live.heartbeat.close(error)
        for stream in tuple(live.streams.values()):
            if stream not in self._leaving:
                stream.close(error)

    def _next_number(self) -> int:
        self._last_number += 1
        return self._last_number


def _over(spoke: SpokeId, session: int) -> SessionReplaced:
    return SessionReplaced(f"session {session} of {spoke} is over; register again")


def _nobody() -> None:
    """Stand in for whoever waits, until somebody does."""
