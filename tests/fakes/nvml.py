"""The NVIDIA driver's library as Python functions, so that all of pynvml's own code runs without a driver.

pynvml calls it as it would the C library: it passes ctypes references, and the functions fill what they refer to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pynvml

Function = Callable[..., int]


@dataclass(frozen=True, slots=True)
class Card:
    """One card; `None` is what it does not support. *broken* answers every call about it with that error."""

    name: str = "NVIDIA GeForce RTX 3060"
    uuid: str = "GPU-0"
    total: int = 12 * 2**30
    free: int = 11 * 2**30
    utilisation: int | None = 37
    temperature: int | None = 55
    knows_new_temperature: bool = True
    broken: int = pynvml.NVML_SUCCESS


@dataclass(slots=True)
class FakeNvml:
    """A driver with *cards*; with *init* it answers the start with that error."""

    cards: Sequence[Card] = ()
    init: int = pynvml.NVML_SUCCESS
    starts: int = 0
    stops: int = 0
    handles: list[object] = field(default_factory=list)

    def __getattr__(self, name: str) -> Function:
        functions: dict[str, Function] = {
            "nvmlInitWithFlags": self._start,
            "nvmlShutdown": self._stop,
            "nvmlDeviceGetCount_v2": self._count,
            "nvmlDeviceGetHandleByIndex_v2": self._handle,
            "nvmlDeviceGetName": self._name,
            "nvmlDeviceGetUUID": self._uuid,
            "nvmlDeviceGetMemoryInfo": self._memory,
            "nvmlDeviceGetUtilizationRates": self._utilisation,
            "nvmlDeviceGetTemperatureV": self._temperature_v,
            "nvmlDeviceGetTemperature": self._temperature,
        }
        if name not in functions:
            raise AttributeError(name)
        return functions[name]

    def _start(self, _flags):
        self.starts += self.init == pynvml.NVML_SUCCESS
        return self.init

    def _stop(self):
        self.stops += 1
        return pynvml.NVML_SUCCESS

    def _count(self, count):
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

    def _memory(self, handle, memory):
        card = self._card(handle)
        memory._obj.total, memory._obj.free = card.total, card.free
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
