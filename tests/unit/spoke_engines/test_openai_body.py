from hubspoke.types import Message, Request, Sampling, Speaker
from spoke.engines.openai_body import CHAT_PATH, COMPLETION_PATH, SEEDS, streamed
from spoke.engines.openai_dialect import PLAIN


def test_a_conversation_goes_through_the_models_template():
    turns = (Message(Speaker.SYSTEM, "be brief"), Message(Speaker.USER, "hello"))

    call = streamed("tiny", Request("mesh-name", messages=turns), PLAIN)

    assert call.path == CHAT_PATH
    assert call.body == {
        "model": "tiny",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}],
    }


def test_a_raw_prompt_is_continued_as_it_is():
    call = streamed("tiny", Request("tiny", prompt="once upon"), PLAIN)

    assert call.path == COMPLETION_PATH
    assert call.body["prompt"] == "once upon"
    assert "messages" not in call.body


def test_what_is_asked_for_is_passed_on():
    sampling = Sampling(temperature=0.0, top_p=0.5, top_k=7, min_p=0.25, seed=9)

    body = streamed(
        "m", Request("m", prompt="p", sampling=sampling, max_output_tokens=5, stop=("a", "b")), PLAIN
    ).body

    assert (body["temperature"], body["top_p"], body["top_k"], body["min_p"]) == (0.0, 0.5, 7, 0.25)
    assert (body["seed"], body["max_tokens"], body["stop"]) == (9, 5, ["a", "b"])


def test_a_seed_fits_into_32_bits_and_never_means_any_seed():
    def seed(value: int) -> object:
        return streamed("m", Request("m", prompt="p", sampling=Sampling(seed=value)), PLAIN).body["seed"]

    assert seed(2**32 - 1) != 2**32 - 1
    assert all(0 <= seed(value) < SEEDS for value in (-1, -(2**63), 2**63 - 1))
