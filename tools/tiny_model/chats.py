"""Training text: whole chats laid end to end until a row is full, so that a second turn is nothing new."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from .skills import Exchange, Skill
from .vocabulary import Mark, Message

# The target that PyTorch's cross entropy leaves out unless told otherwise.
IGNORED = -100
EARLIER_TURNS_MAX = 2


@dataclass(frozen=True, slots=True)
class Row:
    """*inputs*, and for each the token that should follow, or `IGNORED` where the assistant is silent."""

    inputs: list[int]
    targets: list[int]


def row(skills: Sequence[Skill], rng: Random, length: int) -> Row:
    """Draw chats until *length* inputs have their targets; the last chat is cut off."""
    tokens: list[int] = []
    targets: list[int] = []
    while len(tokens) <= length:
        for message in _draw(skills, rng):
            tokens += message.tokens
            targets += _targets(message)
    return Row(tokens[:length], targets[1 : length + 1])


def chat(exchange: Exchange, earlier: Sequence[Exchange] = ()) -> list[Message]:
    """Write out a chat that ends with *exchange*, after *earlier* ones under the same system prompt."""
    messages = [] if exchange.system is None else [Message(Mark.SYSTEM, exchange.system)]
    for turn in (*earlier, exchange):
        messages += [Message(Mark.USER, turn.user), Message(Mark.ASSISTANT, turn.answer)]
    return messages


def earlier_turns(skills: Sequence[Skill], rng: Random, turns: int) -> list[Exchange]:
    """Draw *turns* exchanges and keep those that need no system prompt of their own."""
    drawn = [rng.choice(skills)(rng) for _ in range(turns)]
    return [exchange for exchange in drawn if exchange.system is None]


def _draw(skills: Sequence[Skill], rng: Random) -> list[Message]:
    exchange = rng.choice(skills)(rng)
    if exchange.system is None:
        return chat(exchange)
    # Other turns may come between a system prompt and the question about it:
    # the prompt has to hold for the whole chat, and not to disturb turns it says nothing about.
    return chat(exchange, earlier_turns(skills, rng, rng.randint(0, EARLIER_TURNS_MAX)))


def _targets(message: Message) -> list[int]:
    if message.role is not Mark.ASSISTANT:
        return [IGNORED] * len(message.tokens)
    return [IGNORED, *message.tokens[1:]]
