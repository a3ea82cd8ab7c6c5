"""What the installed llama.cpp is and can compute on, found out in a child: the import alone can kill a process."""

from __future__ import annotations

import logging
import math
import re
import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from hubspoke.errors import MeshError, SpokeError
from hubspoke.types import EngineInfo, Gpu, GpuKind
from spoke.core.cards import Card, bus_id, doubted
from spoke.engines.llamacpp.launch import Survey, Surveyed
from spoke.engines.llamacpp.supervisor import start
from spoke.engines.shared import Shared

if TYPE_CHECKING:
    from hubspoke.clock import Clock
    from spoke.engines.llamacpp.launch import Device

NAME: Final = "embedded"
SURVEY_TIMEOUT_S: Final = 60.0
FAULT_KEPT_S: Final = 60.0
"""How long a fault is believed before llama.cpp is tried again, which costs a process each time."""
KINDS: Final = {
    "CUDA": GpuKind.CUDA,
    "ROCm": GpuKind.ROCM,
    "Vulkan": GpuKind.VULKAN,
    "MTL": GpuKind.METAL,
    "Metal": GpuKind.METAL,
}
"""How llama.cpp's names of devices begin; a number follows, but for a Metal that is alone."""
ILLEGAL_INSTRUCTION: Final = frozenset({-signal.SIGILL, 0xC000001D})
"""The exit status of a process that used an instruction that the processor lacks, on POSIX and on Windows."""

_NAME = re.compile(rf"({'|'.join(KINDS)})(\d*)")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a survey has found, and when."""

    info: EngineInfo
    devices: tuple[Card, ...]
    at_s: float


class Build:
    """The installed llama.cpp. It does not change while the agent runs, but the memory of its devices does."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: _Seen | None = None
        self._look_under_way: Shared[_Seen] | None = None

    async def probe(self) -> EngineInfo:
        """Describe it, without its cards; a build that does not run here has a fault."""
        return (await self._seen_within(math.inf)).info

    async def devices(self, limit_s: float) -> tuple[Card, ...]:
        """Give the cards that it computes on, under its own numbers, as they were *limit_s* ago at most."""
        return (await self._seen_within(limit_s)).devices

    async def aclose(self) -> None:
        """End the look that may be under way."""
        if self._look_under_way is not None:
            await self._look_under_way.cancel()

    async def _seen_within(self, limit_s: float) -> _Seen:
        if self._seen is not None:
            kept_s = FAULT_KEPT_S if self._seen.info.fault else limit_s
            if self._clock.monotonic() - self._seen.at_s < kept_s:
                return self._seen
        while self._look_under_way is not None and self._look_under_way.is_abandoned:
            await self._look_under_way.gone()
        if self._look_under_way is None:
            self._look_under_way = Shared(self._look(), done=self._forget_look)
        return await self._look_under_way.wait()

    def _forget_look(self) -> None:
        self._look_under_way = None

    async def _look(self) -> _Seen:
        try:
            child = await start(Survey(), SURVEY_TIMEOUT_S)
        except SpokeError as error:
            self._seen = self._failed(error)
        else:
            await child.stop()
            self._seen = _Seen(*_described(child.reply), self._clock.monotonic())
        return self._seen

    def _failed(self, error: SpokeError) -> _Seen:
        """Say what a survey that failed tells: of a build that has worked only that its cards may be full."""
        now_s = self._clock.monotonic()
        if self._seen is None or self._seen.info.fault:
            return _Seen(EngineInfo(NAME, fault=_fault(error)), (), now_s)
        return replace(self._seen, devices=doubted(self._seen.devices, fault=""), at_s=now_s)


def _described(reply: object) -> tuple[EngineInfo, tuple[Card, ...]]:
    if not isinstance(reply, Surveyed):
        return EngineInfo(NAME, fault="the engine's process gave an answer that makes no sense"), ()
    # llama.cpp takes a GPU that is a part of the processor only where there is no other.
    separate = [device for device in reply.devices if not device.is_integrated]
    cards = (_card(device) for device in separate or reply.devices)
    return EngineInfo(NAME, version=reply.version), tuple(card for card in cards if card is not None)


def _card(device: Device) -> Card | None:
    """Describe a device; None for one of a kind that the mesh has no word for."""
    named = _NAME.fullmatch(device.name)
    if named is None:
        return None
    gpu = Gpu(
        index=int(named[2] or 0),
        kind=KINDS[named[1]],
        name=device.description or device.name,
        uuid=bus_id(device.place),
        memory_total_bytes=device.memory_total_bytes or None,
        memory_free_bytes=device.memory_free_bytes or None,
    )
    return Card(gpu, bus_id(device.place))


def _fault(error: MeshError) -> str:
    if error.figures.get("status") in ILLEGAL_INSTRUCTION:
        return "this processor lacks instructions that the llama.cpp build needs; use another engine"
    return f"{error.message}; is xllamacpp installed, and made for this machine?"
