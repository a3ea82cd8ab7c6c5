"""Python functions as tools: the model calls them, with arguments that are checked, until it has an answer.

    def weather(city: Annotated[str, msgspec.Meta(description="Name of the city")], days: int = 1) -> str:
        '''Tell the weather of a city.'''

    async with MeshClient() as mesh:
        print((await answer_with_tools(mesh, request, [weather])).text)

A function takes named parameters with types that msgspec knows, and gives text or whatever JSON can say. It says what it
does in its docstring. What it raises is told to the model, type and message, so that the model can try again.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import typing
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from hubspoke.gathered import Gathered
from hubspoke.types import Calling, Message, Speaker, Tool, ToolCall, ToolChoice

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
    from datetime import datetime

    from hubspoke.client import MeshClient
    from hubspoke.gathered import Answer
    from hubspoke.types import Event, Request

    Function: TypeAlias = Callable[..., object]

__all__ = ["ROUNDS_MAX", "Called", "answer_with_tools", "run_with_tools", "tool"]

ROUNDS_MAX: Final = 8
"""How often a model is asked at most before it has to answer without any tool."""

_NO_NAME: Final = "unknown"
_NOT_JSON: Final = (msgspec.DecodeError, UnicodeError, RecursionError)
_NAMED: Final = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Called:
    """A call that was made for the model, and what the model is told: a result, or what has *failed*."""

    call: ToolCall
    result: str
    failed: bool = False


def tool(function: Function) -> Tool:
    """Describe *function* to a model.

    Raise TypeError when it has no name, as a lambda, or a parameter without a name or a type that msgspec knows.
    """
    return _Prepared(function).tool


async def run_with_tools(
    mesh: MeshClient,
    request: Request,
    functions: Sequence[Function],
    *,
    rounds_max: int = ROUNDS_MAX,
    deadline: datetime | None = None,
) -> AsyncGenerator[Event | Called, None]:
    """Ask, call *functions* as the model wants, tell it what they give, and go on until it answers.

    Gives what happens: the events of `infer`, round by round, and between rounds what was `Called`. A function that is
    not async runs in a thread. The request's own choice of tools holds for the first round, afterwards the model is free,
    and in the last of *rounds_max* rounds it may call none. Closing the generator stops the work. Raises TypeError as
    `tool` does, and for two functions of one name.
    """
    prepared = {one.tool.name: one for one in map(_Prepared, functions)}
    if len(prepared) < len(functions):
        raise TypeError("two of the functions have the same name; give each its own")
    request = replace(request, tools=tuple(one.tool for one in prepared.values()))
    for number in range(1, rounds_max + 1):
        if number == rounds_max:
            request = replace(request, tool_choice=ToolChoice(Calling.NONE))
        said = Gathered()
        async with aclosing(mesh.infer(request, deadline=deadline)) as events:
            async for event in events:
                said.add(event)
                yield event
        if number == rounds_max or not said.tool_calls:
            return
        turns = [_turn(said, prepared)]
        for call in said.tool_calls:
            called = await _call(prepared, call)
            yield called
            name = call.name if call.name in prepared else _NO_NAME
            turns.append(Message(Speaker.TOOL, called.result, tool_call_id=call.id, tool_name=name))
        request = replace(request, messages=(*request.messages, *turns), tool_choice=ToolChoice())


async def answer_with_tools(
    mesh: MeshClient,
    request: Request,
    functions: Sequence[Function],
    *,
    rounds_max: int = ROUNDS_MAX,
    deadline: datetime | None = None,
) -> Answer:
    """Do as `run_with_tools` does, and give the answer of the last round."""
    said = Gathered()
    running = run_with_tools(mesh, request, functions, rounds_max=rounds_max, deadline=deadline)
    async with aclosing(running) as events:
        async for event in events:
            if isinstance(event, Called):
                said = Gathered()
            else:
                said.add(event)
    return said.answer()


class _Prepared:
    """A function, the tool that it is to a model, and the form of its arguments."""

    def __init__(self, function: Function) -> None:
        self.function = function
        name = getattr(function, "__name__", type(function).__name__)
        if not name.isidentifier():  # a lambda
            raise TypeError(f"{function!r} has no name that a model could call it by")
        self._form = msgspec.defstruct(name, _fields(function), kw_only=True, forbid_unknown_fields=True)
        (_,), parts = msgspec.json.schema_components([self._form], ref_template="#/$defs/{name}")
        schema = parts.pop(name)
        if parts:
            schema["$defs"] = parts
        self.tool = Tool(name, inspect.getdoc(function) or "", msgspec.json.encode(schema).decode())

    def arguments(self, text: str) -> dict[str, object]:
        """Check the arguments of a call and give them by name."""
        # Not strict: small models write a number as "3" now and then, and it is clear what they mean.
        return msgspec.structs.asdict(msgspec.json.decode(text or "{}", type=self._form, strict=False))

    async def call(self, named: Mapping[str, object]) -> str:
        """Call the function and give its result as text."""
        if inspect.iscoroutinefunction(self.function):
            result = await self.function(**named)
        else:
            result = await asyncio.to_thread(self.function, **named)
        return result if isinstance(result, str) else msgspec.json.encode(result).decode()


def _fields(function: Function) -> list[tuple[str, type] | tuple[str, type, object]]:
    hints = typing.get_type_hints(function, include_extras=True)
    fields: list[tuple[str, type] | tuple[str, type, object]] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in _NAMED or parameter.name not in hints:
            raise TypeError(f"{parameter.name!r} of {function!r} needs a name of its own and a type")
        kind = hints[parameter.name]
        is_required = parameter.default is inspect.Parameter.empty
        fields.append((parameter.name, kind) if is_required else (parameter.name, kind, parameter.default))
    return fields


async def _call(prepared: Mapping[str, _Prepared], call: ToolCall) -> Called:
    """Make one call; whatever goes wrong with it becomes its result."""
    known = prepared.get(call.name)
    if known is None:
        return Called(
            call, f"Error: there is no tool {call.name!r}; there is {', '.join(prepared)}", failed=True
        )
    try:
        named = known.arguments(call.arguments)
    except _NOT_JSON as error:
        return Called(call, f"Error: the arguments are wrong: {error}", failed=True)
    try:
        return Called(call, await known.call(named))
    except Exception as error:  # a function may do anything, and the model is told
        log.warning("tool failed", extra={"tool": call.name}, exc_info=error)
        return Called(call, f"Error: {type(error).__name__}: {error}", failed=True)


def _turn(said: Gathered, prepared: Mapping[str, _Prepared]) -> Message:
    """Give the model's own turn, with its calls as the mesh takes them back."""
    calls = tuple(
        ToolCall(
            call.name if call.name in prepared else _NO_NAME,
            call.arguments if _is_object(call.arguments) else "{}",
            call.id,
        )
        for call in said.tool_calls
    )
    return Message(Speaker.ASSISTANT, said.text, thinking=said.thinking, tool_calls=calls)


def _is_object(text: str) -> bool:
    try:
        msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except _NOT_JSON:
        return False
    return True
