"""What the installed llama.cpp is and can compute on, found out in a child: the import alone can kill a process."""

from __future__ import annotations

import logging
import signal
from typing import TYPE_CHECKING, Final

from hubspoke.errors import MeshError, SpokeError
from hubspoke.types import EngineInfo
from spoke.engines.launch import Survey, Surveyed
from spoke.engines.shared import Shared
from spoke.engines.supervisor import start

if TYPE_CHECKING:
    from hubspoke.clock import Clock

SURVEY_TIMEOUT_S: Final = 60.0
FAULT_KEPT_S: Final = 60.0
"""How long a fault is believed before llama.cpp is tried again, which costs a process each time."""
CUDA_DEVICE: Final = "CUDA"
ILLEGAL_INSTRUCTION: Final = frozenset({-signal.SIGILL, 0xC000001D})
"""The exit status of a process that used an instruction that the processor lacks, on POSIX and on Windows."""

log = logging.getLogger(__name__)


class Build:
    """The installed llama.cpp. It does not change while the agent runs, so it is looked at once."""

    def __init__(self, name: str, clock: Clock) -> None:
        self._name = name
        self._clock = clock
        self._info: EngineInfo | None = None
        self._looked_at_s = 0.0
        self._look_under_way: Shared[EngineInfo] | None = None

    async def probe(self) -> EngineInfo:
        """Describe it; a build that does not run here has a fault."""
        if self._info is not None and self._is_fresh(self._info):
            return self._info
        while self._look_under_way is not None and self._look_under_way.is_abandoned:
            await self._look_under_way.gone()
        if self._look_under_way is None:
            self._look_under_way = Shared(self._look(), done=self._forget_look)
        return await self._look_under_way.wait()

    async def aclose(self) -> None:
        """End the look that may be under way."""
        if self._look_under_way is not None:
            await self._look_under_way.cancel()

    def _is_fresh(self, info: EngineInfo) -> bool:
        return not info.fault or self._clock.monotonic() - self._looked_at_s < FAULT_KEPT_S

    def _forget_look(self) -> None:
        self._look_under_way = None

    async def _look(self) -> EngineInfo:
        try:
            child = await start(Survey(), SURVEY_TIMEOUT_S)
        except SpokeError as error:
            info = EngineInfo(self._name, fault=_fault(error))
        else:
            await child.stop()
            info = _describe(self._name, child.reply)
        self._info, self._looked_at_s = info, self._clock.monotonic()
        return info


def _describe(name: str, reply: object) -> EngineInfo:
    if not isinstance(reply, Surveyed):
        return EngineInfo(name, fault="the engine's process gave an answer that makes no sense")
    indexes = (device.removeprefix(CUDA_DEVICE) for device in reply.devices if device.startswith(CUDA_DEVICE))
    return EngineInfo(
        name, version=reply.version, gpus=tuple(sorted(int(i) for i in indexes if i.isdecimal()))
    )


def _fault(error: MeshError) -> str:
    if error.figures.get("status") in ILLEGAL_INSTRUCTION:
        return "this processor lacks instructions that the llama.cpp build needs; use another engine"
    return f"{error.message}; is xllamacpp installed, and made for this machine?"
