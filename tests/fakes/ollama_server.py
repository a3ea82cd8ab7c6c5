"""The HTTP side of the double of Ollama: one request a connection, and faults on demand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from hubspoke.errors import ContextTooLong, MeshError
from spoke.engines.llamacpp.engine import EmbeddedEngine
from spoke.models.store import ModelStore
from tests.fakes import ollama, ollama_answers, ollama_library
from tests.fakes.engine_server import END_OF_BODY, chunk
from tests.fakes.ollama import Fault, Json, OllamaDouble, Refusal, Reply

PIECES_BEFORE_A_FAULT: Final = 3
BLOBS: Final = "/api/blobs/"
LINES: Final = {
    Fault.TRUNCATE: b"",
    Fault.GARBAGE: b"<html>502 Bad Gateway</html>\n",
    Fault.NO_OBJECT: b"[1]\n",
}

ROUTES: dict[str, Callable[[OllamaDouble, Json], Awaitable[Reply]]] = {
    "GET /api/version": ollama.version,
    "GET /api/tags": ollama.tags,
    "GET /api/ps": ollama.ps,
    "POST /api/show": ollama.show,
    "POST /api/chat": ollama_answers.chat,
    "POST /api/generate": ollama_answers.generate,
    "POST /api/embed": ollama_answers.embed,
    "POST /api/pull": ollama_library.pull,
    "POST /api/create": ollama_library.create,
    "POST /api/copy": ollama_library.copy,
    "DELETE /api/delete": ollama_library.delete,
}


@dataclass(frozen=True, slots=True)
class Call:
    """What was asked, and where the answer goes."""

    double: OllamaDouble
    method: str
    path: str
    content: bytes
    writer: asyncio.StreamWriter

    @property
    def route(self) -> str:
        return f"{self.method} {self.path}"

    def body(self) -> Json:
        return {} if self.path.startswith(BLOBS) else json.loads(self.content or b"{}")


@asynccontextmanager
async def an_ollama(
    engine: EmbeddedEngine, store: ModelStore, *, parallel: int = 2, port: int = 0
) -> AsyncIterator[OllamaDouble]:
    """Serve on a loopback port, a free one unless told which. *engine* has as many slots as *parallel*."""
    double = OllamaDouble(engine, store, parallel)
    connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections[asyncio.create_task(_serve(double, reader, writer))] = writer

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    host, port = server.sockets[0].getsockname()
    double.url = f"http://{host}:{port}"
    try:
        yield double
    finally:
        server.close()
        for connection in connections:
            connection.cancel()
        ended = await asyncio.gather(*connections, return_exceptions=True)
        # One that was cancelled before it began has closed nothing, and one whose client does not read never would.
        for writer in connections.values():
            writer.transport.abort()
        for runner in double.runners.values():
            if runner.expiry is not None:
                runner.expiry.cancel()
        await engine.aclose()
    for failure in ended:
        if isinstance(
            failure, Exception
        ):  # a defect of the double, which must not pass for one of whoever asked it
            raise failure


async def _serve(double: OllamaDouble, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request, or stop as soon as the client hangs up."""
    try:
        call = await _call(double, reader, writer)
        double.asked.append((call.route, call.body()))
        work = asyncio.create_task(_reply(call))
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


async def _call(double: OllamaDouble, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Call:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    method, path = head.split(" ", 2)[:2]
    fields = dict(line.split(": ", 1) for line in head.lower().splitlines()[1:] if line)
    if fields.get("transfer-encoding") == "chunked":
        content = b"".join([piece async for piece in _chunks(reader)])
    else:
        content = await reader.readexactly(int(fields.get("content-length", "0")))
    return Call(double, method, path, content, writer)


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)


