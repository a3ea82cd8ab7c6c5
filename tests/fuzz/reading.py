"""The harshest reader: it ends a line at all that Python takes for an end, and insists on the order of events."""

import json
from dataclasses import dataclass
from typing import Any, Final

from hubspoke.errors import MeshError
from tests.fuzz.stories import Call, Heard

DONE: Final = "[DONE]"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a stream, whose name is empty unless it has one."""

    name: str
    data: str

    @property
    def content(self) -> Json:
        """What it says; anything but a JSON object is a defect."""
        return json_object(self.data)


def json_object(text: str) -> Json:
    """Read a JSON object."""
    content = json.loads(text)
    assert isinstance(content, dict)
    return content


def events(stream: bytes) -> list[Event]:
    """Read events of one name at most and one line of data, each with an empty line after it; pass over comments."""
    lines = stream.decode().splitlines()
    assert not lines or (stream.endswith(b"\n\n") and not lines[-1])
    read: list[Event] = []
    name = ""
    while lines:
        line = lines.pop(0)
        kind, colon, value = line.partition(": ")
        assert colon, f"a line without a field: {line!r}"
        if kind == "event":
            assert not name
            name = value
            continue
        assert kind in {"data", ""}, f"a field that no client knows: {line!r}"
        assert lines.pop(0) == "", "a second line in one event"
        if kind:
            read.append(Event(name, value))
            name = ""
        assert not name
    return read


def chunks(stream: bytes, *, failed: MeshError | None) -> list[Json]:
    """Read the chunks of a stream of OpenAI's, and see that it ends as it has to."""
    read = events(stream)
    if failed is None:
        assert read.pop().data == DONE
    else:
        assert read.pop().content["error"]["message"] == failed.message
    assert all(not event.name and "error" not in event.content for event in read)
    contents = [event.content for event in read]
    assert len({(content["id"], content["object"], content["created"]) for content in contents}) <= 1
    return contents


def heard_in_chat(contents: list[Json]) -> Heard:
    """Put the chunks of a chat completion together."""
    heard = Heard()
    for choice in (choice for content in contents for choice in content["choices"]):
        delta = choice["delta"]
        heard.text += delta.get("content", "")
        heard.thinking += delta.get("reasoning_content", "")
        for part in delta.get("tool_calls", ()):
            function = part["function"]
            if "name" in function:
                assert part["index"] not in heard.calls
                assert part["type"] == "function"
                heard.calls[part["index"]] = Call(part["id"], function["name"])
            heard.calls[part["index"]].arguments += function["arguments"]
    return heard


def reasons(contents: list[Json]) -> list[str]:
    """Give every reason for the end that chunks tell."""
    told = (choice["finish_reason"] for content in contents for choice in content["choices"])
    return [reason for reason in told if reason is not None]


def lines(stream: bytes) -> list[Json]:
    """Read lines of JSON, none of them empty."""
    assert not stream or stream.endswith(b"\n")
    return [json_object(line) for line in stream.decode().splitlines()]
