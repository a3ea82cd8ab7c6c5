"""The outermost boundary: whatever goes wrong inside, a caller learns only what is meant for them."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from hub.rpc import interceptors
from hub.rpc.interceptors import Gate
from hubspoke.errors import InternalError, MeshError, PermissionDenied, UnknownModel
from hubspoke.wire import status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

SECRET = "secret path /etc/hubspoke/ca.key"


def open_to_all(_method: str) -> Callable[[Any], AbstractContextManager[Any]]:
    return nullcontext


def unnoted(_error: MeshError, _context: object, _method: str) -> None:
    """Write nothing down."""


@asynccontextmanager
async def serving(
    gate: Gate, behaviour: Callable[[bytes, Any], Awaitable[object]], shape: str
) -> AsyncIterator[Any]:
    handler = interceptors.SHAPES[shape](behaviour)
    server = grpc.aio.server(interceptors=(gate,))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", {"Call": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


async def one_call(channel: Any, shape: str) -> None:
    call = getattr(channel, shape)("/t.T/Call")
    if shape == "unary_unary":
        await call(b"")
    elif shape == "unary_stream":
        await call(b"").read()
    elif shape == "stream_unary":
        await call(iter([b"x"]))
    else:
        stream = call()
        await stream.write(b"x")
        await stream.read()


async def outcome(channel: Any, shape: str) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await one_call(channel, shape)
    return caught.value


@pytest.mark.parametrize("shape", list(interceptors.SHAPES))
async def test_a_defect_is_told_as_a_number_that_the_log_knows(
    shape: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_request: object, _context: object) -> object:
        raise ValueError(SECRET)

    async with serving(Gate(open_to_all, unnoted), broken, shape) as channel:
        failure = await outcome(channel, shape)
    error = status.error_of(failure)
    assert isinstance(error, InternalError)
    assert SECRET not in str(failure)
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.__dict__["request_id"] in error.message


@pytest.mark.parametrize("shape", list(interceptors.SHAPES))
async def test_an_error_of_ours_arrives_with_reason_sentence_and_figures(shape: str) -> None:
    async def refuses(_request: object, _context: object) -> object:
        raise UnknownModel("nobody has 'x'", known=3)

    async with serving(Gate(open_to_all, unnoted), refuses, shape) as channel:
        failure = await outcome(channel, shape)
    error = status.error_of(failure)
    assert type(error) is UnknownModel
    assert error.message == "nobody has 'x'"
    assert error.figures == {"known": "3"}
    assert failure.code() is grpc.StatusCode.NOT_FOUND


async def test_a_guard_that_says_no_keeps_the_handler_from_running() -> None:
    ran = []

    async def handler(_request: object, _context: object) -> bytes:
        ran.append(1)
        return b""

    def closed(_method: str) -> Callable[[Any], AbstractContextManager[Any]]:
        def check(_context: object) -> AbstractContextManager[Any]:
            raise PermissionDenied("not you")

        return check

    async with serving(Gate(closed, unnoted), handler, "unary_unary") as channel:
        error = status.error_of(await outcome(channel, "unary_unary"))
    assert type(error) is PermissionDenied
    assert not ran


async def test_an_error_that_nobody_is_there_to_hear_is_no_defect(caplog: pytest.LogCaptureFixture) -> None:
    entered, left = asyncio.Event(), asyncio.Event()

    async def failing_late(_request: object, _context: object) -> object:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
            raise UnknownModel("it went away")

    async with (
        serving(Gate(open_to_all, unnoted), failing_late, "unary_unary") as channel,
        asyncio.timeout(10),
    ):
        call = channel.unary_unary("/t.T/Call")(b"")
        await entered.wait()
        call.cancel()
        await left.wait()
    assert caplog.text == ""
