"""This spoke's engines and cards: what they have, and what runs on them now."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import aclosing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from hubspoke.errors import Busy, EngineTimeout, InternalError, MeshError, UnknownModel
from hubspoke.types import EngineInfo
from spoke.core.cards import DRIVER_SILENT, UNKNOWN_GPU, still
from spoke.core.inventory import EngineReport, compose, find, is_urgent
from spoke.engines.base import LOAD_TIMEOUT_S
from spoke.link.boundary import contained

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from hubspoke.types import Gpu, HostMemory, Model, Place, PullStep
    from spoke.engines.base import Engine
    from spoke.gpu.base import GpuProbe

LOOK_EVERY_S: Final = 2.0
PROBE_TIMEOUT_S: Final = 5.0
UNLOAD_TIMEOUT_S: Final = 30.0
DELETE_TIMEOUT_S: Final = 60.0
"""Some file systems take tens of seconds to let go of a large file."""

log = logging.getLogger(__name__)


class Machine:
    """What the spoke can do, as far as `watch` has found out. A probe that hangs costs its own news and nothing else.

    Only the models named in *only* are offered, or all when it is empty.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        gpus: GpuProbe,
        memory: Callable[[], HostMemory],
        *,
        only: frozenset[str] = frozenset(),
    ) -> None:
        self._engines = {engine.name: engine for engine in engines}
        self._turns = {engine.name: asyncio.Lock() for engine in engines}
        self._gpu_probe = gpus
        self._gpu_turn = asyncio.Lock()
        self._memory = memory
        self._only = only
        self._gpus: tuple[Gpu, ...] | None = None
        self._reports: dict[str, EngineReport | None] = {}  # None: looked for, and not there
        self._running: Counter[Place] = Counter()
        self._directives = 0
        self._loads: dict[tuple[Place, int], asyncio.Task[MeshError | None]] = {}
        self._group: asyncio.TaskGroup | None = None  # of `watch`
        self._tell: list[Callable[[], None]] = []
        self.looked = asyncio.Event()
        """Set once everything was looked at, or turned out to be slow."""
        self.idle = asyncio.Event()
        """Set while no request runs and no directive is being carried out."""
        self.idle.set()
        self.inventory = compose(memory(), (), ())

    @property
    def missing(self) -> frozenset[str]:
        """Names of models that are to be offered and were not found, so far."""
        return self._only - {model.name for model in self.inventory.models}

    def model(self, place: Place) -> Model | None:
        """Give what there is at *place*, as far as known."""
        return find(self.inventory, place)

    def engine(self, place: Place) -> Engine:
        """Give the engine of *place*; raise UnknownModel when there is none of that name."""
        engine = self._engines.get(place.engine)
        if engine is None:
            raise UnknownModel(f"this spoke has no engine {place.engine!r}")
        return engine

    # What runs.

    def running(self, place: Place) -> int:
        """Say how many requests run on the model at *place*."""
        return self._running[place]

    def begin(self, place: Place) -> None:
        """Count one more request on the model at *place*."""
        self._running[place] += 1
        self.idle.clear()

    def end(self, place: Place) -> None:
        """Count one request less."""
        self._running[place] -= 1
        self._rest()

    @contextmanager
    def obeying(self) -> Iterator[None]:
        """Count as work what the hub wants done, for as long as this lasts."""
        self._directives += 1
        self.idle.clear()
        try:
            yield
        finally:
            self._directives -= 1
            self._rest()

    def _rest(self) -> None:
        if self._running.total() == 0 and self._directives == 0:
            self.idle.set()

    # What there is.

    @contextmanager
    def on_change(self, tell: Callable[[], None]) -> Iterator[None]:
        """Call *tell* for as long as this lasts when something came, went, loaded or broke."""
        self._tell.append(tell)
        try:
            yield
        finally:
            self._tell.remove(tell)

    async def watch(self) -> None:
        """Look at everything again and again, each engine by itself; loads last no longer than this."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(_again_and_again(self._look_at_gpus))
            for name in self._engines:
                group.create_task(_again_and_again(partial(self._look_at, name)))

    async def load(self, place: Place, context_tokens: int) -> MeshError | None:
        """Bring a model into memory; give the error when that did not work.

        The load goes on when whoever waits for it is cancelled; whoever asks for the same then joins it.
        """
        wanted = place, context_tokens
        if wanted not in self._loads:
            if self._group is None:
                raise InternalError("a machine that is not watched loads nothing")
            load = self._group.create_task(self._changed(place, self._load(place, context_tokens)))
            load.add_done_callback(lambda _: self._loads.pop(wanted))
            self._loads[wanted] = load
        return await asyncio.shield(self._loads[wanted])

    async def unload(self, place: Place) -> MeshError | None:
        """Take an idle model out of memory; give the error when that did not work."""
        return await self._changed(place, self._unload(place))

    async def delete(self, place: Place) -> MeshError | None:
        """Delete an idle model that is offered; give the error when that did not work."""
        return await self._changed(place, self._delete(place))

    async def pull(self, place: Place, tell: Callable[[PullStep], None]) -> MeshError | None:
        """Get a model onto the disk, and *tell* how that goes; give the error when it did not work."""
        return await self._changed(place, self._pull(place, tell))

    async def _changed(self, place: Place, change: Awaitable[None]) -> MeshError | None:
        failure = await contained("directive", change)
        if place.engine in self._engines:
            # The cards first: they tell what the engine's models take, and the hub what is left.
            for look in (self._look_at_gpus, partial(self._look_at, place.engine)):
                with suppress(TimeoutError):
                    async with asyncio.timeout(PROBE_TIMEOUT_S):
                        await look()
        return failure

    async def _load(self, place: Place, context_tokens: int) -> None:
        try:
            async with asyncio.timeout(LOAD_TIMEOUT_S):
                await self.engine(place).load(place.model, context_tokens)
        except TimeoutError as error:
            raise EngineTimeout(f"the load of {place.model!r} took more than {LOAD_TIMEOUT_S:g} s") from error

    async def _unload(self, place: Place) -> None:
        self._refuse_while_running(place, "unload")
        try:
            async with asyncio.timeout(UNLOAD_TIMEOUT_S):
                await self.engine(place).unload(place.model)
        except TimeoutError as error:
            raise EngineTimeout(
                f"the engine did not unload {place.model!r} within {UNLOAD_TIMEOUT_S:g} s"
            ) from error

    async def _delete(self, place: Place) -> None:
        self._refuse_while_running(place, "delete")
        if self.model(place) is None:
            raise UnknownModel(f"this spoke offers no {place.model!r}")
        try:
            async with asyncio.timeout(DELETE_TIMEOUT_S):
                await self.engine(place).delete(place.model)
        except TimeoutError as error:
            raise EngineTimeout(
                f"the engine did not delete {place.model!r} within {DELETE_TIMEOUT_S:g} s"
            ) from error

    def _refuse_while_running(self, place: Place, what: str) -> None:
        if self._running[place]:
            raise Busy(
                f"{self._running[place]} requests run on {place.model!r}; {what} it when they are done"
            )

    async def _pull(self, place: Place, tell: Callable[[PullStep], None]) -> None:
        async with aclosing(self.engine(place).pull(place.model)) as steps:
            async for step in steps:
                tell(step)

    async def _look_at_gpus(self) -> None:
        async with self._gpu_turn:  # as with engines
            with _slow_after(PROBE_TIMEOUT_S, self._doubt_gpus):
                found = await contained("gpu probe", self._gpu_probe.probe())
            if isinstance(found, MeshError):
                self._doubt_gpus()
            else:
                self._gpus = found
                self._renew()

    def _doubt_gpus(self) -> None:
        known = (UNKNOWN_GPU,) if self._gpus is None else self._gpus
        self._gpus = tuple(replace(still(gpu), fault=DRIVER_SILENT) for gpu in known)
        self._renew()

    async def _look_at(self, name: str) -> None:
        # In turn: what was seen before a load must not overwrite what was seen after it.
        async with self._turns[name]:
            slow = _faulty(name, f"it has not answered within {PROBE_TIMEOUT_S:g} s")
            with _slow_after(PROBE_TIMEOUT_S, partial(self._learn, name, slow)):
                report = await contained("engine probe", _report(self._engines[name]))
            self._learn(name, _faulty(name, report.message) if isinstance(report, MeshError) else report)

    def _learn(self, name: str, report: EngineReport | None) -> None:
        self._reports[name] = report
        self._renew()

    def _renew(self) -> None:
        before = self.inventory
        reports = [report for report in self._reports.values() if report is not None]
        self.inventory = compose(self._memory(), self._gpus or (), reports, self._only)
        if self._gpus is not None and len(self._reports) == len(self._engines):
            self.looked.set()
        if is_urgent(self.inventory, before):
            log.info(
                "inventory changed",
                extra={
                    "gpus": len(self.inventory.gpus),
                    "models": len(self.inventory.models),
                    "loaded": [model.name for model in self.inventory.models if model.loaded],
                },
            )
            for tell in self._tell:
                tell()


async def _report(engine: Engine) -> EngineReport | None:
    info = await engine.probe()
    if info is None:
        return None
    return EngineReport(info, () if info.fault else await engine.models())


def _faulty(name: str, fault: str) -> EngineReport:
    return EngineReport(EngineInfo(name=name, fault=fault))


async def _again_and_again(look: Callable[[], Awaitable[None]]) -> None:
    while True:
        await look()
        await asyncio.sleep(LOOK_EVERY_S)


@contextmanager
def _slow_after(limit_s: float, call: Callable[[], None]) -> Iterator[None]:
    """Call *call* if this takes longer; what takes so long goes on, as it may only be a slow start."""
    timer = asyncio.get_running_loop().call_later(limit_s, call)
    try:
        yield
    finally:
        timer.cancel()
