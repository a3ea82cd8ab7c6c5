"""The NVIDIA driver's library as Python functions, so that all of pynvml's own code runs without a driver.

pynvml calls it as it would the C library: it passes ctypes references, and the functions fill what they refer to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import pynvml

Function = Callable[..., int]


@dataclass(frozen=True, slots=True)
class Listed:
    """A process on a card; `None` bytes is what Windows keeps to itself."""

    pid: int
    memory_bytes: int | None
    instance: int = 0


@dataclass(frozen=True, slots=True)
class Card:
    """One card; `None` is what it does not support.

    *broken* answers every call about it with that error, *fails* those that it names.
    """

    name: str = "NVIDIA GeForce RTX 3060"
    uuid: str = "GPU-0"
    bus_id: str = "00000000:01:00.0"
    total: int = 12 * 2**30
    free: int = 11 * 2**30
    used: int = 2**29
    utilisation: int | None = 37
    temperature: int | None = 55
    knows_new_temperature: bool = True
    computing: Sequence[Listed] = ()
    drawing: Sequence[Listed] = ()
    list_version: int = 3
    list_grows: bool = False
    broken: int = pynvml.NVML_SUCCESS
    fails: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class FakeNvml:
    """A driver with *cards*; with *init* it answers the start with that error, and while *held* it hangs."""

    cards: Sequence[Card] = ()
    init: int = pynvml.NVML_SUCCESS
    held: threading.Event | None = None
    starts: int = 0
    stops: int = 0

    def __getattr__(self, name: str) -> Function:
        functions: dict[str, Function] = {
            "nvmlInitWithFlags": self._start,
            "nvmlShutdown": self._stop,
            "nvmlDeviceGetCount_v2": self._count,
            "nvmlDeviceGetHandleByIndex_v2": self._handle,
            "nvmlDeviceGetName": self._name,
            "nvmlDeviceGetUUID": self._uuid,
            "nvmlDeviceGetPciInfo_v3": self._pci,
            "nvmlDeviceGetMemoryInfo": self._memory,
            "nvmlDeviceGetUtilizationRates": self._utilisation,
            "nvmlDeviceGetTemperatureV": self._temperature_v,
            "nvmlDeviceGetTemperature": self._temperature,
            "nvmlDeviceGetComputeRunningProcesses_v2": partial(self._processes, "computing", 2),
            "nvmlDeviceGetComputeRunningProcesses_v3": partial(self._processes, "computing", 3),
            "nvmlDeviceGetGraphicsRunningProcesses_v2": partial(self._processes, "drawing", 2),
            "nvmlDeviceGetGraphicsRunningProcesses_v3": partial(self._processes, "drawing", 3),
        }
        if name not in functions:
            raise AttributeError(name)
        return partial(self._answer, name, functions[name])

    def _answer(self, name, function, *arguments):
        """Fail as the card is told to, or else do as the library does."""
        if name.startswith("nvmlDevice") and name not in {
            "nvmlDeviceGetCount_v2",
            "nvmlDeviceGetHandleByIndex_v2",
        }:
            error = self._card(arguments[0]).fails.get(name, pynvml.NVML_SUCCESS)
            if error != pynvml.NVML_SUCCESS:
                return error
        return function(*arguments)

    def _start(self, _flags):
        self.starts += self.init == pynvml.NVML_SUCCESS
        return self.init

    def _stop(self):
        if self.held is not None:
            self.held.wait()
        self.stops += 1
        return pynvml.NVML_SUCCESS

    def _count(self, count):
        if self.held is not None:
            self.held.wait()
        count._obj.value = len(self.cards)
        return pynvml.NVML_SUCCESS

    def _handle(self, index, handle):
        # A handle is a pointer to something that only the driver knows: here, the index plus one.
        handle._obj.contents = pynvml.struct_c_nvmlDevice_t.from_address(index.value + 1)
        return self.cards[index.value].broken

    def _name(self, handle, text, _size):
        text.value = self._card(handle).name.encode()
        return pynvml.NVML_SUCCESS

    def _uuid(self, handle, text, _size):
        text.value = self._card(handle).uuid.encode()
        return pynvml.NVML_SUCCESS

    def _pci(self, handle, pci):
        pci._obj.busId = self._card(handle).bus_id.encode()
        return pynvml.NVML_SUCCESS

    def _memory(self, handle, memory):
        card = self._card(handle)
        memory._obj.total, memory._obj.free, memory._obj.used = card.total, card.free, card.used
        return pynvml.NVML_SUCCESS

    def _utilisation(self, handle, rates):
        utilisation = self._card(handle).utilisation
        if utilisation is None:
            return pynvml.NVML_ERROR_NOT_SUPPORTED
        rates._obj.gpu = utilisation
        return pynvml.NVML_SUCCESS

    def _temperature_v(self, handle, reading):
        card = self._card(handle)
        if not card.knows_new_temperature:
            return pynvml.NVML_ERROR_FUNCTION_NOT_FOUND
        if card.temperature is None:
            return pynvml.NVML_ERROR_NOT_SUPPORTED
        reading._obj.temperature = card.temperature
        return pynvml.NVML_SUCCESS

    def _temperature(self, handle, _sensor, reading):
        temperature = self._card(handle).temperature
        if temperature is None:
            return pynvml.NVML_ERROR_NOT_SUPPORTED
        reading._obj.value = temperature
        return pynvml.NVML_SUCCESS

    def _processes(self, which, version, handle, count, buffer):
        """Give a list as the driver does: what is too small a buffer for it, as none is, is told how many there are."""
        card = self._card(handle)
        if version > card.list_version:
            return pynvml.NVML_ERROR_FUNCTION_NOT_FOUND
        listed = getattr(card, which)
        room, count._obj.value = count._obj.value, len(listed)
        if (buffer is None and listed) or len(listed) > room or (buffer is not None and card.list_grows):
            return pynvml.NVML_ERROR_INSUFFICIENT_SIZE
        for place, process in zip(buffer or (), listed, strict=False):
            unknown = pynvml.NVML_VALUE_NOT_AVAILABLE_ulonglong.value
            place.pid, place.gpuInstanceId = process.pid, process.instance
            place.usedGpuMemory = unknown if process.memory_bytes is None else process.memory_bytes
        return pynvml.NVML_SUCCESS

    def _card(self, handle):
        address = pynvml.cast(handle, pynvml.c_void_p).value
        return self.cards[address - 1]


@contextmanager
def driver(library: FakeNvml | None) -> Iterator[FakeNvml | None]:
    """Let pynvml find *library* where it found none."""
    before = pynvml.nvmlLib
    pynvml.nvmlLib = library
    pynvml._nvmlGetFunctionPointer_cache.clear()
    try:
        yield library
    finally:
        pynvml.nvmlLib = before
        pynvml._nvmlGetFunctionPointer_cache.clear()


@contextmanager
def no_driver() -> Iterator[None]:
    """Let pynvml look for a library that is not there, whatever this machine has."""

    def missing(_path: str) -> object:
        raise OSError("libnvidia-ml.so.1: cannot open shared object file")

    before = pynvml.CDLL
    pynvml.CDLL = missing
    try:
        with driver(None):
            yield
    finally:
        pynvml.CDLL = before
