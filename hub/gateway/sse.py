"""Server-sent events, as every dialect that streams this way writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.gateway.jsontext import encode

if TYPE_CHECKING:
    from hubspoke.types import Waiting


def event(payload: object) -> bytes:
    """Write one event of a stream."""
    return b"data: " + encode(payload) + b"\n\n"


def named_event(name: str, payload: object) -> bytes:
    """Write one event of a stream whose events have names."""
    return b"event: " + name.encode() + b"\n" + event(payload)


def working_comment(waiting: Waiting) -> bytes:
    """Say in a comment that a spoke is at work, or that it is suspiciously silent; clients pass over comments."""
    if waiting.silent_s is None:
        return b": reading the prompt\n\n"
    silent = f"has said nothing for {waiting.silent_s:.0f} s"
    return f": {_shown(waiting)} {silent}; it reads a long prompt, or its engine hangs\n\n".encode()


def waiting_comment(waiting: Waiting) -> bytes:
    """Say in a comment of a stream why nothing runs yet; clients pass over comments."""
    if waiting.spoke is None:
        return b": waiting for a free slot\n\n"
    times = (
        ""
        if waiting.elapsed_s is None
        else f", {waiting.elapsed_s:.0f} s of about {waiting.expected_s or 0:.0f} s"
    )
    return f": loading on {_shown(waiting)}{times}\n\n".encode()


def _shown(waiting: Waiting) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in waiting.spoke or "")
