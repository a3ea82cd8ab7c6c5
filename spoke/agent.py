"""The agent: builds every part of a spoke, runs them as tasks, and ends them in good order."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import grpc

from hubspoke import enrol, notify
from hubspoke.channel import dial
from hubspoke.clock import SystemClock
from hubspoke.credentials import channel_credentials
from hubspoke.diagnosis.node import reason
from hubspoke.errors import MeshError, PermissionDenied, Unreachable
from hubspoke.rejoin import valid_identity
from hubspoke.renewal import News, keep_fresh
from hubspoke.signals import stop_signals
from hubspoke.types import LoadPlan
from pki.errors import PkiError
from pki.files import NodeFiles
from pki.identity import Role
from spoke.config import AUTO, OFF
from spoke.engines.llamacpp.build import Build
from spoke.engines.llamacpp.engine import EmbeddedEngine
from spoke.engines.ollama.address import address, is_here, usual_address
from spoke.engines.ollama.detected import DetectedOllama
from spoke.engines.ollama.server import OllamaServer
from spoke.engines.openai.engine import OpenAiEngine
from spoke.engines.openai.http import Endpoint
from spoke.gpu.apple import AppleProbe, read_sysctl
from spoke.gpu.cards import Cards
from spoke.gpu.memory import host_memory
from spoke.gpu.none import NoGpus
from spoke.gpu.nvml import NvmlProbe
from spoke.link.boundary import contained
from spoke.link.machine import Machine
from spoke.link.reconnect import Link
from spoke.link.tasks.results import Results
from spoke.link.tasks.running import Tasks
from spoke.models.store import SHIPPED, ModelStore
from spoke.platform import here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from hubspoke.clock import Clock
    from hubspoke.types import Inventory
    from pki.credential import StoredIdentity
    from spoke.config import SpokeConfig
    from spoke.engines.base import Engine
    from spoke.gpu.base import CardSource, GpuProbe
    from spoke.platform import Platform

log = logging.getLogger(__name__)


class Agent:
    """One spoke, from its identity on disk to its last goodbye."""

    def __init__(
        self,
        files: NodeFiles,
        machine: Machine,
        *,
        hubs: Sequence[str],
        slots: int,
        version: str,
        clock: Clock,
        chance: Callable[[], float],
    ) -> None:
        self._files = files
        self._machine = machine
        self._tasks = Tasks(Results(files.directory / "tasks"), machine, clock)
        self._hubs = hubs
        self._clock = clock
        self._chance = chance
        self._identity = self._load_identity()  # that is kept fresh
        files.load_anchors(now=clock.now())  # who cannot trust any hub is told at the start, not in a log
        # A renewal is asked for with the certificate that the connection shows: with an older one it would look like a theft.
        self._shown: WeakKeyDictionary[grpc.aio.Channel, StoredIdentity] = WeakKeyDictionary()
        self._link = Link(
            self._connect,
            machine,
            self._tasks,
            slots=slots,
            version=version,
            clock=clock,
            chance=chance,
            heard=self._heard,
        )
        self._news = News(self._catch_up)
        self._generation = files.load_generation()
        self._is_stopping = False

    async def run(self) -> None:
        """Be a spoke until `stop`."""
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._machine.watch())
            working = group.create_task(self._tasks.run())
            renewing = group.create_task(
                keep_fresh(
                    self._identity,
                    self._renew_when_due,
                    clock=self._clock,
                    chance=self._chance,
                    news=self._news,
                )
            )
            pinging = group.create_task(notify.keep_alive())
            await self._machine.looked.wait()
            await self._tasks.is_ready.wait()
            self._tell_what_is_lacking()
            notify.ready(_found(self._machine.inventory))
            await self._link.run()
            for task in (watching, working, renewing, pinging):
                task.cancel()

    def stop(self) -> None:
        """Take no more work, finish what runs, and leave; called again, leave without finishing."""
        if self._is_stopping:
            log.info("leaving at once")
            self._link.hurry()
        else:
            self._is_stopping = True
            notify.stopping("answers that are under way may end")
            self._link.leave("the agent was stopped")

    def _tell_what_is_lacking(self) -> None:
        """Log what keeps this machine from being of use; it may still come."""
        for engine in self._machine.inventory.engines:
            if engine.fault:
                log.warning("engine not usable", extra={"engine": engine.name, "fault": engine.fault})
        if self._machine.missing:
            log.warning("models not found", extra={"models": sorted(self._machine.missing)})
        if not self._machine.inventory.models:
            log.warning("no model to offer")

    def _load_identity(self) -> StoredIdentity:
        """Read who this spoke is; raise AccessError for who may not be one, PkiError for what is damaged."""
        identity = self._files.load_identity()
        if identity.identity.role is not Role.SPOKE:
            raise PermissionDenied(
                f"the identity here is that of the {identity.identity.role} {identity.identity.name!r}, not a spoke's; "
                "join with a token for a spoke, or use another --state-dir"
            )
        return identity

    async def _connect(self) -> grpc.aio.Channel:
        # Read anew each time: the identity may have been renewed, or replaced by a join, since the last connection.
        await asyncio.to_thread(self._load_identity)
        identity = await valid_identity(self._files, self._clock)
        anchors = await asyncio.to_thread(self._files.load_anchors, now=self._clock.now())
        hubs = self._hubs or (await asyncio.to_thread(self._files.load_addresses)).mesh
        try:
            channel = await dial(hubs, channel_credentials(identity, anchors))
        except Unreachable as error:
            # Every refusal of TLS looks like a hub that is down, so this machine looks for itself.
            why = await reason(self._files, hubs, self._clock.now())
            raise Unreachable(why or error.message) from error
        self._shown[channel] = identity
        await self._greet(channel)
        return channel

    async def _greet(self, channel: grpc.aio.Channel) -> None:
        """Tell the hub which roots this spoke has, and take over newer ones, on a connection that nobody uses yet."""
        try:
            if await enrol.catch_up(channel, self._files, self._clock):
                self._news.tell(0.0)
        except (MeshError, PkiError, OSError) as error:
            # The next answer to a heartbeat says again that there is something to take over.
            log.warning("roots not taken over", extra={"why": str(error)})
        self._generation = await asyncio.to_thread(self._files.load_generation)

    def _heard(self, generation: int, within_s: float) -> None:
        if generation not in {0, self._generation}:
            self._news.tell(within_s)

    async def _catch_up(self) -> StoredIdentity:
        """Take over roots and issuers that the hub has exchanged."""
        channel = await self._link.channel()
        with _closing_is_no_end():
            should_renew = await enrol.catch_up(channel, self._files, self._clock)
        self._generation = await asyncio.to_thread(self._files.load_generation)
        if should_renew:
            return await self._renew()
        self._identity = self._shown[channel]
        return self._identity

    async def _renew_when_due(self) -> StoredIdentity:
        """Renew the certificate that is due, unless that has been done to connect, because it had ended."""
        shown = self._shown[await self._link.channel()]
        if shown.serial == self._identity.serial:
            return await self._renew()
        self._identity = shown
        return shown

    async def _renew(self) -> StoredIdentity:
        channel = await self._link.channel()
        with _closing_is_no_end():
            fresh = await enrol.renew(channel, self._files, self._shown[channel], self._clock)
        self._link.move()
        self._identity = fresh
        return fresh


@contextmanager
def _closing_is_no_end() -> Iterator[None]:
    """Raise Unreachable where a channel was closed meanwhile.

    It cancels the calls on it, which looks as if this task were to end, and takes new ones for a mistake of ours.
    """
    try:
        yield
    except grpc.aio.UsageError as closed:
        raise Unreachable("the connection ended before the hub was asked") from closed
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Unreachable("the connection ended before the hub had answered") from None


def _found(inventory: Inventory) -> str:
    return f"models: {len(inventory.models)}, cards: {len(inventory.gpus)}"


async def serve(config: SpokeConfig, directory: Path) -> None:
    """Build a spoke whose state is in *directory*, and let it serve until a signal stops it."""
    clock, platform = SystemClock(), here()
    folder = _models_folder(config, directory)
    own = None if config.models_dir else folder
    store = ModelStore((folder, SHIPPED), directory / "models.json", own)
    build = Build(clock)
    cards = Cards(card_sources(platform), build.devices)
    embedded = EmbeddedEngine(
        store, plan=config.plan, platform=platform, clock=clock, build=build, cards=cards
    )
    engines: tuple[Engine, ...] = (embedded, *outside_engines(config, cards))
    agent = Agent(
        NodeFiles(directory),
        Machine(engines, cards, host_memory, only=frozenset(config.models)),
        hubs=config.hubs,
        slots=config.slots,
        version=version("hubspoke"),
        clock=clock,
        chance=random.random,
    )
    try:
        with stop_signals(agent.stop):
            await agent.run()
    finally:
        for close in (*(engine.aclose for engine in engines), store.aclose, cards.aclose):
            await contained("closing", close())


def _models_folder(config: SpokeConfig, directory: Path) -> Path:
    """Give the folder that models are looked for in, and log it: a slip of the pen in it is a spoke without models."""
    folder = config.models_folder(directory)
    if config.models_dir and not folder.is_dir():
        log.warning("models folder not found", extra={"path": str(folder)})
    else:
        log.info("models folder", extra={"path": str(folder)})
    return folder


def card_sources(platform: Platform) -> tuple[CardSource, ...]:
    """Build what this system's cards are seen through, beside what the embedded engine sees."""
    return (AppleProbe(read_sysctl, host_memory),) if platform.has_apple_gpu else (NvmlProbe(),)


