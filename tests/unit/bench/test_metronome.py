"""The engine that the bench measures with."""

import asyncio

import pytest

from bench.metronome import FAST, FLOOD, STEADY, Metronome, Tally, is_next
from hubspoke.errors import UnknownModel
from hubspoke.types import Delta, Finished, Request


async def text_of(engine: Metronome, model: str, tokens: int) -> str:
    events = [event async for event in engine.generate(model, Request(model, max_output_tokens=tokens))]
    assert isinstance(events[-1], Finished)
    assert events[-1].usage.output_tokens == tokens
    return "".join(event.text for event in events if isinstance(event, Delta))


async def test_it_makes_as_many_tokens_as_it_is_asked_for(tmp_path):
    assert await text_of(Metronome(Tally(tmp_path / "tally")), FAST, 3) == " tick tock tick"


async def test_a_steady_one_never_runs_ahead_of_its_rate(tmp_path):
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    await text_of(Metronome(Tally(tmp_path / "tally")), STEADY, 3)
    assert loop.time() - began_at >= 2 / 50 - 0.001  # timers may be early by their resolution


async def test_what_each_model_has_made_can_be_read_from_elsewhere(tmp_path):
    engine, elsewhere = Metronome(Tally(tmp_path / "tally")), Tally(tmp_path / "tally")
    await text_of(engine, FAST, 3)
    await text_of(engine, FLOOD, 2)
    assert (elsewhere.tokens(FAST), elsewhere.tokens(FLOOD), elsewhere.tokens(STEADY)) == (3, 2, 0)


async def test_it_loads_nothing_that_it_does_not_have(tmp_path):
    with pytest.raises(UnknownModel):
        await Metronome(Tally(tmp_path / "tally")).load("llama3", 2048)


@pytest.mark.parametrize(
    ("text", "before"), [("", 0), (" tick", 0), (" tock tick", 7), (" tick tock tick", 2)]
)
def test_what_follows_is_recognised(text, before):
    assert is_next(text, before)


@pytest.mark.parametrize(("text", "before"), [(" tick", 1), (" tick tick", 0), (" tic", 0), ("tick ", 0)])
def test_what_is_lost_doubled_or_changed_is_noticed(text, before):
    assert not is_next(text, before)
