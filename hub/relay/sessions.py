"""The spokes that are connected now: their sessions, their slots, and what the hub has told them to do."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from typing import TYPE_CHECKING, Final

from hub.core import registry as reg
from hub.core.estimator import loaded_in
from hub.core.types import Registry, Speed, Traffic
from hub.relay.live import Live
from hub.relay.orders import DeleteOrder, LoadOrder, Pending, PullOrder, Reply, StopPullOrder, UnloadOrder
from hub.relay.work import DRAIN_S, WorkStream
from hubspoke.errors import NoSpoke, ProtocolViolation, SessionReplaced, SpokeLost

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hub.core.types import Load
    from hub.relay.orders import Order
    from hub.relay.outbox import Outbox
    from hub.relay.work import Job
    from hubspoke.clock import Clock
    from hubspoke.errors import MeshError
    from hubspoke.types import Inventory, ModelKey, Place, PullStep, SpokeId, TaskKey

log = logging.getLogger(__name__)

FLUSH_CALM_S: Final = 0.015
FLUSH_BUSY_S: Final = 0.050
CALM_JOBS: Final = 16
BUSY_JOBS: Final = 64
"""Up to 16 answers at a time tokens may come as they like; from 64 on the hub asks spokes to gather them."""


class Sessions:
    """Every connected spoke. Whoever has called `on_change` hears when a waiting request might have a better chance."""

    def __init__(self, clock: Clock, flush_s: float | None = None) -> None:
        self.registry = Registry()
        self._clock = clock
        self._listeners: list[Callable[[], None]] = []
        self._flush_s = flush_s
        self._live: dict[SpokeId, Live] = {}
        self._quiet = asyncio.Event()
        self._running: Counter[tuple[SpokeId, ModelKey]] = Counter()
        self._jobs: dict[WorkStream, tuple[SpokeId, ModelKey]] = {}
        # Streams of spokes that have said goodbye and not yet their last word; until when that may take.
        self._leaving: dict[WorkStream, float] = {}
        # Sessions and orders are told apart over restarts of the hub too, without keeping a number anywhere.
        self._last_number = int(clock.now().timestamp() * 1_000)

    def on_change(self, tell: Callable[[], None]) -> None:
        """Call *tell* from now on whenever a waiting request might have a better chance."""
        self._listeners.append(tell)

    def traffic(self, waiting: Mapping[str, int] | None = None) -> Traffic:
        """Say what runs now, and how many are *waiting* for each model."""
        return Traffic(
            {spoke: len(live.idle) for spoke, live in self._live.items()}, self._running, waiting or {}
        )

    def streams(self, spoke: SpokeId) -> tuple[int, int]:
        """Count the Work streams of *spoke* that are open, and those among them that are busy."""
        live = self._live.get(spoke)
        if live is None:
            return 0, 0
        moving = sum(stream.spoke == spoke for stream in self._leaving)
        return len(live.streams), moving + sum(stream.job is not None for stream in live.streams.values())

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
        pinned: frozenset[ModelKey] = frozenset(),
        replaces: int = 0,
    ) -> int:
        """Begin a session, and give its number. It goes on with the one that it *replaces*, and ends any other."""
        session = self._next_number()
        before = self._live.get(spoke)
        goes_on = before is not None and replaces in before.numbers
        self.registry = reg.registered(
            self.registry,
            spoke,
            session=session,
            inventory=inventory,
            slots=slots,
            agent_version=agent_version,
            speeds=speeds,
            pinned=pinned,
            goes_on=goes_on,
            now=self._clock.monotonic(),
        )
        live = self._live_again(spoke, session, slots) if goes_on else Live(session, slots)
        self._drop(spoke, SessionReplaced(f"{spoke} has registered again; only its newest session counts"))
        self._live[spoke] = live
        facts = {"spoke": spoke, "session": session, "slots": slots}
        log.info("spoke registered", extra={**facts, "replaces": replaces} if goes_on else facts)
        self._changed()
        return session

    def heartbeat(self, spoke: SpokeId, session: int) -> Outbox[Reply]:
        """Give what is to be written to the heartbeat stream of a session, of which there is one."""
        live = self._require(spoke, session)
        if live.has_heartbeat or live.session != session:
            raise ProtocolViolation("a session has one Heartbeat stream, and it is open already")
        live.has_heartbeat = True
        return live.heartbeat

    def beat(
        self, spoke: SpokeId, session: int, sequence: int, *, inventory: Inventory | None, draining: bool
    ) -> None:
        """Note that a spoke lives, and what it has now; acknowledge it."""
        live = self._require(spoke, session)
        if live.session != session:
            return  # the last words of one that this session goes on with; only what comes with them counts
        now = self._clock.monotonic()
        self.registry = reg.beat(
            self.registry, spoke, session, inventory=inventory, draining=draining, now=now
        )
        live.sequence = sequence
        self._tell(spoke, live, Reply(sequence))
        self._changed()

    def settle(self, spoke: SpokeId, *keys: TaskKey) -> None:
        """Let a spoke that is connected forget the results of tasks, and stop what runs of them."""
        live = self._live.get(spoke)
        if live is not None:
            self._tell(spoke, live, Reply(live.sequence, settled=keys))

    def order_load(self, load: Load) -> Pending:
        """Tell a spoke to load a model, after it has unloaded what stands in the way."""
        target = load.target
        live = self._live[target.spoke]
        pending = self._begin(live, Pending(self._next_number(), target))
        self.registry = reg.load_started(self.registry, load, self._clock.monotonic())
        unloads = tuple(UnloadOrder(self._next_number(), place) for place in load.unload)
        order = LoadOrder(pending.id, target.place, target.context_tokens)
        self._give(target.spoke, live, *unloads, order)
        log.info("load ordered", extra={"spoke": target.spoke, "model": target.place.model})
        return pending

    def order_unload(self, spoke: SpokeId, place: Place) -> Pending:
        """Tell a spoke to take an idle model out of memory; raise NoSpoke when it is not connected."""
        live = self._connected(spoke)
        pending = self._begin(live, Pending(self._next_number(), leaving=place))
        self.registry = reg.unload_started(self.registry, spoke, place)
        self._give(spoke, live, UnloadOrder(pending.id, place))
        return pending

    def order_delete(self, spoke: SpokeId, place: Place) -> Pending:
        """Tell a spoke to delete an idle model from its disk, which gets no more work; raise NoSpoke as `order_unload`."""
        live = self._connected(spoke)
        pending = self._begin(live, Pending(self._next_number(), leaving=place))
        self.registry = reg.unload_started(self.registry, spoke, place)
        self._give(spoke, live, DeleteOrder(pending.id, place))
        log.info("delete ordered", extra={"spoke": spoke, "model": place.model})
        return pending

    def order_pull(self, spoke: SpokeId, place: Place) -> Pending:
        """Tell a spoke to get a model onto its disk; raise NoSpoke when it is not connected."""
        live = self._connected(spoke)
        pending = self._begin(live, Pending(self._next_number()))
        self._give(spoke, live, PullOrder(pending.id, place))
        log.info("pull ordered", extra={"spoke": spoke, "model": place.model})
        return pending

    def stop_pull(self, spoke: SpokeId, pull: Pending) -> None:
        """Tell a spoke to stop a pull, unless that is over or the spoke is gone."""
        live = self._live.get(spoke)
        if live is not None and live.orders.pop(pull.id, None) is not None:
            self._give(spoke, live, StopPullOrder(self._next_number(), pull.id))

    def order_progressed(self, spoke: SpokeId, session: int, number: int, step: PullStep) -> None:
        """Note how far an order has come that takes long."""
        pending = self._require(spoke, session).orders.get(number)
        if pending is not None:
            pending.progressed(step)

    def order_ended(
        self, spoke: SpokeId, session: int, number: int, error: MeshError | None, took_s: float
    ) -> tuple[ModelKey, Speed] | None:
        """Note what became of an order; give what it says about the model's speed when it was a load that worked."""
        live = self._require(spoke, session)
        pending = live.orders.pop(number, None)
        if pending is None:
            return None  # nobody waits for it: what it did stands in the inventory of the same beat
        target = pending.target
        if target is None:
            if pending.leaving is not None:
                self.registry = reg.unload_ended(self.registry, spoke, live.session, pending.leaving)
                self._changed()  # whoever waited until it was out of memory
            pending.end(error)
            return None
        now = self._clock.monotonic()
        self.registry = reg.load_ended(self.registry, spoke, live.session, target.place, error=error, now=now)
        pending.end(error)
        result = {"spoke": spoke, "model": target.place.model, "took_s": round(took_s, 3)}
        if error is not None:
            log.warning("load failed", extra={**result, "reason": error.reason, "why": error.message})
            self._changed()
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
        self._changed()

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
        self._changed()

    def open_work(self, spoke: SpokeId, session: int, number: int) -> WorkStream:
        """Take in a new Work stream; raise SessionReplaced or ProtocolViolation for one that cannot be."""
        live = self._require(spoke, session)
        if live.session != session:
            raise _over(spoke, session)
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
        self._changed()

    def assign(self, job: Job) -> WorkStream:
        """Give *job* to an idle slot of the spoke that it is meant for; there must be one."""
        target = job.assignment.target
        _, stream = self._live[target.spoke].idle.popitem()
        place = (target.spoke, target.key)
        self._jobs[stream] = place
        self._running[place] += 1
        stream.assign(job, self._clock.monotonic())
        return stream

    def pin(self, spoke: SpokeId, key: ModelKey, *, pinned: bool) -> None:
        """Keep a model in memory on *spoke* until it is unloaded by hand, or no longer."""
        self.registry = reg.pinned(self.registry, spoke, key, pinned=pinned)
        self._changed()

    def measured(self, spoke: SpokeId, key: ModelKey, speed: Speed) -> None:
        """Note how fast a model on *spoke* was just now."""
        self.registry = reg.measured(self.registry, spoke, key, speed, self._clock.monotonic())

    def _stream_changed(self, stream: WorkStream) -> None:
        if stream.job is None or stream.outbox.is_closed:
            place = self._jobs.pop(stream, None)
            if place is not None:
                self._running[place] -= 1
                self._quiet.set()
        if stream.job is None and self._leaving.get(stream) == math.inf:
            del self._leaving[stream]
            stream.close()  # another session goes on with its slot
        live = self._live.get(stream.spoke)
        if live is None or live.session != stream.session:
            return
        if stream.is_idle:
            live.idle[stream.number] = stream
            self._changed()
        else:
            live.idle.pop(stream.number, None)

    def _require(self, spoke: SpokeId, session: int) -> Live:
        live = self._live.get(spoke)
        if live is None or session not in live.numbers:
            raise _over(spoke, session)
        return live

    def _live_again(self, spoke: SpokeId, session: int, slots: int) -> Live:
        """Give the session that goes on with the one that *spoke* has, which keeps nothing but the answers under way."""
        before = self._live.pop(spoke)
        for stream in tuple(before.streams.values()):
            if stream.job is None:
                stream.close()
            else:
                self._leaving[stream] = math.inf
        # The older heartbeat stays for as long as the spoke likes: what it says last must not be lost.
        return Live(session, slots, orders=before.orders, former=before.numbers)

    def _connected(self, spoke: SpokeId) -> Live:
        live = self._live.get(spoke)
        if live is None:
            raise NoSpoke(f"{spoke} is not connected; `hubspoke status` says since when")
        return live

    def _changed(self) -> None:
        for tell in self._listeners:
            tell()

    def _begin(self, live: Live, pending: Pending) -> Pending:
        live.orders[pending.id] = pending
        return pending

    def _give(self, spoke: SpokeId, live: Live, *orders: Order) -> None:
        self._tell(spoke, live, Reply(live.sequence, orders))

    def _end(self, spoke: SpokeId, session: int, event: str, error: MeshError | None) -> None:
        live = self._live.get(spoke)
        if live is not None and live.session == session:
            self._drop(spoke, error)
            log.info(event, extra={"spoke": spoke, "session": session})
            self._changed()

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
        for pending in live.orders.values():
            pending.end(SpokeLost(f"{spoke} went away while it worked on this; try again"))
        for stream in tuple(live.streams.values()):
            if stream not in self._leaving:
                stream.close(error)

    def _next_number(self) -> int:
        self._last_number += 1
        return self._last_number


def _over(spoke: SpokeId, session: int) -> SessionReplaced:
    return SessionReplaced(f"session {session} of {spoke} is over; register again")
