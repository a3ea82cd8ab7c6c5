"""How models come to the double of Ollama and go: pulled, copied, created, uploaded, deleted.

Its library has every model of its store. What is pulled is there already, or comes in pieces after it was deleted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Final

from tests.fakes.ollama import NOT_FOUND, Json, Offered, OllamaDouble, Refusal, Reply, short

PIECES: Final = 8
"""In so many a layer arrives."""


async def pull(double: OllamaDouble, body: Json) -> Reply:
    name = short(body)
    if not name or not name.strip("-._/:") or any(sign.isspace() for sign in name):
        raise Refusal(400, "invalid model name")
    steps = _pulled(double, name)
    return steps if body.get("stream", True) else await _last(steps)


async def delete(double: OllamaDouble, body: Json) -> Reply:
    gone = await double.find(body)
    double.made.pop(gone.name, None)
    if gone.name == gone.stored.name:
        double.hidden.add(gone.name)
        for digest, _ in _layers(gone):
            double.fetched[digest] = 0
    return 200


async def copy(double: OllamaDouble, body: Json) -> Reply:
    source, name = str(body.get("source", "")), short(body, "destination")
    if not name:
        raise Refusal(400, f'destination "{name}" is invalid')
    try:
        found = await double.find({"model": source})
    except Refusal as error:
        raise Refusal(404, f'model "{source}" not found') from error
    double.made[name] = replace(found, name=name)
    return 200


async def create(double: OllamaDouble, body: Json) -> Reply:
    """Make a model of another one, or of an uploaded file that the store has too."""
    base = await _base(double, body)
    name = short(body)
    if not name:
        raise Refusal(400, "invalid model name")
    steps = _created(double, replace(base, name=name), body)
    return steps if body.get("stream", True) else await _last(steps)


def has_blob(double: OllamaDouble, digest: str) -> bool:
    return digest in double.blobs


def take_blob(double: OllamaDouble, digest: str, content: bytes) -> int:
    """Keep an uploaded file, and give the status; raise Refusal when it is not what it says."""
    if has_blob(double, digest):
        return 200
    found = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if found != digest:
        raise Refusal(400, f'digest mismatch, expected "{digest}", got "{found}"')
    double.blobs[digest] = content
    return 201


async def _pulled(double: OllamaDouble, name: str) -> AsyncIterator[Json]:
    yield {"status": "pulling manifest"}
    known = {one.name: one for one in await double.store.models()}
    if name not in known:
        yield {"error": "pull model manifest: file does not exist"}
        return
    for digest, size in _layers(Offered(name, known[name], ())):
        if name not in double.hidden:
            double.fetched[digest] = size
        for completed in _arriving(double, digest, size):
            step = {"status": f"pulling {digest[7:19]}", "digest": digest, "total": size}
            # Until the first bytes have come Ollama leaves their number out.
            yield step | ({"completed": completed} if completed else {})
    for status in ("verifying sha256 digest", "writing manifest"):
        yield {"status": status}
    double.hidden.discard(name)
    yield {"status": "success"}


def _arriving(double: OllamaDouble, digest: str, size: int) -> Iterator[int]:
    """Say again and again how much of a layer has come; it goes on from where it was given up.

    That all of it has come is only said of what was there before.
    """
    piece = -(-size // PIECES)
    if double.fetched.get(digest, 0) >= size:
        yield size
    while double.fetched.get(digest, 0) < size:
        yield double.fetched.get(digest, 0)
        double.fetched[digest] = min(double.fetched.get(digest, 0) + piece, size)


def _layers(offered: Offered) -> list[tuple[str, int]]:
    """Give the digest and the size of each file that a model is made of: its weights, and two small ones."""
    small = [json.dumps([offered.stored.name, kind]).encode() for kind in ("template", "config")]
    described = [(f"sha256:{hashlib.sha256(one).hexdigest()}", len(one)) for one in small]
    return [(offered.stored.digest, offered.stored.size_bytes), *described]


async def _base(double: OllamaDouble, body: Json) -> Offered:
    if body.get("from"):
        try:
            return await double.find({"model": body["from"]})
        except Refusal as error:
            raise Refusal(404, NOT_FOUND.format(body["from"])) from error
    if not body.get("files"):
        raise Refusal(400, "neither 'from' or 'files' was specified")
    (digest,) = dict(body["files"]).values()
    if not has_blob(double, digest):
        raise Refusal(500, f"open blob: {digest} does not exist")
    for stored in await double.store.models():
        if stored.digest == digest:
            return next(
                (one for one in await double.offered() if one.stored.digest == digest),
                Offered(stored.name, stored, ("completion",)),
            )
    raise Refusal(400, "unknown type")


async def _created(double: OllamaDouble, made: Offered, body: Json) -> AsyncIterator[Json]:
    yield {"status": f"using existing layer {made.stored.digest}"}
    yield {"status": "writing manifest"}
    template, system = body.get("template") or made.template, body.get("system") or made.system
    double.made[made.name] = replace(made, template=template, system=system)
    yield {"status": "success"}


async def _last(steps: AsyncIterator[Json]) -> Json:
    last: Json = {}
    async for last in steps:
        if "error" in last:
            raise Refusal(500, last["error"])
    return last
