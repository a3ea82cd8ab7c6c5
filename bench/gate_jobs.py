"""Work for the bench of the gate, made from a seed: long documents, goals of many parts, and short questions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from hubspoke.types import Goal, Input

if TYPE_CHECKING:
    from random import Random

BYTES_PER_TOKEN: Final = 4
CAPITALS: Final = {
    "Austria": "Vienna",
    "Canada": "Ottawa",
    "Chile": "Santiago",
    "Egypt": "Cairo",
    "Ghana": "Accra",
    "Iceland": "Reykjavik",
    "Japan": "Tokyo",
    "Kenya": "Nairobi",
    "Nepal": "Kathmandu",
    "Norway": "Oslo",
    "Peru": "Lima",
    "Portugal": "Lisbon",
}
_PROSE: Final = (
    "the river was quiet and a long train of carts went by while people in the market spoke of rain grain tools"
    " and of letters that had come from the coast with news about ships prices schools and a bridge that is old"
)
_SYLLABLES: Final = ("ba", "den", "ka", "lo", "mi", "nor", "ra", "sel", "ti", "vo")


class Kind(StrEnum):
    """What the work is like."""

    DOCUMENT = "long documents"
    PARTS = "independent parts"
    SHORT = "short questions"


@dataclass(frozen=True, slots=True)
class Task:
    """Something to be done, and what a right result holds."""

    kind: Kind
    goal: Goal
    inputs: tuple[Input, ...] = ()
    truth: tuple[str, ...] = ()

    def score(self, result: str) -> float:
        """Give the share of the truth that *result* holds."""
        said = " ".join(result.split()).casefold()
        return sum(one.casefold() in said for one in self.truth) / len(self.truth)


def document(rng: Random) -> Task:
    """Make a text of 32,000 to 64,000 tokens with facts strewn over it, all of which are wanted."""
    facts = {_name(rng): rng.randint(1_000, 9_999) for _ in range(rng.randint(15, 40))}
    sentences = [_sentence(rng) for _ in range(rng.randint(2_300, 4_600))]
    for name, code in facts.items():
        sentences.insert(rng.randrange(len(sentences)), f"The access code of {name} is {code}.")
    paragraphs = (" ".join(sentences[place : place + 8]) for place in range(0, len(sentences), 8))
    goal = "List all access codes, one to a line, as `name: code`, and nothing else."
    truth = tuple(f"{name}: {code}" for name, code in facts.items())
    return Task(Kind.DOCUMENT, Goal(goal), (Input("report", "\n\n".join(paragraphs)),), truth)


def parts(rng: Random) -> Task:
    """Make a list of 6 to 12 goals that do not need each other."""
    countries = rng.sample(sorted(CAPITALS), rng.randint(6, 12))
    items = (
        f"{place}. Name the capital of {country}, and describe it in about {rng.randrange(100, 301, 50)} words."
        for place, country in enumerate(countries, start=1)
    )
    goal = "Do each of these:\n" + "\n".join(items)
    return Task(Kind.PARTS, Goal(goal), truth=tuple(CAPITALS[country] for country in countries))


def short(rng: Random) -> Task:
    """Make one question, with or without a text of at most 3,500 tokens to it; some have two halves."""
    country, other = rng.sample(sorted(CAPITALS), 2)
    left, right = rng.randint(11, 99), rng.randint(11, 99)
    name, code = _name(rng), rng.randint(1_000, 9_999)
    text = " ".join(_sentence(rng) for _ in range(rng.randint(5, 110)))
    letter = Input("letter", f"{text} The access code of {name} is {code}. {text}")
    return rng.choice(
        (
            Task(Kind.SHORT, Goal(f"What is the capital of {country}?"), truth=(CAPITALS[country],)),
            Task(Kind.SHORT, Goal(f"What is {left} + {right}? Only the number."), truth=(str(left + right),)),
            Task(
                Kind.SHORT,
                Goal(f"What is the capital of {country}? And that of {other}?"),
                truth=(CAPITALS[country], CAPITALS[other]),
            ),
            Task(Kind.SHORT, Goal(f"What is the access code of {name}?"), (letter,), (str(code),)),
        )
    )


def tasks(rng: Random, documents: int, lists: int, questions: int) -> list[Task]:
    """Make so many of each kind."""
    made = [document(rng) for _ in range(documents)]
    made += [parts(rng) for _ in range(lists)]
    return made + [short(rng) for _ in range(questions)]


def _sentence(rng: Random) -> str:
    words = " ".join(rng.choices(_PROSE.split(), k=rng.randint(7, 15)))
    return f"{words.capitalize()}."


def _name(rng: Random) -> str:
    return "".join(rng.choices(_SYLLABLES, k=3)).capitalize() + str(rng.randint(10, 99))
