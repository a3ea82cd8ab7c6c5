import pytest

from hubspoke.errors import EngineProtocol, EngineTruncated, InvalidOutput
from hubspoke.types import ToolCallPart
from spoke.engines.openai.calls import CALLS_MAX, CallPart, Calls, FunctionPart


def part(
    index: int | None = None,
    id: str | None = None,  # noqa: A002  # as the API calls it
    name: str | None = None,
    arguments: str | dict[str, object] | None = None,
) -> CallPart:
    return CallPart(index, id, FunctionPart(name, arguments))


def read(*parts: CallPart) -> list[ToolCallPart]:
    calls = Calls()
    return [told for each in parts for told in calls.read([each])]


def test_a_call_comes_in_parts():
    told = read(part(0, "a", "weather", ""), part(0, arguments='{"city"'), part(0, arguments=': "oslo"}'))

    assert told == [
        ToolCallPart(0, "a", "weather"),
        ToolCallPart(0, arguments='{"city"'),
        ToolCallPart(0, arguments=': "oslo"}'),
    ]


def test_calls_come_side_by_side():
    told = read(part(0, "a", "x"), part(1, "b", "y"), part(0, arguments="{"), part(1, arguments="["))

    assert [(each.index, each.arguments) for each in told[2:]] == [(0, "{"), (1, "[")]


def test_whole_calls_without_an_index_are_calls_of_their_own():
    told = Calls().read([part(None, "a", "x", "{}"), part(None, "b", "y", "{}"), part(None, None, "z", "{}")])

    assert told == (
        ToolCallPart(0, "a", "x", "{}"),
        ToolCallPart(1, "b", "y", "{}"),
        ToolCallPart(2, "call_2", "z", "{}"),
    )


def test_without_an_index_what_has_no_name_goes_on_with_the_last_call():
    told = read(part(None, "a", "x"), part(None, arguments="{"), part(None, "a", arguments="}"))

    assert [(each.index, each.arguments) for each in told[1:]] == [(0, "{"), (0, "}")]


def test_a_server_that_gives_every_call_the_same_index_still_makes_several():
    told = read(part(0, "a", "x", "{}"), part(0, "b", "y", "{}"))

    assert [each.index for each in told] == [0, 1]


def test_indexes_that_begin_anywhere_are_counted_from_0():
    assert [each.index for each in read(part(3, "a", "x"), part(7, "b", "y"), part(3, arguments="{}"))] == [
        0,
        1,
        0,
    ]


def test_an_id_that_is_missing_is_made_up_and_one_that_comes_late_is_not_waited_for():
    told = read(part(0, None, "x", "{"), part(0, "late", None, "}"))

    assert told == [ToolCallPart(0, "call_0", "x", "{"), ToolCallPart(0, arguments="}")]


def test_ids_are_never_the_same_and_never_too_long_to_come_back():
    told = read(
        part(0, "call_1", "x"),
        part(1, None, "y"),
        part(2, "call_1", "z"),
        part(3, "i" * 1000, "w"),
    )

    assert len({each.id for each in told}) == 4
    assert all(0 < len(each.id) < 256 for each in told)


def test_a_name_that_comes_late_is_waited_for():
    assert read(part(0, "a", None, '{"n"'), part(0, None, "x", ": 1}")) == [
        ToolCallPart(0, "a", "x", '{"n": 1}')
    ]


def test_a_call_that_never_gets_a_name_is_an_answer_that_broke_off():
    calls = Calls()
    calls.read([part(0, "a", None, "{}")])

    with pytest.raises(EngineTruncated):
        calls.finished(is_whole=True)


def test_arguments_may_come_as_an_object():
    assert read(part(0, "a", "x", {"n": 1})) == [ToolCallPart(0, "a", "x", '{"n":1}')]


def test_a_call_without_arguments_has_an_empty_object():
    calls = Calls()
    calls.read([part(0, "a", "x"), part(1, "b", "y", "{}")])

    assert calls.finished(is_whole=True) == (ToolCallPart(0, arguments="{}"),)


@pytest.mark.parametrize("arguments", ["{", "[]", '"x"', "1", "{} {}", "[" * 100_000])
def test_what_is_no_object_is_no_arguments_unless_it_was_cut_off(arguments: str):
    calls = Calls()
    calls.read([part(0, "a", "x", arguments)])

    with pytest.raises(InvalidOutput):
        calls.finished(is_whole=True)
    assert calls.finished(is_whole=False) == ()


def test_calls_without_end_are_refused():
    with pytest.raises(EngineProtocol):
        Calls().read([part(None, None, "x", "{}")] * (CALLS_MAX + 1))
