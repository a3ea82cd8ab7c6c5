import asyncio

import pytest

from hubspoke.errors import EngineUnavailable, LoadFailed
from spoke.engines.shared import Shared


class Work:
    """Something that goes on until it is told to end, and counts."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()
        self.cancelled = False
        self.ended = 0

    async def run(self) -> str:
        self.begun.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return "done"

    def shared(self) -> Shared[str]:
        return Shared(self.run(), done=self._end)

    def _end(self) -> None:
        self.ended += 1


async def test_all_waiters_get_the_one_result():
    work = Work()
    shared = work.shared()
    waiters = [asyncio.create_task(shared.wait()) for _ in range(3)]
    await work.begun.wait()
    work.gate.set()

    assert await asyncio.gather(*waiters) == ["done"] * 3
    assert work.ended == 1


async def test_a_waiter_that_leaves_does_not_end_the_work_of_the_others():
    work = Work()
    shared = work.shared()
    leaver, stayer = asyncio.create_task(shared.wait()), asyncio.create_task(shared.wait())
    await work.begun.wait()

    leaver.cancel()
    await asyncio.wait({leaver})
    work.gate.set()

    assert leaver.cancelled()
    assert await stayer == "done"


async def test_the_last_waiter_to_leave_ends_the_work():
    work = Work()
    waiter = asyncio.create_task(work.shared().wait())
    await work.begun.wait()

    waiter.cancel()
    await asyncio.wait({waiter})

    assert work.cancelled
    assert work.ended == 1


async def test_who_waits_when_the_work_is_ended_is_told():
    work = Work()
    shared = work.shared()
    waiter = asyncio.create_task(shared.wait())
    await work.begun.wait()

    await shared.cancel()

    with pytest.raises(EngineUnavailable):
        await waiter


async def test_a_failure_reaches_every_waiter():
    async def fail() -> None:
        raise LoadFailed("no")

    shared = Shared(fail(), done=lambda: None)

    results = await asyncio.gather(shared.wait(), shared.wait(), return_exceptions=True)

    assert [type(result) for result in results] == [LoadFailed, LoadFailed]


async def test_work_that_its_last_waiter_has_left_is_marked_until_it_is_gone():
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow_to_end() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await may_end.wait()

    forgotten: list[bool] = []
    shared = Shared(slow_to_end(), done=lambda: forgotten.append(True))
    only = asyncio.create_task(shared.wait())
    await begun.wait()
    assert not shared.is_abandoned

    only.cancel()
    latecomer = asyncio.create_task(shared.gone())
    await asyncio.wait({latecomer}, timeout=0.01)
    assert shared.is_abandoned
    assert not latecomer.done()

    may_end.set()
    await latecomer
    assert forgotten == [True]
    await asyncio.wait({only})
