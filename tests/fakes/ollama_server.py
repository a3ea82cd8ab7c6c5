"""The HTTP side of the double of Ollama: one request a connection, and faults on demand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

from hubspoke.errors import ContextTooLong, MeshError
from spoke.engines.llamacpp import EmbeddedEngine
from spoke.models.store import ModelStore
from tests.fakes.engine_server import END_OF_BODY, chunk
from tests.fakes.ollama import Fault, OllamaDouble, Refusal, Reply

PIECES_BEFORE_A_FAULT = 3

LINES = {
    Fault.TRUNCATE: b"",
    Fault.GARBAGE: b"<html>502 Bad Gateway</html>\n",
    Fault.NO_OBJECT: b"[1]\n",
    Fault.ERROR: b'{"error": "llama runner process no longer running: 2"}\n',
}


ROUTES: dict[str, Callable[[OllamaDouble, dict[str, object]], Awaitable[Reply]]] = {
    "GET /api/version": OllamaDouble.version,
    "GET /api/tags": OllamaDouble.tags,
    "GET /api/ps": OllamaDouble.ps,
    "POST /api/show": OllamaDouble.show,
    "POST /api/chat": OllamaDouble.chat,
    "POST /api/generate": OllamaDouble.generate,
    "POST /api/embed": OllamaDouble.embed,
    "POST /api/pull": OllamaDouble.pull,
}


@asynccontextmanager
async def an_ollama(
    engine: EmbeddedEngine, store: ModelStore, *, parallel: int = 2, port: int = 0
) -> AsyncIterator[OllamaDouble]:
    """Serve on a loopback port, a free one unless told which. *engine* has as many slots as *parallel*."""
    double = OllamaDouble(engine, store, parallel)
    connections: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.create_task(_serve(double, reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    host, port = server.sockets[0].getsockname()
    double.url = f"http://{host}:{port}"
    try:
        yield double
    finally:
        server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        for runner in double.runners.values():
            if runner.expiry is not None:
                runner.expiry.cancel()
        await engine.aclose()


async def _serve(double: OllamaDouble, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request, or stop as soon as the client hangs up."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            (line[15:] for line in head.lower().splitlines() if line.startswith("content-length:")), "0"
        )
        body = json.loads(await reader.readexactly(int(length)) or b"{}")
        route = " ".join(head.split(" ", 2)[:2])
        double.asked.append((route, body))
        work = asyncio.create_task(_reply(double, route, body, writer))
        hang_up = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait({work, hang_up}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.cancel()
            hang_up.cancel()
            for failure in await asyncio.gather(work, hang_up, return_exceptions=True):
                if isinstance(failure, Exception) and not isinstance(failure, ConnectionError):
                    raise failure
    except (ConnectionError, asyncio.IncompleteReadError):  # the client hung up first
        pass
    finally:
        writer.close()


async def _reply(
    double: OllamaDouble, route: str, body: dict[str, object], writer: asyncio.StreamWriter
) -> None:
    try:
        reply = await _routed(double, route, body)
        if isinstance(reply, dict):
            await _send_whole(double, 200, json.dumps(reply), writer)
            return
        async with aclosing(reply) as lines:
            # Nothing is sent before the first line, as an error has a status of its own until then.
            first = await anext(lines)
            await _send_stream(double, first, lines, writer)
    except Refusal as refusal:
        is_raw = refusal.said.startswith("<")
        said = refusal.said if is_raw else json.dumps({"error": refusal.said})
        await _send_whole(double, refusal.status, said, writer)
    except ContextTooLong as error:
        figures = error.figures
        said = (
            f"request ({figures['prompt_tokens']} tokens) exceeds the available context size "
            f"({figures['context_tokens']} tokens), try increasing it"
        )
        await _send_whole(double, 400, json.dumps({"error": said}), writer)
    except MeshError as error:
        await _send_whole(double, 500, json.dumps({"error": error.message}), writer)


async def _routed(double: OllamaDouble, route: str, body: dict[str, object]) -> Reply:
    if double.refusal is not None and (not double.refused_routes or route in double.refused_routes):
        raise double.refusal
    if route not in ROUTES:
        raise Refusal(404, "404 page not found")
    return await ROUTES[route](double, body)


async def _send_whole(double: OllamaDouble, status: int, body: str, writer: asyncio.StreamWriter) -> None:
    content = body.encode()
    headers = {"Content-Type": "application/json", "Content-Length": len(content), "Connection": "close"}
    writer.write(_head(status, headers | double.headers) + content)
    await writer.drain()


async def _send_stream(
    double: OllamaDouble,
    first: dict[str, object],
    lines: AsyncIterator[dict[str, object]],
    writer: asyncio.StreamWriter,
) -> None:
    headers = {"Content-Type": "application/x-ndjson", "Transfer-Encoding": "chunked", "Connection": "close"}
    writer.write(_head(200, headers | double.headers) + chunk(json.dumps(first).encode() + b"\n"))
    sent = 1
    async for line in lines:
        if double.fault is not None and sent == PIECES_BEFORE_A_FAULT:
            await _fail(double.fault, writer)
            return
        writer.write(chunk(json.dumps(line).encode() + b"\n"))
        await writer.drain()
        sent += 1
    writer.write(END_OF_BODY)
    await writer.drain()


async def _fail(fault: Fault, writer: asyncio.StreamWriter) -> None:
    if fault is Fault.HANG:
        await asyncio.Event().wait()
    elif fault is Fault.KILL:
        await writer.drain()
        writer.transport.abort()
    else:
        writer.write((chunk(LINES[fault]) if LINES[fault] else b"") + END_OF_BODY)
        await writer.drain()


def _head(status: int, headers: dict[str, object]) -> bytes:
    lines = [f"HTTP/1.1 {status} .", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()
