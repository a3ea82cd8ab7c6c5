from hubspoke.types import Message, Request, Sampling, Speaker
from spoke.engines.ollama_body import load_options, messages, request_options


def test_a_conversation_is_told_turn_by_turn():
    turns = (Message(Speaker.SYSTEM, "be brief"), Message(Speaker.USER, "hello"))

    assert messages(Request("m", messages=turns)) == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hello"},
    ]


def test_what_is_left_open_is_not_mentioned_but_the_limit_is_lifted():
    assert request_options(Request("m", prompt="p"), 4096) == {"num_ctx": 4096, "num_predict": -1}


def test_what_is_asked_for_is_passed_on():
    sampling = Sampling(temperature=0.0, top_p=0.5, top_k=7, min_p=0.25, seed=2**32 - 1)

    options = request_options(
        Request("m", prompt="p", sampling=sampling, max_output_tokens=5, stop=("a", "b")), 4096
    )

    assert options == {
        "num_ctx": 4096,
        "temperature": 0.0,
        "top_p": 0.5,
        "top_k": 7,
        "min_p": 0.25,
        "seed": 0,
        "num_predict": 5,
        "stop": ["a", "b"],
    }


def test_every_request_repeats_what_the_model_was_loaded_with():
    options = request_options(Request("m", prompt="p", max_output_tokens=5), 2048)

    assert load_options(2048).items() <= options.items()
