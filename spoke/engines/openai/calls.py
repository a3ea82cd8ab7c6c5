"""The tool calls of one answer, as servers of the OpenAI HTTP API send them: in parts, or whole, and often half named. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from hubspoke.errors import EngineProtocol, EngineTruncated, InvalidOutput
from hubspoke.types import ToolCallPart
from spoke.engines.json_text import NOT_JSON

if TYPE_CHECKING:
    from collections.abc import Sequence

CALLS_MAX: Final = 128
ID_BYTES_MAX: Final = 256
"""What the mesh carries back with a result."""
NO_ARGUMENTS: Final = "{}"


class FunctionPart(msgspec.Struct):
    """Some of what is called."""

    name: str | None = None
    arguments: str | dict[str, object] | None = None


class CallPart(msgspec.Struct):
    """Some of a call; every field may be missing."""

    index: int | None = None
    id: str | None = None
    function: FunctionPart | None = None


class _Call:
    """One call: its number in the answer, how the server tells it apart, and what it has told of it so far."""

    def __init__(self, number: int, part: CallPart) -> None:
        self.number = number
        self.index = part.index
        self.server_id = part.id or ""
        self.name = ""
        self.id = ""
        self.arguments: list[str] = []


class Calls:
    """Puts the parts together: each call gets a number, and an id that no other call of the answer has."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []

    @property
    def names(self) -> tuple[str, ...]:
        """The tools that were called so far."""
        return tuple(call.name for call in self._calls)

    def read(self, parts: Sequence[CallPart]) -> tuple[ToolCallPart, ...]:
        """Give what *parts* add. A call is not told of before its tool is known."""
        told = (self._read(part) for part in parts)
        return tuple(part for part in told if part is not None)

    def finished(self, *, is_whole: bool) -> tuple[ToolCallPart, ...]:
        """Give what is missing: the arguments of calls that have none. Raise InvalidOutput for what are no arguments.

        Calls that were cut off (*is_whole* is false) are left as they are.
        """
        if not is_whole:
            return ()
        if not all(self.names):
            raise EngineTruncated("the engine's answer broke off in a call of a tool; ask again")
        bare = [call for call in self._calls if not "".join(call.arguments)]
        for call in self._calls:
            if call not in bare:
                _check("".join(call.arguments))
        return tuple(ToolCallPart(call.number, arguments=NO_ARGUMENTS) for call in bare)

    def _read(self, part: CallPart) -> ToolCallPart | None:
        function = part.function or FunctionPart()
        call = self._of(part, function.name or "")
        arguments = function.arguments or ""
        text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
        call.arguments.append(text)
        call.server_id = call.server_id or part.id or ""
        if call.name:
            return ToolCallPart(call.number, arguments=text) if text else None
        if not function.name:
            return None
        call.name = function.name
        call.id = self._id(call)
        return ToolCallPart(call.number, call.id, call.name, "".join(call.arguments))

    def _of(self, part: CallPart, name: str) -> _Call:
        """Find the call that *part* belongs to.

        The index decides where there is one, except that some servers give 0 to every call; each of theirs comes with
        another id and a name. Without an index, an id or a name begins a call, and what has neither goes on with the last.
        """
        if part.index is None:
            found = next((call for call in self._calls if part.id and call.server_id == part.id), None)
            if found is None and self._calls and not part.id and not name:
                found = self._calls[-1]
        else:
            found = next((call for call in reversed(self._calls) if call.index == part.index), None)
            if found is not None and found.name and name and part.id and found.server_id not in {"", part.id}:
                found = None
        if found is None:
            if len(self._calls) >= CALLS_MAX:
                raise EngineProtocol(f"the engine called tools more than {CALLS_MAX} times in one answer")
            found = _Call(len(self._calls), part)
            self._calls.append(found)
        return found

    def _id(self, call: _Call) -> str:
        """Give the server's own id where that can be used, or else make one up."""
        taken = {other.id for other in self._calls}
        own = call.server_id
        if own and own not in taken and len(own.encode()) <= ID_BYTES_MAX:
            return own
        number = call.number
        while f"call_{number}" in taken:
            number += CALLS_MAX
        return f"call_{number}"


def _check(arguments: str) -> None:
    try:
        msgspec.json.decode(arguments, type=dict[str, msgspec.Raw])
    except NOT_JSON as error:
        raise InvalidOutput("the model called a tool with what is no JSON object; ask again") from error
