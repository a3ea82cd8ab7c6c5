"""The GPU of a Mac with Apple's own chip. It computes in main memory, so that is the memory that it has."""

from __future__ import annotations

import asyncio
import subprocess
from typing import TYPE_CHECKING, Final

from hubspoke.types import Gpu, GpuKind
from spoke.core.cards import Card

if TYPE_CHECKING:
    from collections.abc import Callable

    from hubspoke.types import HostMemory

SYSCTL: Final = "/usr/sbin/sysctl"
SYSCTL_TIMEOUT_S: Final = 2.0
ANY_CHIP: Final = "Apple GPU"
MIB: Final = 1 << 20


class AppleProbe:
    """Asks the system, whose figures *read* gives by their names: empty for one that it does not know.

    Name and size do not change while a Mac runs, so they are asked for once.
    """

    def __init__(self, read: Callable[[str], str], memory: Callable[[], HostMemory]) -> None:
        self._read = read
        self._memory = memory
        self._still: Gpu | None = None

    @property
    def unseen(self) -> tuple[Card, ...]:
        """Stand for nothing: every such Mac answers."""
        return ()

    async def look(self) -> tuple[Card, ...]:
        """Describe the one GPU: what it could have is what main memory has, up to the limit that its owner has set."""
        if self._still is None:
            self._still = await asyncio.to_thread(_describe, self._read)
        free_bytes, total_bytes = self._memory().available_bytes, self._still.memory_total_bytes
        gpu = Gpu(
            index=0,
            kind=GpuKind.METAL,
            name=self._still.name,
            memory_total_bytes=total_bytes,
            memory_free_bytes=free_bytes if total_bytes is None else min(free_bytes, total_bytes),
        )
        return (Card(gpu),)

    async def aclose(self) -> None:
        """Do nothing: there is nothing to let go of."""


def read_sysctl(name: str) -> str:
    """Ask macOS for the figure *name*; give nothing where it does not know it."""
    try:
        asked = subprocess.run(  # noqa: S603  # a fixed program, and names from this module
            [SYSCTL, "-n", name], capture_output=True, check=False, text=True, timeout=SYSCTL_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout.strip()


def _describe(read: Callable[[str], str]) -> Gpu:
    limit_mib = _number(read("iogpu.wired_limit_mb"))  # 0: the system's own, which moves
    return Gpu(
        index=0,
        kind=GpuKind.METAL,
        name=read("machdep.cpu.brand_string") or ANY_CHIP,
        memory_total_bytes=(limit_mib * MIB if limit_mib else _number(read("hw.memsize"))) or None,
    )


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
