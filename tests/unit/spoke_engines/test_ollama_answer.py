import pytest
from ollama import ChatResponse, GenerateResponse, Message

from hubspoke.errors import EngineTruncated
from hubspoke.types import Delta, Finished, FinishReason, Usage
from spoke.engines.ollama_answer import Answer


def said(text: str) -> ChatResponse:
    return ChatResponse(message=Message(role="assistant", content=text), done=False)


def test_an_answer_is_its_parts_and_what_they_cost():
    answer = Answer()
    assert answer.read(said("Hi"), "Hi") == Delta("Hi")
    assert answer.read(said(""), "") is None
    end = GenerateResponse(
        done=True,
        done_reason="length",
        prompt_eval_count=7,
        prompt_eval_duration=2_000_000,
        eval_count=3,
        eval_duration=1_500_000_000,
    )
    answer.read(end, None)

    usage = Usage(prompt_tokens=7, output_tokens=3, prompt_s=0.002, decode_s=1.5)
    assert answer.finished() == Finished(FinishReason.LENGTH, usage)


def test_what_ollama_does_not_tell_is_counted_or_unknown():
    answer = Answer()
    answer.read(said("a"), "a")
    answer.read(GenerateResponse(done=True, eval_count=None), None)

    assert answer.finished() == Finished(FinishReason.STOP, Usage(0, 1))


@pytest.mark.parametrize(
    "end", [None, GenerateResponse(done=False), GenerateResponse(done=True, done_reason="load")]
)
def test_an_answer_without_a_proper_end_is_truncated(end: GenerateResponse | None):
    answer = Answer()
    answer.read(said("a"), "a")
    if end is not None:
        answer.read(end, None)

    with pytest.raises(EngineTruncated):
        answer.finished()


def test_figures_that_cannot_be_are_cut_to_what_can():
    answer = Answer()
    answer.read(GenerateResponse(done=True, prompt_eval_count=2**40, eval_count=-3, eval_duration=-5), None)

    assert answer.finished().usage == Usage(2**32 - 1, 0, decode_s=0.0)
