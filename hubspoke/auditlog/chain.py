"""The chain of an audit log: every line names the hash of the line before it, and carries its own.

A line is one JSON object: `seq`, `ts`, `event`, the event's own facts, `prev`, and at its end `hash`, the SHA-256 of
everything before it. A line that was changed has the wrong hash; one that was taken out, put in or moved leaves a neighbour
whose `prev` or `seq` does not fit.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

START_HASH: Final = "0" * 64
"""What the first line of a log names as its predecessor."""

OWN_FIELDS: Final = frozenset({"seq", "ts", "event", "first", "prev", "hash"})
"""Names that no fact of an event may have."""

LINE_BYTES_MAX: Final = 8 * 1024

_SEALED: Final = re.compile(rb'(\{.*),"hash":"([0-9a-f]{64})"\}', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Link:
    """A place in the chain: the number of a line, and its hash."""

    seq: int
    hash: str


START: Final = Link(0, START_HASH)
"""Before the first line."""


class Line(msgspec.Struct, frozen=True):
    """What every line says. Its other fields are facts of the event."""

    seq: int
    ts: str
    event: str
    prev: str
    hash: str
    first: int = 1
    """Of the event that begins a file: the oldest entry that was kept."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """A line that does not fit, *what* in words."""

    what: str


def seal(after: Link, ts: str, event: str, facts: Mapping[str, str | int]) -> tuple[bytes, Link]:
    """Write the line that comes after *after*, with its newline, and say what link it is."""
    link = after.seq + 1
    fields = {"seq": link, "ts": ts, "event": event, **facts, "prev": after.hash}
    body = msgspec.json.encode(fields)[:-1]
    digest = hashlib.sha256(body).hexdigest()
    return b'%b,"hash":"%b"}\n' % (body, digest.encode()), Link(link, digest)


def read(line: bytes) -> Line | Flaw:
    """Read a line without its newline, and see whether it is what was written."""
    match = _SEALED.fullmatch(line)
    if match is None:
        return Flaw("this is no line of an audit log")
    if hashlib.sha256(match[1]).hexdigest() != match[2].decode():
        return Flaw("this line was changed after it was written")
    try:
        return msgspec.json.decode(line, type=Line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Flaw("this is no line of an audit log")


def follow(before: Link | None, line: bytes) -> Line | Flaw:
    """Read a line that should come after *before*; without one it is the oldest that was kept."""
    found = read(line)
    if isinstance(found, Flaw) or before is None:
        return found
    if found.seq != before.seq + 1:
        return Flaw(f"entry {before.seq + 1} should stand here, and entry {found.seq} does")
    if found.prev != before.hash:
        return Flaw("the line before it is not the one that was there when this was written")
    return found