def outside_engines(config: SpokeConfig, gpus: GpuProbe) -> Iterator[Engine]:
    """Build the engines that run by themselves; raise InvalidRequest when one cannot be reached as configured."""
    if config.ollama != OFF:
        is_told = config.ollama != AUTO
        server = OllamaServer(address(config.ollama) if is_told else usual_address(os.environ))
        plan = LoadPlan(slots=config.ollama_slots, context_tokens=config.context_tokens)
        build = partial(_ollama, plan=plan, gpus=gpus)
        yield build(server) if is_told else DetectedOllama(server, build)
    for other in config.openai:
        endpoint = Endpoint(other.base_url, other.api_key(os.environ))
        plan = LoadPlan(slots=other.slots, context_tokens=other.context_tokens)
        yield OpenAiEngine(other.name, endpoint, plan, frozenset(other.capabilities))


def _ollama(server: OllamaServer, *, plan: LoadPlan, gpus: GpuProbe) -> Engine:
    """Build the engine around an Ollama; one on another machine computes on none of this machine's cards."""
    from spoke.engines.ollama.engine import OllamaEngine  # noqa: PLC0415  # its package is large, and most need it late or never
    from spoke.engines.ollama.http import OllamaClient  # noqa: PLC0415  # as above

    cards = gpus if is_here(server.url) else NoGpus()
    return OllamaEngine(OllamaClient(server), plan=plan, gpus=cards.probe)
