"""What is asked, with the only right answers: the shipped models are tiny, and know little for certain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hubspoke.types import Message, Request, Sampling, Speaker

LIKELIEST_ONLY: Final = Sampling(temperature=0)


@dataclass(frozen=True, slots=True)
class Question:
    """A question to a model, and its answer."""

    model: str
    prompt: str
    answer: str
    system: str = ""

    @property
    def request(self) -> Request:
        """Put it the way the mesh wants it."""
        rules = (Message(Speaker.SYSTEM, self.system),) if self.system else ()
        messages = (*rules, Message(Speaker.USER, self.prompt))
        return Request(self.model, messages=messages, sampling=LIKELIEST_ONLY)


def count(model: str, last: int) -> Question:
    """Make a question that takes its time."""
    return Question(model, f"count to {last}", " ".join(str(number) for number in range(1, last + 1)))


CAPITAL: Final = Question("tiny", "capital of france", "Paris")
WHO: Final = Question("tiny", "who are you", "I am bob.", system="You are bob.")
HELLO: Final = Question("nano", "hello", "Hello! I am a nano model.")

OVER_HTTP: Final = Question("tiny", "capital of italy", "Rome")

FIRST: Final = (
    CAPITAL,
    Question("tiny", "reverse stream", "maerts"),
    Question("tiny", "add 17 5", "22"),
    Question("tiny", "upper hubspoke", "HUBSPOKE"),
    Question("tiny", "json spoke 42", '{"name":"spoke","n":42}'),
    WHO,
    HELLO,
)
"""More for `tiny` than the slots of any one spoke, so that the hub has reason to load it on both."""

MANY: Final = (
    # The long ones first: they fill all slots of both spokes.
    *(count("tiny", last) for last in (25, 24, 23, 22, 21, 20)),
    count("nano", 10),
    Question("nano", "upper mesh", "MESH"),
    Question("nano", "echo mesh", "mesh"),
    CAPITAL,
    Question("tiny", "add 19 20", "39"),
    Question("tiny", "capital of japan", "Tokyo"),
)

WHILE_ONE_DIES: Final = tuple(count("tiny", last) for last in range(25, 17, -1))
"""Four times the slots of the spoke that stays, so that the one that dies must get some."""

AFTERWARDS: Final = (HELLO, count("nano", 9), WHO)
