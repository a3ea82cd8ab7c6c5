"""NVIDIA cards, through the driver's own library (NVML).

A machine without the library has no NVIDIA driver, which is normal. A library that does not work is a fault and never
"no card": the card is there, and its owner wants to know.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import pynvml

from hubspoke.errors import InternalError
from hubspoke.types import Gpu, GpuKind, GpuProcess
from spoke.core.cards import UNKNOWN_GPU, Card, bus_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ANY_CARD: Final = "NVIDIA GPU"
"""What a card is called that the driver says nothing of."""
CLOSE_TIMEOUT_S: Final = 2.0
PERCENT_MAX: Final = 100
PROCESSES_MAX: Final = 64
"""Of one card; an inventory carries no more."""

_FAULTS: Final = {
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
        "the NVIDIA driver was updated while the old one is still running; reboot this machine"
    ),
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: (
        "the NVIDIA driver is installed but not loaded; reboot, or remove it if this machine has no such card"
    ),
    pynvml.NVML_ERROR_NO_PERMISSION: "this user may not use the NVIDIA driver; see who may open /dev/nvidia*",
    pynvml.NVML_ERROR_GPU_IS_LOST: "the card fell off the bus; reboot, then look at its power supply and riser",
    pynvml.NVML_ERROR_RESET_REQUIRED: "the card needs a reset; reboot this machine",
}

T = TypeVar("T")


class NvmlProbe:
    """Asks the driver in a thread of its own, as its calls block and can hang with a broken card."""

    def __init__(self) -> None:
        self._is_initialised = False
        self._under_way: asyncio.Future[tuple[Card, ...]] | None = None

    @property
    def unseen(self) -> tuple[Card, ...]:
        """Stand for cards that there may be: a driver that does not answer is one that is there."""
        return (Card(UNKNOWN_GPU),)

    async def look(self) -> tuple[Card, ...]:
        """Describe every NVIDIA card. While an earlier look hangs, wait for that one instead of starting another."""
        if self._under_way is None or self._under_way.done():
            self._under_way = _in_thread(self._describe_all)
        return await asyncio.shield(self._under_way)

    async def aclose(self) -> None:
        """Let go of the driver, unless a look under way hangs; a driver that hangs on that is left to it."""
        if self._under_way is not None:
            await asyncio.wait({self._under_way}, timeout=CLOSE_TIMEOUT_S)
            if not self._under_way.done():
                return
        await asyncio.wait({_in_thread(self._shut_down)}, timeout=CLOSE_TIMEOUT_S)

    def _describe_all(self) -> tuple[Card, ...]:
        try:
            if not self._is_initialised:
                pynvml.nvmlInit()
                self._is_initialised = True
            count = pynvml.nvmlDeviceGetCount()
        except pynvml.NVMLError_LibraryNotFound:
            return ()
        except pynvml.NVMLError as error:
            self._shut_down()  # a driver that failed is met anew by the next look
            return (_faulty(0, ANY_CARD, error),)
        return tuple(_describe(index) for index in range(count))

    def _shut_down(self) -> None:
        if self._is_initialised:
            self._is_initialised = False
            with suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()


def _describe(index: int) -> Card:
    name = ANY_CARD
    try:
        card = pynvml.nvmlDeviceGetHandleByIndex(index)
        name = _told(lambda: str(pynvml.nvmlDeviceGetName(card))) or ANY_CARD
        memory = _told(lambda: pynvml.nvmlDeviceGetMemoryInfo(card))
        gpu = Gpu(
            index=index,
            kind=GpuKind.CUDA,
            name=name,
            uuid=_told(lambda: str(pynvml.nvmlDeviceGetUUID(card))) or "",
            memory_total_bytes=None if memory is None else int(memory.total),
            memory_free_bytes=None if memory is None else int(memory.free),
            memory_used_bytes=None if memory is None else int(memory.used),
            utilisation_percent=_told(
                lambda: min(PERCENT_MAX, int(pynvml.nvmlDeviceGetUtilizationRates(card).gpu))
            ),
            temperature_celsius=_temperature(card),
            processes=_processes(card),
        )
        return Card(gpu, _told(lambda: bus_id(str(pynvml.nvmlDeviceGetPciInfo(card).busId))) or "")
    except pynvml.NVMLError as error:
        return _faulty(index, name, error)


def _temperature(card: object) -> int | None:
    """Ask the newer call first: the older one goes with CUDA 14, and old drivers have only that."""
    sensor = pynvml.NVML_TEMPERATURE_GPU
    celsius = _told(lambda: int(pynvml.nvmlDeviceGetTemperatureV(card, sensor)))
    return _told(lambda: int(pynvml.nvmlDeviceGetTemperature(card, sensor))) if celsius is None else celsius


def _processes(card: object) -> tuple[GpuProcess, ...]:
    """Give who computes or draws on a card, once each: who does both is in both of the driver's lists."""
    # The calls by their versions: those without raise what is no NVMLError where the driver is older than pynvml.
    found = _shares(
        card,
        pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3,
        pynvml.nvmlDeviceGetGraphicsRunningProcesses_v2,
    )
    computing = _shares(
        card, pynvml.nvmlDeviceGetComputeRunningProcesses_v3, pynvml.nvmlDeviceGetComputeRunningProcesses_v2
    )
    for pid, share in computing.items():
        known = [told for told in (share, found.get(pid)) if told is not None]
        found[pid] = max(known, default=None)
    largest_first = sorted(found.items(), key=lambda item: (-(item[1] or 0), item[0]))
    return tuple(GpuProcess(pid, share) for pid, share in largest_first[:PROCESSES_MAX])


