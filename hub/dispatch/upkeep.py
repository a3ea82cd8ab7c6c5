"""What people do with models by hand: load, pin, unload, pull and delete them. The scheduler does the first by itself."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from hub.core.catalogue import Holding, goes_by, holdings, resolve
from hub.core.pulling import puller
from hub.core.registry import LOAD_S_MAX
from hub.core.scheduler import bring, ordered
from hub.core.types import IN_SESSION, Ask, Load, Refuse, Wait
from hubspoke.errors import Busy, DeadlineExceeded, MeshError, NoSpoke, UnknownModel, from_reason
from hubspoke.types import InMemory, Loading, Priority, Pulled, Pulling

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from hub.relay.orders import Pending
    from hub.relay.sessions import Sessions
    from hub.store.mesh import Store
    from hubspoke.clock import Clock
    from hubspoke.types import LoadEvent, ModelKey, PullEvent, SpokeId

TOLD_S: Final = 1.0
"""How often whoever waits hears how far a load has come."""
UNLOAD_TIMEOUT_S: Final = 40.0
"""How long a spoke may take to let go of a model; it gives up by itself after 30 s."""
DELETE_TIMEOUT_S: Final = 70.0
"""How long a spoke may take to delete a model; it gives up by itself after 60 s."""
LOAD_WAIT_S_MAX: Final = 2 * LOAD_S_MAX
"""How long whoever wants a model in memory may wait: for one load that is in the way, and its own."""

log = logging.getLogger(__name__)


class Upkeep:
    """Models by hand. Pins are kept over restarts of the hub."""

    def __init__(self, sessions: Sessions, store: Store, clock: Clock) -> None:
        self._sessions = sessions
        self._store = store
        self._clock = clock
        self._news = asyncio.Event()
        sessions.on_change(self._news.set)

    async def load(self, model: str, spoke: SpokeId | None, *, pin: bool) -> AsyncGenerator[LoadEvent, None]:
        """Bring *model* into memory, on *spoke* or wherever that is quickest; tell how it goes.

        It goes on when nobody listens any more, but then nothing is pinned. Raise what is in the way: UnknownModel,
        DoesNotFit, NoSpoke, LoadFailed and the like, or DeadlineExceeded after LOAD_WAIT_S_MAX.
        """
        ask = self._asked(model)
        waits_until = ask.arrived_at + LOAD_WAIT_S_MAX
        while True:
            now = self._clock.monotonic()
            self._news.clear()
            decision = bring(ask, self._sessions.registry, self._sessions.traffic(), now, only=spoke)
            match decision:
                case Refuse(error=error):
                    raise error
                case Holding():
                    yield await self._found(decision, pin=pin)
                    return
                case Load():
                    self._sessions.order_load(decision)
                    wait = ordered(decision, self._sessions.registry)
                case Wait():
                    wait = decision
            if now > waits_until:
                raise DeadlineExceeded(
                    f"{model!r} has not come into memory within {LOAD_WAIT_S_MAX:g} s; `hubspoke status` says what is in the way"
                )
            if wait.loading is not None:
                elapsed_s = 0.0 if wait.since is None else now - wait.since
                yield Loading(wait.loading, elapsed_s, wait.expected_s or 0.0)
            await self._wait_for_news()

    async def unload(self, model: str, spoke: SpokeId | None) -> tuple[SpokeId, ...]:
        """Take *model* out of memory on *spoke*, or everywhere, and pin it no more; say where it was.

        On a spoke that is away only the pin goes. Raise UnknownModel, Busy where it runs, in which case it stays
        everywhere, or what a spoke says.
        """
        key = resolve(self._sessions.registry, model).key
        found = [held for held in holdings(self._sessions.registry, key) if spoke in {None, held.spoke.id}]
        if not found:
            raise UnknownModel(f"{spoke} has no {model!r}, or is not in this mesh")
        loaded = [held for held in found if held.model.loaded is not None and held.spoke.state in IN_SESSION]
        running = self._sessions.traffic().running
        for held in loaded:
            if count := running.get((held.spoke.id, key), 0):
                running_now = "a request runs" if count == 1 else f"{count} requests run"
                raise Busy(f"{running_now} on {model!r} on {held.spoke.id}; unload it when that is done")
        for name in {held.spoke.id for held in found}:
            await self._pin(name, key, pinned=False)
        orders = [self._sessions.order_unload(held.spoke.id, held.place) for held in loaded]
        for order in orders:
            await _ended(order, "unloaded", UNLOAD_TIMEOUT_S)
        return tuple(sorted({held.spoke.id for held in loaded}))

    async def pull(self, model: str, spoke: SpokeId | None) -> AsyncGenerator[PullEvent, None]:
        """Get *model* onto the disk of *spoke*, or of the one with most memory to give; tell how it goes.

        Closing the generator stops the pull. Raise NoSpoke or Unsupported when nobody pulls, and what the engine says.
        """
        chosen, place = puller(self._sessions.registry, model, spoke, self._clock.monotonic())
        order = self._sessions.order_pull(chosen, place)
        try:
            yield Pulling(chosen, "ordered")
            while not order.is_over:
                await order.news.wait()
                order.news.clear()
                if order.step is not None and not order.is_over:
                    step = order.step
                    yield Pulling(chosen, step.step, step.completed_bytes, step.total_bytes)
        finally:
            self._sessions.stop_pull(chosen, order)
        if order.error is not None:
            raise order.error
        yield Pulled(chosen, place)

    async def delete(self, model: str, spoke: SpokeId | None) -> tuple[SpokeId, ...]:
        """Delete *model* from the disk of *spoke*, or of every connected spoke that has it; say where it was.

        By a name goes whatever is called so, and not what has the same weights under another name; by a key goes that model
        under all its names. Raise UnknownModel, NoSpoke when *spoke* is away, Busy where it runs or is being loaded, in
        which case it stays everywhere, or what a spoke says.
        """
        found = self._to_delete(model, spoke)
        running = self._sessions.traffic().running
        for held in found:
            if running.get((held.spoke.id, held.key), 0) or held.place in held.spoke.loads:
                raise Busy(f"{model!r} is in use on {held.spoke.id}; delete it when that is done")
        orders = [(held, self._sessions.order_delete(held.spoke.id, held.place)) for held in found]
        gone: list[SpokeId] = []
        errors: list[tuple[SpokeId, MeshError]] = []
        for held, order in orders:
            try:
                await _ended(order, "deleted", DELETE_TIMEOUT_S)
            except MeshError as error:
                errors.append((held.spoke.id, error))
            else:
                gone.append(held.spoke.id)
                await self._pin(held.spoke.id, held.key, pinned=False)
        if errors:
            raise _partly(errors, gone)
        return tuple(sorted(set(gone)))

    def _to_delete(self, model: str, spoke: SpokeId | None) -> list[Holding]:
        """Give every place on connected spokes that *model* means, on *spoke* alone if that is named."""
        registry = self._sessions.registry
        connected = [known for known in registry.spokes.values() if known.state in IN_SESSION]
        if spoke is not None and spoke not in {known.id for known in connected}:
            raise NoSpoke(f"{spoke} is not connected; `hubspoke status` says since when")
        found = [held for known in connected if spoke in {None, known.id} for held in goes_by(known, model)]
        if not found:
            resolve(registry, model)  # which says what comes close
            raise UnknownModel(f"{spoke or 'no spoke that is connected'} has no {model!r}")
        return found

    def _asked(self, model: str) -> Ask:
        now = self._clock.monotonic()
        return Ask(model, frozenset(), 0, 1, Priority.INTERACTIVE, arrived_at=now)

    async def _found(self, holding: Holding, *, pin: bool) -> InMemory:
        loaded, spoke = holding.model.loaded, holding.spoke
        assert loaded is not None  # noqa: S101  # the scheduler gives what is warm
        if pin:
            await self._pin(spoke.id, holding.key, pinned=True)
        return InMemory(
            spoke.id,
            holding.place,
            slots=loaded.slots,
            context_tokens=loaded.context_tokens,
            memory_bytes=loaded.memory_bytes,
            pinned=pin or holding.key in spoke.pinned,
        )

    async def _pin(self, spoke: SpokeId, key: ModelKey, *, pinned: bool) -> None:
        known = self._sessions.registry.spokes.get(spoke)
        if known is not None and (key in known.pinned) is not pinned:
            await self._store.pin(spoke, key, pinned=pinned)
            self._sessions.pin(spoke, key, pinned=pinned)
            log.info("model pinned" if pinned else "model unpinned", extra={"spoke": spoke, "model_key": key})

    async def _wait_for_news(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(TOLD_S):
                await self._news.wait()


def _partly(errors: list[tuple[SpokeId, MeshError]], gone: list[SpokeId]) -> MeshError:
    """Give the first of *errors* with where it was, where else there were some, and where it went well."""
    (spoke, first), *others = errors
    also = "".join(f"; {other}: {error.message}" for other, error in others)
    done = f"; it is deleted on {', '.join(sorted(set(gone)))}" if gone else ""
    return from_reason(first.reason, f"{spoke}: {first.message}{also}{done}")


async def _ended(order: Pending, what: str, timeout_s: float) -> None:
    """Wait for the end of *order*; raise what went wrong with it."""
    try:
        async with asyncio.timeout(timeout_s):
            while not order.is_over:
                await order.news.wait()
                order.news.clear()
    except TimeoutError as error:
        raise DeadlineExceeded(
            f"the spoke has not {what} it within {timeout_s:g} s, and may still do so after what it loads now; "
            "`hubspoke ps` shows it"
        ) from error
    if order.error is not None:
        raise order.error
