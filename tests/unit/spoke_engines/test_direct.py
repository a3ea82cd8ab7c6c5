"""The transport below httpx: what engines may send, and what becomes of those that fail."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress

import httpx
import pytest

from spoke.engines.direct import DirectTransport

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
SILENCE = httpx.Timeout(5, read=0.05)


@asynccontextmanager
async def server(
    *pieces: bytes, stays: bool = False
) -> AsyncIterator[tuple[httpx.AsyncClient, asyncio.Event]]:
    """Answer with *pieces*, then close unless it *stays*; the event is set when the client has closed."""
    left = asyncio.Event()
    answering: set[asyncio.Task[None] | None] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.add(asyncio.current_task())
        with closing(writer), suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if stays:
                await reader.read()
        left.set()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        transport = DirectTransport(None, None, connections_max=1)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", transport=transport) as client:
            yield client, left
        await asyncio.gather(*(task for task in answering if task is not None))


@pytest.mark.parametrize(
    "pieces",
    [
        (HEAD + b"Content-Length: 5\r\n\r\nhello",),
        (CHUNKED + b"5\r\nhello\r\n0\r\n\r\n",),
        (CHUNKED, b"2\r\nhe\r\n3\r\nll", b"o\r\n", b"0\r\nX: y\r\n\r\n"),
        (HEAD + b"\r\n", b"hel", b"lo"),
        tuple(bytes([one]) for one in HEAD + b"Content-Length: 5\r\n\r\nhello"),
    ],
)
async def test_a_body_comes_whole_however_it_is_framed_and_cut(pieces):
    async with server(*pieces) as (client, _):
        response = await client.get("/")
        assert (response.status_code, response.text) == (200, "hello")


async def test_what_follows_the_end_is_nobodys():
    async with server(HEAD + b"Content-Length: 5\r\n\r\nhello", b"HTTP/1.1 500 No\r\n\r\n") as (client, _):
        assert (await client.get("/")).text == "hello"


@pytest.mark.parametrize(
    "pieces",
    [(), (HEAD,), (CHUNKED + b"5\r\nhe",), (HEAD + b"Content-Length: 9\r\n\r\nhello",), (b"no\r\n\r\n",)],
)
async def test_a_response_that_is_not_whole_is_an_error(pieces):
    async with server(*pieces) as (client, _):
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/")


@pytest.mark.parametrize("pieces", [(), (CHUNKED + b"5\r\nhello\r\n",)])
async def test_silence_has_an_end(pieces):
    async with server(*pieces, stays=True) as (client, left):
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/", timeout=SILENCE)
        await asyncio.wait_for(left.wait(), 5)


async def test_closing_an_answer_half_way_closes_its_connection():
    async with server(CHUNKED + b"5\r\nhello\r\n", stays=True) as (client, left):
        async with client.stream("GET", "/") as response:
            assert await anext(response.aiter_raw()) == b"hello"
        await asyncio.wait_for(left.wait(), 5)


async def test_a_request_waits_for_a_place_no_longer_than_it_may():
    async with server(CHUNKED + b"5\r\nhello\r\n", stays=True) as (client, _), client.stream("GET", "/"):
        with pytest.raises(httpx.PoolTimeout):
            await client.get("/", timeout=httpx.Timeout(5, pool=0.05))


async def test_a_failed_request_gives_its_place_back():
    async with server() as (client, _):
        for _ in range(3):
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get("/")


async def test_a_server_that_is_not_there_is_told_from_one_that_fails(unused_tcp_port: int):
    transport = DirectTransport(None, None, connections_max=1)
    async with httpx.AsyncClient(transport=transport) as client:
        for _ in range(2):
            with pytest.raises(httpx.ConnectError):
                await client.get(f"http://127.0.0.1:{unused_tcp_port}/")
