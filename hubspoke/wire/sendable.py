"""What a program asks, refused before it is sent when no message can hold it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from hubspoke.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def sendable() -> Iterator[None]:
    """Raise InvalidRequest when the message that is made meanwhile would hold what is no Unicode, or no such number."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            "a text holds what is not Unicode, as bytes that are not UTF-8 become; convert it"
        ) from error
    except ValueError as error:
        raise InvalidRequest(f"a number is not one that a request can hold: {error}") from error
