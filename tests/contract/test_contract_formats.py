"""What every engine adapter promises of answers that have to be JSON, checked on a real engine with a real model."""

import json

import msgspec
import pytest

from hubspoke.errors import InvalidRequest
from hubspoke.types import Capability, Effort, FinishReason, JsonFormat, Request, Sampling
from tests.contract.bench import GREEDY, LONG, REVERSE, Bench, ask, chat

ANSWERS = 20
WILD = 1.5
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z]{1,8}$"},
        "n": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["name", "n"],
    "additionalProperties": False,
}
PERSON = JsonFormat(json.dumps(SCHEMA))


@pytest.fixture
def able(warm: Bench) -> Bench:
    """Give a bench whose model is loaded and keeps to formats."""
    warm.needs(Capability.JSON_SCHEMA)
    return warm


def is_a_person(text: str) -> bool:
    found = msgspec.json.decode(text, type=dict[str, str | int])
    return found.keys() == {"name", "n"} and found["name"].isalpha() and 0 <= found["n"] <= 99


async def test_every_answer_is_what_the_schema_allows(able: Bench):
    for seed in range(ANSWERS):
        text, finished = await ask(
            able.engine,
            able.model,
            chat("json abc 7", format=PERSON, sampling=Sampling(temperature=WILD, seed=seed)),
        )
        assert is_a_person(text), text
        assert finished.reason is FinishReason.STOP


async def test_every_answer_in_json_mode_is_an_object(able: Bench):
    for seed in range(ANSWERS):
        text, _ = await ask(
            able.engine,
            able.model,
            chat("json abc 7", format=JsonFormat(), sampling=Sampling(temperature=WILD, seed=seed)),
        )
        assert isinstance(msgspec.json.decode(text), dict), text


async def test_who_would_say_something_else_is_held_to_the_schema(able: Bench):
    thoughtless = chat(REVERSE[0], format=PERSON, thinking=Effort.NONE)

    text, _ = await ask(able.engine, able.model, thoughtless)

    assert is_a_person(text)


async def test_a_schema_need_not_be_of_an_object(able: Bench):
    word = JsonFormat('{"type": "string", "pattern": "^[a-e]{5}$"}')

    text, _ = await ask(able.engine, able.model, chat(REVERSE[0], format=word, thinking=Effort.NONE))

    assert len(msgspec.json.decode(text, type=str)) == 5


async def test_a_raw_prompt_is_continued_with_what_the_schema_allows(able: Bench):
    able.needs(Capability.COMPLETION)
    prompt = "<|user|>json abc 7<|end|><|assistant|>"

    text, _ = await ask(able.engine, able.model, Request("m", prompt=prompt, format=PERSON, sampling=GREEDY))

    assert msgspec.json.decode(text) == {"name": "abc", "n": 7}


async def test_an_answer_that_was_cut_off_is_not_judged(able: Bench):
    text, finished = await ask(
        able.engine, able.model, chat("json abc 7", format=PERSON, max_output_tokens=3)
    )

    assert finished.reason is FinishReason.LENGTH
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(text)


@pytest.mark.parametrize(
    "schema", ['{"type": "nope"}', '{"$ref": "http://127.0.0.1:9/x"}', '{"pattern": "(?=a)"}', "[]"]
)
async def test_a_schema_that_makes_no_sense_is_refused_and_costs_no_slot(able: Bench, schema: str):
    for _ in range(2 * able.slots):
        with pytest.raises(InvalidRequest):
            await ask(able.engine, able.model, chat(LONG[0], format=JsonFormat(schema)))

    assert (await ask(able.engine, able.model, chat(REVERSE[0])))[0] == REVERSE[1]