class _Process(Protocol):
    """A process as pynvml lists it. Windows keeps to itself what it has; or this user may not know."""

    pid: int
    usedGpuMemory: int | None  # noqa: N815  # pynvml's name


def _shares(card: object, *calls: Callable[[object], Iterable[_Process]]) -> dict[int, int | None]:
    """Sum up what each process has, by the first of *calls* that the driver knows.

    On a card that is cut into instances (MIG) a process is listed for each one.
    """
    lists = (_told(partial(call, card)) for call in calls)
    shares: dict[int, int | None] = {}
    for process in next((listed for listed in lists if listed is not None), ()):
        share, before = process.usedGpuMemory, shares.get(process.pid, 0)
        shares[process.pid] = None if share is None or before is None else before + share
    return shares


def _told(ask: Callable[[], T]) -> T | None:
    """Give what the driver tells, None where card or driver does not know; raise what breaks the card."""
    try:
        return ask()
    except (
        pynvml.NVMLError_NotSupported,
        pynvml.NVMLError_FunctionNotFound,
        pynvml.NVMLError_ArgumentVersionMismatch,
        pynvml.NVMLError_Deprecated,
        pynvml.NVMLError_NoPermission,
        pynvml.NVMLError_NoData,
        pynvml.NVMLError_InvalidArgument,  # the question makes no sense for a part of a card (MIG, vGPU)
        pynvml.NVMLError_InsufficientSize,  # the list grew while it was read
    ):
        return None


def _faulty(index: int, name: str, error: pynvml.NVMLError) -> Card:
    fault = _FAULTS.get(error.value) or f"the NVIDIA driver says: {error}; a reboot may help"
    return Card(Gpu(index=index, kind=GpuKind.CUDA, name=name, fault=fault))


def _in_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """Run *work* in a thread that does not keep the process from ending, should it hang."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(results: list[T]) -> None:
        if results:
            done.set_result(results[0])
        else:
            done.set_exception(InternalError("the look at the cards failed; the spoke's log says why"))

    def run() -> None:
        results: list[T] = []
        try:
            results.append(work())
        finally:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(settle, results)

    threading.Thread(target=run, name="nvml", daemon=True).start()
    return done
