"""Training text: whole chats laid end to end until a row is full, so that a second turn is nothing new."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import TypeAlias

from .calls import Tool
from .skills import Exchange, Skill
from .tool_skills import ToolSkill, toolset
from .vocabulary import NO_THOUGHT, Mark, Message, declaration

# The target that PyTorch's cross entropy leaves out unless told otherwise.
IGNORED = -100
EARLIER_TURNS_MAX = 2
TOOL_TURNS_MAX = 3
NO_THOUGHT_SHARE = 0.35
UNUSED_TOOLS_SHARE = 0.2
# Less than the 1/20 of the likeliest token that samplers leave out: the second choice, taken when the first is forbidden.
REQUIRED_SHARE = 0.04


@dataclass(frozen=True, slots=True)
class Row:
    """*inputs*, and for each the token that should follow, or `IGNORED` where the assistant is silent."""

    inputs: list[int]
    targets: list[int]


@dataclass(frozen=True, slots=True)
class Chat:
    """*messages* that end with the assistant's, and the *tools* that were declared before them.

    *may_think*, *must_call* and *schema*, of the whole answer, are what the client asked for.
    """

    messages: list[Message]
    tools: tuple[Tool, ...] = ()
    may_think: bool = True
    must_call: bool = False
    schema: str = ""


Draw: TypeAlias = Callable[[Random], Chat]


def row(draw: Draw, rng: Random, length: int) -> Row:
    """Draw chats until *length* inputs have their targets; the last chat is cut off."""
    tokens: list[int] = []
    targets: list[int] = []
    while len(tokens) <= length:
        drawn = draw(rng)
        if drawn.tools:
            _append(Message(Mark.SYSTEM, declaration(drawn.tools)), tokens, targets)
        for message in drawn.messages[:-1]:
            _append(message, tokens, targets)
        _append(drawn.messages[-1], tokens, targets, begun="" if drawn.may_think else NO_THOUGHT)
    return Row(tokens[:length], targets[1 : length + 1])


def chat(exchange: Exchange, earlier: Sequence[Exchange] = ()) -> list[Message]:
    """Write out a chat that ends with *exchange*, after *earlier* ones under the same system prompt."""
    messages = [] if exchange.system is None else [Message(Mark.SYSTEM, exchange.system)]
    for turn in (*earlier, exchange):
        messages += [Message(Mark.USER, turn.user), *_answers(turn)]
    return messages


def earlier_turns(skills: Sequence[Skill], rng: Random, turns: int) -> list[Exchange]:
    """Draw *turns* exchanges and keep those that need no system prompt of their own."""
    drawn = [rng.choice(skills)(rng) for _ in range(turns)]
    return [exchange for exchange in drawn if exchange.system is None]


def plain_chat(skills: Sequence[Skill], rng: Random) -> Chat:
    """Draw a chat without tools."""
    exchange = rng.choice(skills)(rng)
    if exchange.system is None:
        return Chat(chat(exchange))
    # Other turns may come between a system prompt and the question about it:
    # the prompt has to hold for the whole chat, and not to disturb turns it says nothing about.
    return Chat(chat(exchange, earlier_turns(skills, rng, rng.randint(0, EARLIER_TURNS_MAX))))


def tool_chat(skills: Sequence[Skill], tool_skills: Sequence[ToolSkill], rng: Random) -> Chat:
    """Draw a chat in which tools are declared, and called in most turns."""
    tools = toolset(rng)

    def turn() -> Exchange:
        if rng.random() >= UNUSED_TOOLS_SHARE:
            return rng.choice(tool_skills)(rng, tools)
        exchange = rng.choice(skills)(rng)
        return required(exchange, tools) if rng.random() < REQUIRED_SHARE else exchange

    *earlier, last = [turn() for _ in range(rng.randint(1, TOOL_TURNS_MAX))]
    return Chat(chat(last, [exchange for exchange in earlier if exchange.system is None]), tools)


def until_calls(drawn: Chat) -> Chat:
    """Leave out what comes after the last calls, if there are any."""
    places = [place for place, message in enumerate(drawn.messages) if message.calls]
    return replace(drawn, messages=drawn.messages[: places[-1] + 1]) if places else drawn


def maybe_thoughtless(drawn: Chat, rng: Random) -> Chat:
    """Switch thinking off for the last answer of some chats."""
    if rng.random() >= NO_THOUGHT_SHARE:
        return drawn
    *before, last = drawn.messages
    return replace(drawn, messages=[*before, replace(last, thought="")], may_think=False)


def required(exchange: Exchange, tools: Sequence[Tool]) -> Exchange:
    """Let a call that nobody asked for follow the answer: of the first tool, with nothing."""
    return replace(exchange, calls=(tools[0].call(()),))


def _answers(turn: Exchange) -> list[Message]:
    if not turn.results:
        return [Message(Mark.ASSISTANT, turn.answer, turn.thought, turn.calls)]
    results = [Message(Mark.USER, result, is_result=True) for result in turn.results]
    return [Message(Mark.ASSISTANT, "", calls=turn.calls), *results, Message(Mark.ASSISTANT, turn.answer)]


def _append(message: Message, tokens: list[int], targets: list[int], begun: str = "") -> None:
    """Add *message* to a row; the assistant learns what it says after what the template has *begun* for it."""
    mark, *said = message.tokens
    prefix = begun.encode()
    tokens += [mark, *prefix, *said]
    is_silent = message.role is not Mark.ASSISTANT
    targets += [IGNORED] * (1 + len(prefix)) + ([IGNORED] * len(said) if is_silent else said)
