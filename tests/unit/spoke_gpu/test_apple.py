"""A Mac with Apple's own chip. What sysctl says is written here as it prints it."""

import sys

import pytest

from hubspoke.types import Gpu, GpuKind, HostMemory
from spoke.gpu.apple import AppleProbe, read_sysctl

GIB = 2**30
M2_PRO = {
    "machdep.cpu.brand_string": "Apple M2 Pro",
    "hw.memsize": "17179869184",
    "iogpu.wired_limit_mb": "0",
}


class Sysctl:
    """Gives recorded figures; nothing for those that the system does not know."""

    def __init__(self, **changed: str) -> None:
        self.figures = M2_PRO | {name.replace("__", "."): figure for name, figure in changed.items()}
        self.asked: list[str] = []

    def __call__(self, name: str) -> str:
        self.asked.append(name)
        return self.figures.get(name, "")


async def look(read: Sysctl, available: int = 9 * GIB) -> Gpu:
    (card,) = await AppleProbe(read, lambda: HostMemory(16 * GIB, available)).look()
    return card.gpu


async def test_its_memory_is_the_machines():
    assert await look(Sysctl()) == Gpu(
        index=0,
        kind=GpuKind.METAL,
        name="Apple M2 Pro",
        memory_total_bytes=16 * GIB,
        memory_free_bytes=9 * GIB,
    )


@pytest.mark.parametrize(("available", "free"), [(9 * GIB, 8 * GIB), (3 * GIB, 3 * GIB)])
async def test_a_limit_that_its_owner_has_set_is_what_it_has(available: int, free: int):
    gpu = await look(Sysctl(iogpu__wired_limit_mb="8192"), available)

    assert (gpu.memory_total_bytes, gpu.memory_free_bytes) == (8 * GIB, free)


async def test_what_an_older_system_does_not_know_is_no_limit():
    assert (await look(Sysctl(iogpu__wired_limit_mb=""))).memory_total_bytes == 16 * GIB


async def test_what_no_figure_tells_is_unknown():
    gpu = await look(Sysctl(hw__memsize="", machdep__cpu__brand_string=""))

    assert (gpu.name, gpu.memory_total_bytes, gpu.memory_free_bytes) == ("Apple GPU", None, 9 * GIB)


async def test_what_does_not_change_is_asked_once_and_what_is_free_each_time():
    read, free = Sysctl(), iter([9 * GIB, 5 * GIB])
    probe = AppleProbe(read, lambda: HostMemory(16 * GIB, next(free)))

    looks = [(await probe.look())[0].gpu.memory_free_bytes for _ in range(2)]
    await probe.aclose()

    assert looks == [9 * GIB, 5 * GIB]
    assert len(read.asked) == len(set(read.asked))
    assert probe.unseen == ()


@pytest.mark.skipif(sys.platform == "darwin", reason="that system has it")
def test_a_system_without_sysctl_tells_nothing():
    assert read_sysctl("hw.memsize.of.nobody") == ""