async def _reply(call: Call) -> None:
    try:
        reply = await _routed(call)
        if isinstance(reply, dict):
            await _send_whole(call, 200, json.dumps(reply).encode())
        elif isinstance(reply, int):
            await _send_whole(call, reply, b"")
        else:
            async with aclosing(reply) as lines:
                # Nothing is sent before the first line, as an error has a status of its own until then.
                first = await anext(lines)
                await _send_stream(call, first, lines)
    except Refusal as refusal:
        is_raw = refusal.said.startswith("<")
        await _send_whole(call, refusal.status, refusal.said.encode() if is_raw else _error(refusal.said))
    except ContextTooLong as error:
        figures = error.figures
        said = (
            f"request ({figures['prompt_tokens']} tokens) exceeds the available context size "
            f"({figures['context_tokens']} tokens), try increasing it"
        )
        await _send_whole(call, 400, _error(said))
    except MeshError as error:
        await _send_whole(call, 500, _error(error.message))


async def _routed(call: Call) -> Reply:
    double = call.double
    if double.refusal is not None and (not double.refused_routes or call.route in double.refused_routes):
        raise double.refusal
    if call.path.startswith(BLOBS):
        return _blob(call)
    if call.route not in ROUTES:
        raise Refusal(404, "404 page not found")
    return await ROUTES[call.route](double, call.body())


def _blob(call: Call) -> Reply:
    digest = call.path.removeprefix(BLOBS)
    if call.method == "POST":
        return ollama_library.take_blob(call.double, digest, call.content)
    if not ollama_library.has_blob(call.double, digest):
        raise Refusal(404, f'blob "{digest}" not found')
    return 200


async def _send_whole(call: Call, status: int, content: bytes) -> None:
    headers = {"Content-Type": "application/json", "Content-Length": len(content), "Connection": "close"}
    fault = call.double.fault if call.route in call.double.fault_routes else None
    if fault is not None and status == 200:
        content = await _spoilt(call, fault, content)
        headers["Content-Length"] = len(content) + (fault is Fault.TRUNCATE)
    call.writer.write(
        _head(status, headers | call.double.headers) + (b"" if call.method == "HEAD" else content)
    )
    await call.writer.drain()


async def _spoilt(call: Call, fault: Fault, content: bytes) -> bytes:
    """Give what is sent instead of a whole body, if anything."""
    match fault:
        case Fault.HANG:
            await asyncio.Event().wait()
        case Fault.KILL:
            call.writer.transport.abort()
        case Fault.ERROR:
            raise Refusal(500, call.double.fault_said)
        case Fault.TRUNCATE:
            return content[: len(content) // 2]
    return LINES.get(fault, b"")


async def _send_stream(call: Call, first: Json, lines: AsyncIterator[Json]) -> None:
    double, writer = call.double, call.writer
    headers = {"Content-Type": "application/x-ndjson", "Transfer-Encoding": "chunked", "Connection": "close"}
    writer.write(_head(200, headers | double.headers) + _line(first))
    is_faulty = not double.fault_routes or call.route in double.fault_routes
    sent = 1
    async for line in lines:
        if double.fault is not None and is_faulty and sent == PIECES_BEFORE_A_FAULT:
            await _fail(call, double.fault)
            return
        writer.write(_line(line))
        await writer.drain()
        sent += 1
    writer.write(END_OF_BODY)
    await writer.drain()


async def _fail(call: Call, fault: Fault) -> None:
    match fault:
        case Fault.HANG:
            await asyncio.Event().wait()
        case Fault.KILL:
            await call.writer.drain()
            call.writer.transport.abort()
            return
        case Fault.ERROR:
            call.writer.write(_line({"error": call.double.fault_said}))
        case _:
            call.writer.write(chunk(LINES[fault]) if LINES[fault] else b"")
    call.writer.write(END_OF_BODY)
    await call.writer.drain()


def _line(line: Json) -> bytes:
    return chunk(json.dumps(line).encode() + b"\n")


def _error(said: str) -> bytes:
    return json.dumps({"error": said}).encode()


def _head(status: int, headers: Json) -> bytes:
    lines = [f"HTTP/1.1 {status} .", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()
