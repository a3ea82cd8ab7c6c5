"""Calls that run are known by who makes them, and end at once when they are cut."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from hub.audit import Audit
from hub.identities import REFUSED
from hub.rpc import interceptors, live
from hub.rpc.interceptors import Gate
from hub.rpc.live import Live
from hubspoke.clock import SystemClock
from hubspoke.errors import MeshError, RateLimited, Unauthenticated
from pki.identity import Identity, NodeName, Role
from pki.policy import KeyId, Peer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    Behaviour = Callable[[object, Any], Awaitable[object]]

WAIT_S = 10.0
MOMENT = datetime(2026, 11, 25, tzinfo=UTC)
CHUNK = bytes(100_000)


def a_peer(name: str = "den", serial: str = "a1") -> Peer:
    return Peer(Identity(Role.SPOKE, NodeName(name)), serial, KeyId(b"issuer"), MOMENT, MOMENT)


@pytest.fixture
def calls(tmp_path: Path) -> Iterator[Live]:
    with Audit.open(tmp_path, SystemClock()) as audit:
        yield Live(audit)


def noted_nowhere(_error: MeshError, _context: object, _method: str) -> None:
    """Write nothing down."""


def noted(directory: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (directory / "audit.jsonl").read_text().splitlines()]


@asynccontextmanager
async def serving(calls: Live, behaviour: Behaviour, shape: str, peer: Peer) -> AsyncIterator[Any]:
    gate = Gate(lambda _method: lambda context: calls.call(peer, context), noted_nowhere)
    server = grpc.aio.server(interceptors=(gate,))
    handlers = {"Call": interceptors.SHAPES[shape](behaviour)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.timeout(WAIT_S):
            yield getattr(channel, shape)("/t.T/Call")
    finally:
        await server.stop(None)


async def failure_of(call: Awaitable[object]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def read_on(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


def is_ended(failure: grpc.aio.AioRpcError) -> bool:
    return (failure.code(), failure.details()) == (grpc.StatusCode.UNAUTHENTICATED, REFUSED)


class Waiting:
    """A handler that waits, in the way of every shape, until it is ended."""

    def __init__(self) -> None:
        self.has_begun = asyncio.Event()
        self.has_ended = asyncio.Event()

    async def unary(self, _request: object, _context: object) -> bytes:
        self.has_begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.has_ended.set()
        return b""

    async def reading(self, _requests: object, context: Any) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.unary(None, None))
                await context.read()
                await context.read()
        finally:
            self.has_ended.set()

    async def writing(self, _request: object, context: Any) -> None:
        self.has_begun.set()
        try:
            while True:
                await context.write(CHUNK)
        finally:
            self.has_ended.set()


async def test_a_unary_call_is_cut(calls: Live) -> None:
    handler = Waiting()
    async with serving(calls, handler.unary, "unary_unary", a_peer()) as method:
        call = method(b"")
        await handler.has_begun.wait()
        assert (len(calls), [peer.identity.name for peer in calls]) == (1, ["den"])
        assert calls.cut(NodeName("den")) == 1
        assert is_ended(await failure_of(call))
    assert len(calls) == 0


@pytest.mark.parametrize("shape", ["stream_stream", "stream_unary"])
async def test_a_stream_that_is_being_read_is_cut(calls: Live, shape: str) -> None:
    handler = Waiting()
    async with serving(calls, handler.reading, shape, a_peer()) as method:
        call = method()
        await call.write(b"x")
        await handler.has_begun.wait()
        assert calls.cut(NodeName("den")) == 1
        failure = await failure_of(call.read() if shape == "stream_stream" else call)
        assert is_ended(failure)
    assert handler.has_ended.is_set()


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 10, 50])
async def test_a_stream_that_is_being_written_is_cut(calls: Live, turns: int) -> None:
    handler = Waiting()
    async with serving(calls, handler.writing, "unary_stream", a_peer()) as method:
        call = method(b"")
        await handler.has_begun.wait()
        for _ in range(turns):  # further and further into the first message, and the ones after it
            await asyncio.sleep(0)
        assert calls.cut(NodeName("den")) == 1
        assert is_ended(await failure_of(read_on(call)))


async def test_a_caller_that_reads_nothing_cannot_keep_its_call(
    calls: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interceptors, "ABORT_S", 0.1)
    handler = Waiting()
    async with serving(calls, handler.writing, "unary_stream", a_peer()) as method:
        call = method(b"")
        await handler.has_begun.wait()
        while not handler.has_ended.is_set():
            calls.cut(NodeName("den"))
            await asyncio.sleep(0)
        assert len(calls) == 0
        failure = await failure_of(read_on(call))
        assert failure.code() in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.CANCELLED}


async def test_others_are_left_alone(calls: Live, tmp_path: Path) -> None:
    handler = Waiting()
    async with serving(calls, handler.unary, "unary_unary", a_peer("attic", "b2")) as method:
        call = method(b"")
        await handler.has_begun.wait()
        assert calls.cut(NodeName("den")) == 0
        assert calls.cut_where(lambda peer: peer.serial_hex == "a1") == 0
        assert not call.done()
        assert calls.cut_where(lambda peer: peer.serial_hex == "b2") == 1
        assert is_ended(await failure_of(call))
    calls._audit.close()
    lines = noted(tmp_path)
    assert [(line["event"], line["node"]) for line in lines] == [("stream.cut", "attic")]
    assert (lines[0]["serial"], lines[0]["calls"]) == ("b2", 1)


async def test_a_handler_that_turns_its_end_into_something_else_is_still_refused(calls: Live) -> None:
    has_begun = asyncio.Event()

    async def stubborn(_request: object, _context: object) -> bytes:
        has_begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return b"an answer all the same"
        return b""

    async with serving(calls, stubborn, "unary_unary", a_peer()) as method:
        call = method(b"")
        await has_begun.wait()
        calls.cut(NodeName("den"))
        assert is_ended(await failure_of(call))


async def test_who_hangs_up_is_not_cut(calls: Live) -> None:
    handler = Waiting()
    async with serving(calls, handler.unary, "unary_unary", a_peer()) as method:
        call = method(b"")
        await handler.has_begun.wait()
        call.cancel()
        await handler.has_ended.wait()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert len(calls) == 0


async def test_a_node_has_a_limited_number_of_calls(calls: Live) -> None:
    held = [calls.call(a_peer()) for _ in range(live.CALLS_PER_NODE_MAX)]
    for call in held:
        call.__enter__()
    with pytest.raises(RateLimited):
        calls.call(a_peer())
    calls.call(a_peer("attic"))
    held.pop().__exit__(None, None, None)
    calls.call(a_peer())
    for call in held:
        call.__exit__(None, None, None)
    assert len(calls) == 0


async def test_a_block_that_was_cut_before_anybody_noticed_ends_as_refused(calls: Live) -> None:
    call = calls.call(a_peer())

    async def served() -> None:
        with call:
            calls.cut(NodeName("den"))

    with pytest.raises(Unauthenticated):
        await asyncio.create_task(served())
