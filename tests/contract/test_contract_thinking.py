"""What every engine adapter promises of thoughts, checked on a real engine with a real model."""

import pytest

from hubspoke.types import Capability, Effort, Message, Request, Speaker
from tests.contract.bench import GREEDY, REVERSE, Bench, answered, ask, chat

THINK = "think capital of france"
THOUGHT, ANSWER = "It is about france.", "Paris"


@pytest.fixture
def able(warm: Bench) -> Bench:
    """Give a bench whose model is loaded and thinks."""
    warm.needs(Capability.THINKING)
    return warm


async def test_thoughts_come_apart_from_the_text(able: Bench):
    answer = await answered(able.engine, able.model, chat(THINK))

    assert (answer.thinking.strip(), answer.text) == (THOUGHT, ANSWER)
    assert answer.finished.usage.output_tokens >= len(THOUGHT + ANSWER)


@pytest.mark.parametrize("effort", [Effort.LOW, Effort.MEDIUM, Effort.HIGH])
async def test_thinking_can_be_asked_for(able: Bench, effort: Effort):
    answer = await answered(able.engine, able.model, chat(THINK, thinking=effort))

    assert (answer.thinking.strip(), answer.text) == (THOUGHT, ANSWER)


async def test_thinking_can_be_switched_off(warm: Bench):
    thoughtless = chat(
        THINK if Capability.THINKING in warm.capabilities else REVERSE[0], thinking=Effort.NONE
    )

    text, _ = await ask(warm.engine, warm.model, thoughtless)

    assert text in {ANSWER, REVERSE[1]}


async def test_a_conversation_with_thoughts_goes_on(able: Bench):
    turns = (
        Message(Speaker.USER, THINK),
        Message(Speaker.ASSISTANT, ANSWER, thinking=THOUGHT),
        Message(Speaker.USER, REVERSE[0]),
    )

    text, _ = await ask(able.engine, able.model, Request("m", messages=turns, sampling=GREEDY))

    assert text == REVERSE[1]
