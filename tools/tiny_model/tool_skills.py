"""What `tiny` does with tools: from chance and the declared tools to one exchange."""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TypeAlias

from .calls import Tool, Value
from .skills import Exchange, call_phrase, word

ToolSkill: TypeAlias = Callable[[Random, Sequence[Tool]], Exchange]

TOOLS_MAX = 3
PARAMETERS_MAX = 2
TWO_WORDS_SHARE = 0.3
INTEGER_SHARE = 0.35
INTEGERS_MAX = (9, 99, 999)
TITLE_SHARE = 0.25
TOO_FEW_SHARE = 0.1


def toolset(rng: Random) -> tuple[Tool, ...]:
    """Draw one to `TOOLS_MAX` tools with names of their own."""
    names = {_name(rng): None for _ in range(rng.randint(1, TOOLS_MAX))}
    return tuple(Tool(name, _parameters(rng)) for name in names)


def call(rng: Random, tools: Sequence[Tool]) -> Exchange:
    """Call a tool, then say what it returned."""
    tool = rng.choice(tools)
    values = _values(rng, tool)
    return _exchange(rng, call_phrase(tool.name, values), [(tool, values)])


def two_calls(rng: Random, tools: Sequence[Tool]) -> Exchange:
    """Call two tools, or one twice, in the same turn."""
    called = [(tool, _values(rng, tool)) for tool in rng.choices(tools, k=2)]
    return _exchange(rng, ", ".join(call_phrase(tool.name, values) for tool, values in called), called)


def _exchange(rng: Random, user: str, called: Sequence[tuple[Tool, Sequence[Value]]]) -> Exchange:
    results = tuple(_result(rng) for _ in called)
    calls = tuple(tool.call(values) for tool, values in called)
    return Exchange(None, user, f"It is {' and '.join(results)}.", calls=calls, results=results)


def _name(rng: Random) -> str:
    return f"{word(rng)}_{word(rng)}" if rng.random() < TWO_WORDS_SHARE else word(rng)


def _parameters(rng: Random) -> tuple[tuple[str, str], ...]:
    names = {word(rng): None for _ in range(rng.randint(0, PARAMETERS_MAX))}
    return tuple((name, "integer" if rng.random() < INTEGER_SHARE else "string") for name in names)


def _values(rng: Random, tool: Tool) -> list[Value]:
    values = [_value(rng, kind) for _, kind in tool.parameters]
    return values[:-1] if rng.random() < TOO_FEW_SHARE else values


def _value(rng: Random, kind: str) -> Value:
    if kind == "integer":
        return rng.randint(0, rng.choice(INTEGERS_MAX))
    said = word(rng)
    return said.title() if rng.random() < TITLE_SHARE else said


def _result(rng: Random) -> str:
    number, said = _value(rng, "integer"), _value(rng, "string")
    return rng.choice((f"{said}", f"{number}", f"{number} {said}"))


TINY_TOOLS: Mapping[str, ToolSkill] = {
    "call": call,
    "two calls": two_calls,
}
