"""Bodies of requests, read into what a dialect expects. Fields that it does not know are left alone, as servers do."""

from __future__ import annotations

import base64
import binascii
from typing import Final, TypeVar

import msgspec

from hubspoke.errors import InvalidRequest
from hubspoke.types import Image
from hubspoke.wire.allowed import SESSION_KEY_BYTES_MAX
from hubspoke.wire.conversation import media_type

T = TypeVar("T")

NESTING_SAFE: Final = 256
"""Brackets that no reader or writer of JSON minds, even if all of them are one in the other."""
NESTING_ROOM: Final = 64
"""How much deeper than in a body a value of it may stand later: in an event, or on a stack that is higher by then."""

_DATA_URL: Final = "data:"
_BASE64: Final = ";base64"


def parse(body: bytes, kind: type[T]) -> T:
    """Read *body* as JSON of a certain *kind*; raise InvalidRequest that names the field."""
    try:
        if body.count(b"[") + body.count(b"{") > NESTING_SAFE:
            # What is nested so deep that it can be read here and not be written later is refused here.
            msgspec.json.decode(b"[" * NESTING_ROOM + body + b"]" * NESTING_ROOM, type=msgspec.Raw)
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"the request's body does not fit: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the request's body is no JSON: {error}") from error


def to_text(value: object) -> str:
    """Write a value that came as JSON as JSON again."""
    return msgspec.json.encode(value).decode()


def session_key(*candidates: str | None) -> str:
    """Give the first key that tells conversations apart, short enough for the mesh."""
    return next(
        (key.encode()[:SESSION_KEY_BYTES_MAX].decode(errors="ignore") for key in candidates if key), ""
    )


def image_of_url(url: str) -> Image:
    """Read a picture from a data: URL; raise InvalidRequest for any other, and for what is no picture."""
    kind, _, data = url.partition(",")
    if not kind.startswith(_DATA_URL) or not kind.endswith(_BASE64):
        raise InvalidRequest(
            "a picture must come as a data: URL in base64; a private mesh fetches nothing from elsewhere"
        )
    return image_of_base64(data)


def image_of_base64(data: str) -> Image:
    """Read a picture from base64; raise InvalidRequest for what is none."""
    try:
        found = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest("a picture is no base64; send the whole file, encoded") from error
    if not media_type(found):
        raise InvalidRequest("a picture is neither PNG, JPEG, WebP nor GIF; convert it")
    return Image(found)
