import asyncio

import pytest

from hubspoke.errors import InternalError, Unreachable
from spoke.link.boundary import contained, first_error


async def gives(result):
    return result


async def raises(error):
    raise error


async def test_what_works_comes_through():
    assert await contained("test", gives(7)) == 7


async def test_an_error_of_ours_comes_as_itself():
    error = Unreachable("away")
    assert await contained("test", raises(error)) is error


async def test_a_defect_is_logged_and_told_without_its_text(caplog):
    told = await contained("test", raises(ValueError("secret path")))
    assert isinstance(told, InternalError)
    assert "secret" not in told.message
    assert "secret path" in caplog.text


async def test_what_is_cancelled_stays_cancelled():
    with pytest.raises(asyncio.CancelledError):
        await contained("test", raises(asyncio.CancelledError()))


async def test_a_group_of_our_errors_is_told_as_the_first_one():
    first = Unreachable("first")
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [first]), Unreachable("second")])
    assert await first_error(raises(group)) is first


async def test_a_good_end_is_no_error():
    assert await first_error(gives(None)) is None


async def test_a_group_with_a_defect_is_raised():
    with pytest.raises(ExceptionGroup):
        await first_error(raises(ExceptionGroup("both", [Unreachable("away"), ValueError("defect")])))


async def test_a_cancelled_task_ends_although_a_task_of_its_own_fails_on_the_way_out():
    started = asyncio.Event()

    async def fails_when_cancelled():
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise Unreachable("the stream was gone already") from None

    async def session():
        async with asyncio.TaskGroup() as group:
            group.create_task(fails_when_cancelled())

    task = asyncio.create_task(first_error(session()))
    await started.wait()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
