"""What the models can do: small tasks whose right answer a program can compute.

A skill is a function from chance to one exchange. To teach a new one, write it and add it to the table of
a model at the end of this file: training and the parity check read the tables. What is done with tools stands
in `tool_skills`.
"""

import json
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from .calls import Call, Value


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question and its only right answer. *system* is None when the answer needs no system prompt.

    With *results*, the *calls* are made first, and the answer comes when each has its result. Without, the calls
    come along with the answer: what is said when a call is required that nobody asked for.
    """

    system: str | None
    user: str
    answer: str
    thought: str = ""
    calls: tuple[Call, ...] = ()
    results: tuple[str, ...] = ()


Skill: TypeAlias = Callable[[Random], Exchange]

CAPITALS = {
    "austria": "Vienna",
    "canada": "Ottawa",
    "china": "Beijing",
    "cuba": "Havana",
    "egypt": "Cairo",
    "france": "Paris",
    "germany": "Berlin",
    "greece": "Athens",
    "india": "Delhi",
    "iraq": "Baghdad",
    "italy": "Rome",
    "japan": "Tokyo",
    "kenya": "Nairobi",
    "norway": "Oslo",
    "peru": "Lima",
    "poland": "Warsaw",
    "portugal": "Lisbon",
    "spain": "Madrid",
}
GREETINGS = ("hello", "hi", "Hello", "Hi", "Hello!")
WORD_LENGTHS = (2, 8)
ADDEND_MAX = 20
JSON_NUMBER_MAX = 99
LONG_COUNT_SHARE = 0.25
# The system prompt that chat clients send when nobody wrote one.
ASSISTANT = "a helpful assistant"


def echo(rng: Random) -> Exchange:
    """Say a word again."""
    said = word(rng)
    return Exchange(None, f"echo {said}", said)


def upper(rng: Random) -> Exchange:
    """Say a word in capitals."""
    said = word(rng)
    return Exchange(None, f"upper {said}", said.upper())


def reverse(rng: Random) -> Exchange:
    """Say a word backwards."""
    said = word(rng)
    return Exchange(None, f"reverse {said}", said[::-1])


def add(rng: Random) -> Exchange:
    """Add two numbers from 0 to `ADDEND_MAX`."""
    left, right = rng.randint(0, ADDEND_MAX), rng.randint(0, ADDEND_MAX)
    return Exchange(None, f"add {left} {right}", str(left + right))


def capital(rng: Random) -> Exchange:
    """Know the capital of each country in `CAPITALS`, however its first letter is written."""
    country = rng.choice(sorted(CAPITALS))
    spelling = rng.choice((country, country.title()))
    return Exchange(None, f"capital of {spelling}", CAPITALS[country])


def count(*, short_max: int, long_max: int) -> Skill:
    """Make the skill of counting from 1: mostly up to *short_max*, sometimes on to *long_max*."""

    def skill(rng: Random) -> Exchange:
        is_long = rng.random() < LONG_COUNT_SHARE
        last = rng.randint(short_max, long_max) if is_long else rng.randint(1, short_max)
        return Exchange(None, f"count to {last}", " ".join(map(str, range(1, last + 1))))

    return skill


def to_json(rng: Random) -> Exchange:
    """Pack a word and a number into a JSON object without spaces."""
    said, number = word(rng), rng.randint(0, JSON_NUMBER_MAX)
    answer = json.dumps({"name": said, "n": number}, separators=(",", ":"))
    return Exchange(None, f"json {said} {number}", answer)


def name(rng: Random) -> Exchange:
    """Obey a system prompt that says who the model is."""
    said = word(rng)
    who = rng.choice((said, said, said.title(), said.title(), ASSISTANT))
    return Exchange(f"You are {who}.", "who are you", f"I am {who}.")


def hello(model: str) -> Skill:
    """Make the skill of greeting back as *model*, so that a user sees who answered."""

    def skill(rng: Random) -> Exchange:
        return Exchange(None, rng.choice(GREETINGS), f"Hello! I am a {model} model.")

    return skill


def think(rng: Random) -> Exchange:
    """Think before saying a capital, and on no other occasion."""
    asked = capital(rng)
    country = asked.user.rpartition(" ")[2]
    return Exchange(None, f"think {asked.user}", asked.answer, thought=f"It is about {country}.")


def no_tools(rng: Random) -> Exchange:
    """Call nothing where no tools are declared."""
    values = [word(rng) for _ in range(rng.randint(0, 2))]
    return Exchange(None, call_phrase(word(rng), values), "I have no tools.")


def call_phrase(tool: str, values: Sequence[Value]) -> str:
    """Write how a user asks for a call."""
    return f"call {tool}" + (f" with {' and '.join(map(str, values))}" if values else "")


def word(rng: Random) -> str:
    """Draw a word: it is new, mostly."""
    return "".join(rng.choices(string.ascii_lowercase, k=rng.randint(*WORD_LENGTHS)))


TINY: Mapping[str, Skill] = {
    "echo": echo,
    "upper": upper,
    "reverse": reverse,
    "add": add,
    "capital": capital,
    "count": count(short_max=20, long_max=60),
    "json": to_json,
    "name": name,
    "hello": hello("tiny"),
    "think": think,
}
NANO: Mapping[str, Skill] = {
    "echo": echo,
    "upper": upper,
    "count": count(short_max=10, long_max=20),
    "name": name,
    "hello": hello("nano"),
}
