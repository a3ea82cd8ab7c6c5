"""What all programs of clients share: where the mesh is, what is asked, and how they tell what they have tried.

A program gets features as its arguments and tries one after the other. It prints one JSON object a line for each that
works and waits for a line before it goes on; the first that does not work ends it with a traceback.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

URL = os.environ["MESH_URL"]
KEY = os.environ["MESH_KEY"]
NARROW_KEY = os.environ["MESH_NARROW_KEY"]
"""Good for one answer a day."""
MODEL = os.environ["MESH_MODEL"]
SKILLED = os.environ["MESH_SKILLED_MODEL"]
"""Calls tools, keeps to a schema, and makes vectors."""
ENDLESS = os.environ["MESH_ENDLESS_MODEL"]
"""Says a word, and then nothing until nobody listens any more."""
DOOMED = os.environ["MESH_DOOMED_MODEL"]
"""Its spoke is killed once the program has told that the answer has begun."""
UNKNOWN = "there-is-no-such-model"
WRONG_KEY = "hsk-wrong"

CAPITAL = "capital of france"
COUNT = "count to 20"
COUNTED = " ".join(map(str, range(1, 21)))
CALL = "call weather with oslo"
JSON = "json abc 7"
TEXTS = ("echo abc", "capital of france")

WEATHER = {
    "name": "weather",
    "description": "Say what the weather is.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
PAIR = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "n": {"type": "integer"}},
    "required": ["name", "n"],
    "additionalProperties": False,
}


def run(features: Mapping[str, Callable[[], object]]) -> None:
    """Try the features that the arguments name, all of them without any."""
    for name in sys.argv[1:] or features:
        detail = features[name]()
        tell(feature=name, ok=True, detail=detail)
        sys.stdin.readline()


def tell(**what: object) -> None:
    """Print one object."""
    sys.stdout.write(f"{json.dumps(what)}\n")
    sys.stdout.flush()


def said_paris(text: str | None) -> str:
    """Check the answer to `CAPITAL`."""
    assert text is not None
    assert text.strip() == "Paris", text
    return text


def counted(pieces: Iterable[str | None]) -> str:
    """Check the stream that answers `COUNT`."""
    heard = [piece for piece in pieces if piece]
    assert "".join(heard).strip() == COUNTED, heard
    assert len(heard) > 1, heard
    return f"{len(heard)} pieces"


def is_call(name: str, arguments: str | Mapping[str, object]) -> str:
    """Check the call that answers `CALL`."""
    given = json.loads(arguments) if isinstance(arguments, str) else dict(arguments)
    assert (name, given) == ("weather", {"city": "oslo"}), (name, given)
    return f"{name} {json.dumps(given)}"


def said_sunny(text: str | None) -> str:
    """Check what is said to a tool's result, which is `sunny`."""
    assert text is not None
    assert text.strip() == "It is sunny.", text
    return text


def is_pair(value: str | Mapping[str, object]) -> str:
    """Check a value against `PAIR`."""
    found = json.loads(value) if isinstance(value, str) else dict(value)
    assert set(found) == {"name", "n"}, found
    assert (type(found["name"]), type(found["n"])) == (str, int), found
    return json.dumps(found)


def are_vectors(vectors: Sequence[Sequence[float]]) -> str:
    """Check the vectors of `TEXTS`."""
    assert len(vectors) == len(TEXTS)
    (length,) = {len(vector) for vector in vectors}
    assert any(number != 0 for number in vectors[0])
    assert list(vectors[0]) != list(vectors[1])
    return f"{len(vectors)} vectors of {length}"


def raised(kind: type[Exception], call: Callable[[], object]) -> str:
    """Give the error of *kind* that *call* raises."""
    return shown(caught(kind, call))


def refused(kind: type[Exception], status: int, call: Callable[[], object]) -> str:
    """Give the error of *kind* that *call* raises: a package with one class for all of them tells the status."""
    error = caught(kind, call)
    assert getattr(error, "status_code", None) == status, repr(error)
    return shown(error)


def caught(kind: type[Exception], call: Callable[[], object]) -> Exception:
    """Catch the error of *kind* that *call* raises."""
    try:
        came = call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__} was raised, but there came {came!r}")


def raised_at_the_second(kind: type[Exception], call: Callable[[], object]) -> str:
    """Give the error of *kind* that *call* raises when its key is used up."""
    call()
    return raised(kind, call)


def left(pieces: Iterable[str | None], leave: Callable[[], object]) -> str:
    """Hear the beginning of a stream that has no end, and leave."""
    first = next(piece for piece in pieces if piece)
    leave()
    return f"left after {first!r}"


def broken(kind: type[Exception] | tuple[type[Exception], ...], pieces: Iterable[str | None]) -> str:
    """Tell when a stream has begun, and give the error that it breaks off with."""
    heard = ""
    try:
        for piece in pieces:
            if piece and not heard:
                tell(feature="killed", began=True)
            heard += piece or ""
    except kind as error:
        return shown(error)
    raise AssertionError(f"the stream ended as if {heard!r} were all of it")


def shown(error: Exception) -> str:
    """Give the class of an error, and its first line."""
    return f"{type(error).__module__.partition('.')[0]}.{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"
