"""A server of OpenAI's and Ollama's HTTP APIs that costs next to nothing: `python -m bench.upstream PORT`.

It answers with ticks and tocks as fast as they are read, each in a write of its own, as real engines do.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from bench.metronome import TOKENS
from hubspoke import loop
from hubspoke.signals import stop_signals

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL: Final = "fake"
TOKENS_DEFAULT: Final = 200
CREATED: Final = 1_700_000_000
AT: Final = "2026-01-01T00:00:00Z"
DIGEST: Final = "0" * 64

OPENAI_MODELS: Final = {
    "object": "list",
    "data": [
        {"id": MODEL, "object": "model", "created": CREATED, "owned_by": "bench", "max_model_len": 8192}
    ],
}
DETAILS: Final = {
    "format": "gguf",
    "family": "llama",
    "families": ["llama"],
    "parameter_size": "1M",
    "quantization_level": "Q8_0",
}
LISTED: Final = {
    "name": f"{MODEL}:latest",
    "model": f"{MODEL}:latest",
    "modified_at": AT,
    "size": 1 << 20,
    "digest": DIGEST,
    "details": DETAILS,
}
LOADED: Final = {**LISTED, "size_vram": 0, "expires_at": "2036-01-01T00:00:00Z", "context_length": 8192}
SHOWN: Final = {
    "details": DETAILS,
    "capabilities": ["completion"],
    "model_info": {"llama.context_length": 8192},
    "template": "{{ .Prompt }}",
}
DOCUMENTS: Final[dict[str, object]] = {
    "/v1/models": OPENAI_MODELS,
    "/api/version": {"version": "0.12.0"},
    "/api/tags": {"models": [LISTED]},
    "/api/ps": {"models": [LOADED]},
    "/api/show": SHOWN,
}


def main() -> None:
    """Serve until SIGTERM."""
    port = int(sys.argv[1])
    loop.run(lambda: _serve(port))


async def _serve(port: int) -> None:
    stop = asyncio.Event()
    with stop_signals(stop.set):
        async with await asyncio.start_server(_connected, "127.0.0.1", port):
            await stop.wait()


async def _connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            await _answer(reader, writer)
    writer.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    path = head.split(b" ", 2)[1].decode().partition("?")[0]
    content = await reader.readexactly(_length(head))
    streams = {"/v1/chat/completions": _sse, "/chat/completions": _sse, "/api/chat": _ndjson}
    if path not in streams:
        writer.write(_document(DOCUMENTS.get(path, {})))
        await writer.drain()
        return
    body = json.loads(content)
    tokens = body.get("max_tokens") or body.get("options", {}).get("num_predict") or TOKENS_DEFAULT
    kind = "text/event-stream" if streams[path] is _sse else "application/x-ndjson"
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    for piece in streams[path](tokens):
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)  # the other streams are due
    writer.write(b"0\r\n\r\n")
    await writer.drain()


def _length(head: bytes) -> int:
    name = b"content-length:"
    lines = (line for line in head.split(b"\r\n") if line.lower().startswith(name))
    return next((int(line[len(name) :]) for line in lines), 0)


def _document(content: object) -> bytes:
    body = json.dumps(content).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _sse(tokens: int) -> Iterator[bytes]:
    yield _event(_chunk({"role": "assistant", "content": ""}))
    ready = [_event(_chunk({"content": token})) for token in TOKENS]
    for number in range(tokens):
        yield ready[number % 2]
    usage = {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1}
    yield _event({**_chunk({}, "length"), "usage": usage})
    yield _framed(b"data: [DONE]\n\n")


def _ndjson(tokens: int) -> Iterator[bytes]:
    head = {"model": MODEL, "created_at": AT}
    ready = [
        _row({**head, "message": {"role": "assistant", "content": token}, "done": False}) for token in TOKENS
    ]
    for number in range(tokens):
        yield ready[number % 2]
    counts = {"prompt_eval_count": 1, "eval_count": tokens, "total_duration": 1, "eval_duration": 1}
    last = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "length"}
    yield _row({**head, **last, **counts})


def _chunk(delta: dict[str, str], reason: str | None = None) -> dict[str, object]:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": MODEL,
        "choices": [choice],
    }


def _event(content: object) -> bytes:
    return _framed(b"data: " + json.dumps(content, separators=(",", ":")).encode() + b"\n\n")


def _row(content: object) -> bytes:
    return _framed(json.dumps(content, separators=(",", ":")).encode() + b"\n")


def _framed(data: bytes) -> bytes:
    """Give *data* as one chunk of an HTTP body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


if __name__ == "__main__":
    main()
