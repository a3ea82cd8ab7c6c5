"""A small share of the fuzzing, the same in every run; and every input that ever found a defect."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubspoke.errors import EngineProtocol, InvalidOutput
from spoke.engines.openai.answer import Answer
from tests.fuzz.bodies import DOORS, bodies
from tests.fuzz.engines import _ollama_answered
from tests.fuzz.targets import TARGETS

EXAMPLES = 150
BYTES_MAX = 400

FOUND = {
    "writers": [
        # A second start, which nobody hears, took two numbers from the events of a response.
        b"\x1c\xb4\xab\x8f\xb6",
    ],
    "openai": [
        # A chunk that is nested too deep, and a time that is longer than any message can hold.
        b"\xb6I\xe2z?\xbf{OC(\x82\x0f\xf4\xa6\x071KH_\x11",
        b"\xbbP\x195\xe4\xfeaE\xaa\xf0W\xf8\x03\xb8\x1f\xd7\t\x87\x93\xd3",
    ],
    "ollama": [
        # A part that is nested too deep, half of a surrogate pair in an error, and a time as above.
        b"\xcf\xa2\xe3P\x81\xa1\x1dA\x86\xa4\x0f?\x9f\xed\xd8\xde\xcb(\x18K",
        b"m\xad\xb1\xa7*S~*\xbf\xad\xf3*/\xf2\xd3Q\\\xd6\xf3\xa6",
        b"\xf63<\xb5\xc8\xa9\xb8,?\xa1\xcb\xb5\x9cX\x86\xec\x8c\xacm5",
    ],
}
"""Inputs as drawn when the defect was found; what of them matters most also has a test by name below."""


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_that_comes_in_is_too_odd(name: str):
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.binary(max_size=BYTES_MAX))
    def hold(data: bytes) -> None:
        TARGETS[name](data)

    hold()


@pytest.mark.parametrize(("name", "data"), [(name, data) for name, found in FOUND.items() for data in found])
def test_what_was_found_stays_mended(name: str, data: bytes):
    TARGETS[name](data)


@pytest.mark.parametrize("door", range(len(DOORS)))
def test_no_depth_of_a_body_can_be_read_and_not_be_written(door: int):
    for depth in range(850, 1010):
        deep = '{"b":' * depth + "0" + "}" * depth
        tool = f'{{"type":"function","name":"a","function":{{"name":"a","parameters":{deep}}},"parameters":{deep}}}'
        rest = f'"messages":[{{"role":"user","content":"a"}}],"input":"a","metadata":{deep},"tools":[{tool}]'
        bodies(bytes([door, 15]) + f'{{"model":"m","max_tokens":1,{rest}}}'.encode())


def test_a_chunk_that_is_nested_too_deep_makes_no_sense():
    with pytest.raises(EngineProtocol):
        Answer().read('{"x":' + "[" * 5000 + "]" * 5000 + "}")


def called(function: dict[str, object]) -> list[str]:
    message = {"role": "assistant", "content": "", "tool_calls": [{"function": function}]}
    return [json.dumps({"message": message, "done": True, "done_reason": "stop"})]


def test_ollama_may_not_leave_out_which_tool_is_called():
    with pytest.raises(InvalidOutput):
        _ollama_answered(called({"name": "", "arguments": {}}), is_chat=True)


def test_half_of_a_surrogate_pair_from_ollama_becomes_the_sign_for_it():
    deltas, _ = _ollama_answered(called({"name": "a", "arguments": {"b": "\ud800"}}), is_chat=True)
    assert deltas[0].tool_calls[0].arguments == '{"b":"\ufffd"}'
