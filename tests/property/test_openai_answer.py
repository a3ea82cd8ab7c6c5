"""Whatever chunks a server sends, out come deltas of one kind each and one end, or a declared error."""

import json

from hypothesis import given
from hypothesis import strategies as st

from hubspoke.errors import MeshError
from hubspoke.types import Delta, Finished, FinishReason, JsonFormat
from spoke.engines.format_check import FormatCheck
from spoke.engines.openai.answer import Answer

TEXTS = st.none() | st.sampled_from(["", "a", "{}", '{"n"', ": 1}", "\ud800", "é"])
ODD = st.none() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
CALLS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "index": st.none() | st.integers(-2, 3),
            "id": st.none() | st.sampled_from(["", "a", "b", "call_0", "call_1"]),
            "function": st.none()
            | st.fixed_dictionaries(
                {}, optional={"name": st.none() | st.sampled_from(["", "x", "y"]), "arguments": TEXTS}
            ),
        },
    ),
    max_size=3,
)
DELTAS = st.fixed_dictionaries(
    {},
    optional={
        "content": TEXTS,
        "reasoning": TEXTS,
        "reasoning_content": TEXTS,
        "tool_calls": st.none() | CALLS,
    },
)
ENDS = st.sampled_from([None, "stop", "length", "tool_calls", "abort"])
CHOICES = st.fixed_dictionaries({"finish_reason": ENDS}, optional={"delta": DELTAS, "text": TEXTS})
CHUNKS = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.none() | st.lists(CHOICES, max_size=2),
        "usage": st.none() | st.fixed_dictionaries({}, optional={"prompt_tokens": st.integers(-1, 9)}),
        "error": ODD,
    },
)


def read(payloads: list[str]) -> tuple[list[Delta], Finished]:
    answer = Answer()
    deltas = [delta for payload in payloads for delta in answer.read(payload)]
    missing, finished = answer.finished()
    return [*deltas, *missing], finished


def check(deltas: list[Delta], finished: Finished) -> None:
    """Hold an answer to what the contract says of it."""
    arguments: dict[int, str] = {}
    ids: set[str] = set()
    for delta in deltas:
        assert [bool(delta.text), bool(delta.thinking), bool(delta.tool_calls)].count(True) == 1
        for part in delta.tool_calls:
            assert bool(part.id) == bool(part.name) == (part.index not in arguments)
            assert part.id not in ids
            ids |= {part.id} - {""}
            arguments[part.index] = arguments.get(part.index, "") + part.arguments
    if finished.reason is not FinishReason.LENGTH:
        assert sorted(arguments) == list(range(len(arguments)))
        assert all(isinstance(json.loads(made), dict) for made in arguments.values())
        assert (finished.reason is FinishReason.TOOL_CALLS) == bool(arguments)


@given(st.lists(CHUNKS, max_size=8))
def test_any_chunks_give_an_answer_or_a_declared_error(chunks: list[dict[str, object]]):
    try:
        deltas, finished = read([json.dumps(chunk) for chunk in chunks])
    except MeshError:
        return
    check(deltas, finished)


@given(st.lists(st.text(max_size=30), max_size=4))
def test_garbage_gives_nothing_but_a_declared_error(payloads: list[str]):
    try:
        read(payloads)
    except MeshError:
        return
    raise AssertionError


@given(
    st.lists(st.sampled_from(['{"', "n", '"', ": 1", "}", " ", "[", "\\u0000"]), max_size=8), st.booleans()
)
def test_a_text_passes_the_check_exactly_when_it_is_an_object(pieces: list[str], cut: bool):  # noqa: FBT001
    text = "".join(pieces)
    check = FormatCheck(JsonFormat())
    for piece in pieces:
        check.read(Delta(piece))
    reason = FinishReason.LENGTH if cut else FinishReason.STOP
    try:
        is_object = isinstance(json.loads(text), dict)
    except ValueError:
        is_object = False
    try:
        check.finished(
            Finished(reason, read([json.dumps({"choices": [{"finish_reason": "stop"}]})])[1].usage)
        )
        passed = True
    except MeshError:
        passed = False
    assert passed == (cut or is_object)
