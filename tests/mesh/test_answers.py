"""Answers on their way through a real hub: over mutual TLS, from a spoke that the test plays."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from hub.dispatch.journey import LOADING_TOLD_S
from hubspoke.api.mesh.v1 import mesh_pb2 as pb
from hubspoke.errors import (
    ContextTooLong,
    DeadlineExceeded,
    DoesNotFit,
    EngineCrashed,
    InvalidRequest,
    MeshError,
    NoSpoke,
    RequestTooLarge,
    SpokeLost,
    UnknownModel,
    Unsupported,
)
from hubspoke.types import Delta, Finished, FinishReason, Message, Request, Speaker, Started, Waiting
from hubspoke.wire import requests, status
from tests.fakes.real_hub import DIGEST, GIB, OTHER_DIGEST, WAIT_S, a_model, an_inventory, begins

if TYPE_CHECKING:
    from hubspoke.client import Answer, MeshClient
    from hubspoke.types import Event
    from tests.fakes.real_hub import RealHub, ScriptedSlot

HELLO = Request("tiny", (Message(Speaker.USER, "hello"),))
DEADLINE_S = 3.0
"""Long enough for a request to reach its spoke, on a machine that stalls too."""


def asking(app: MeshClient, request: Request = HELLO) -> asyncio.Task[Answer]:
    return asyncio.create_task(app.answer(request))


async def events_of(app: MeshClient, request: Request = HELLO) -> list[Event]:
    """Give what comes but for Waiting: whether the hub has heard of a new slot by then is open."""
    async with asyncio.timeout(WAIT_S):
        return [event async for event in app.infer(request) if not isinstance(event, Waiting)]


async def both_answer(one: ScriptedSlot, other: ScriptedSlot) -> None:
    """Have each of two slots do one of two jobs: neither answers before both have work, or it might get the other one too."""
    jobs = await asyncio.gather(one.assignment(), other.assignment())
    for slot, job, text in zip((one, other), jobs, "ab", strict=True):
        await slot.delta(job.attempt, text)
        await slot.last(job.attempt)


async def test_an_answer_goes_from_the_slot_to_the_client_in_order(hub: RealHub) -> None:
    async with hub.app() as app, hub.spoke("den", slots=1) as den:
        asked = asyncio.create_task(events_of(app))
        assignment = await den.slots[0].answer("Hel", "lo")
        started, *deltas, finished = await asked
    assert requests.request_from_bytes(assignment.request)[0] == HELLO
    assert isinstance(started, Started)
    assert (started.spoke, started.model, started.model_key, started.attempt) == ("den", "tiny", DIGEST, 1)
    assert [delta.text for delta in deltas if isinstance(delta, Delta)] == ["Hel", "lo"]
    assert isinstance(finished, Finished)
    assert finished.reason is FinishReason.STOP
    assert finished.usage.output_tokens == 9


async def test_a_slot_takes_one_request_after_the_other(hub: RealHub) -> None:
    async with hub.app() as app, hub.spoke("den", slots=1) as den:
        for number in range(5):
            asked = asking(app)
            await den.slots[0].answer(str(number))
            assert (await asked).text == str(number)


async def test_who_is_silent_is_told_until_it_says_something(
    hub: RealHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.dispatch.journey.SILENCE_TOLD_S", 0.02)
    async with hub.app() as app, hub.spoke("den", slots=1) as den:
        events = aiter(app.infer(HELLO))
        await begins(events)
        assignment = await den.slots[0].assignment()
        silences = [await anext(events) for _ in range(2)]
        await den.slots[0].delta(assignment.attempt, "now")
        while isinstance(spoken := await anext(events), Waiting):
            pass
        await den.slots[0].last(assignment.attempt)
        rest = [event async for event in events]
    assert [(event.spoke, event.elapsed_s) for event in silences] == [("den", None)] * 2
    assert 0.02 <= silences[0].silent_s < silences[1].silent_s
    assert (spoken.text, [type(event) for event in rest]) == ("now", [Finished])


async def test_a_request_waits_for_a_slot_and_says_so(hub: RealHub) -> None:
    async with hub.app() as app, hub.spoke("den", slots=1) as den:
        first = asking(app)
        one = await den.slots[0].assignment()
        second = aiter(app.infer(HELLO))
        assert await anext(second) == Waiting(None)
        await den.slots[0].last(one.attempt)
        await first
        await den.slots[0].answer("now")
        rest = [event async for event in second]
    assert [type(event) for event in rest] == [Started, Delta, Finished]


async def test_a_cancelled_request_stops_at_the_spoke_and_frees_its_slot(hub: RealHub) -> None:
    async with hub.app() as app, hub.spoke("den", slots=1) as den:
        slot = den.slots[0]
        for seen in range(4):
            async with aclosing(app.infer(HELLO)) as events:
                # The answer before may have come to its client a moment before its slot was free.
                while isinstance(event := await anext(events), Waiting):
                    pass
                assert isinstance(event, Started)
                assignment = await slot.assignment()
                for _ in range(seen):
                    await slot.delta(assignment.attempt, "x")
                    assert isinstance(await anext(events), Delta)
            assert (await slot.cancel()).attempt == assignment.attempt
            # What was under way when the client left goes nowhere, and the slot is not idle before its Last.
            await slot.delta(assignment.attempt, "late")
            next_one = asking(app)
            await slot.last(assignment.attempt, FinishReason.CANCELLED)
            await slot.answer("whole")
            assert (await next_one).text == "whole"


async def test_a_spoke_lost_before_any_text_is_replaced_by_another_one(hub: RealHub) -> None:
    async with hub.app() as app, hub.spoke("den", slots=1) as den:
        asked = asyncio.create_task(events_of(app))
        await den.slots[0].assignment()
        async with hub.spoke("attic", slots=1) as attic:
            await den.channel.close()
            await attic.slots[0].answer("still here")
            events = await asked
    started = [event for event in events if isinstance(event, Started)]
    assert [(event.spoke, event.attempt) for event in started] == [("den", 1), ("attic", 2)]
    assert "".join(event.text for event in events if isinstance(event, Delta)) == "still here"


async def test_a_spoke_lost_in_the_middle_of_an_answer_is_a_clear_error(hub: RealHub) -> None:
    async with hub.app() as app, hub.spoke("den", slots=1) as den:
        asked = aiter(app.infer(HELLO))
        await begins(asked)
        assignment = await den.slots[0].assignment()
        await den.slots[0].delta(assignment.attempt, "Once upon")
        assert isinstance(await anext(asked), Delta)
        await den.channel.close()
        with pytest.raises(SpokeLost, match="den went away"):
            await anext(asked)


async def test_a_declined_request_goes_elsewhere_and_not_back(hub: RealHub) -> None:
    failure = status.failure_to_wire(EngineCrashed("the engine has just died"))
    async with hub.app() as app, hub.spoke("den", slots=1) as den:
        asked = asking(app)
        first = await den.slots[0].assignment()
        async with hub.spoke("attic", slots=1) as attic:
            await den.slots[0].say(declined=pb.Declined(attempt=first.attempt, failure=failure))
            second = await attic.slots[0].assignment()
            assert second.request == first.request
            # Den is idle again, and a third try would be allowed.
            await attic.slots[0].say(declined=pb.Declined(attempt=second.attempt, failure=failure))
            with pytest.raises(EngineCrashed, match="just died"):
                await asked
            others = [asking(app), asking(app)]
            await both_answer(den.slots[0], attic.slots[0])
            assert sorted([(await other).text for other in others]) == ["a", "b"]


@pytest.mark.parametrize(
    "failed", [EngineCrashed("the engine died"), UnknownModel("the model was deleted meanwhile")]
)
async def test_an_engine_that_fails_before_any_text_is_tried_elsewhere(
    hub: RealHub, failed: MeshError
) -> None:
    async with hub.app() as app, hub.spoke("den", slots=1) as den:
        asked = asking(app)
        assignment = await den.slots[0].assignment()
        async with hub.spoke("attic", slots=1) as attic:
            failure = status.failure_to_wire(failed)
            await den.slots[0].say(last=pb.Last(attempt=assignment.attempt, failure=failure))
            await attic.slots[0].answer("fine")
            answer = await asked
    assert (answer.text, answer.started.spoke, answer.started.attempt) == ("fine", "attic", 2)


async def test_a_cold_model_is_loaded_once_for_everybody_who_waits(hub: RealHub) -> None:
    cold = a_model(loaded=False)
    async with hub.app() as app, hub.spoke("den", cold, slots=2) as den:
        first, second = aiter(app.infer(HELLO)), aiter(app.infer(HELLO))
        for waiting in (await anext(first), await anext(second)):
            assert isinstance(waiting, Waiting)
            assert (waiting.spoke, waiting.elapsed_s >= 0, waiting.expected_s > 0) == ("den", True, True)
        orders = (await den.directives()).directives
        assert [order.WhichOneof("action") for order in orders] == ["load"]
        assert orders[0].load.context_tokens == cold.plan.context_tokens
        done = pb.DirectiveResult(id=orders[0].id)
        done.took.seconds = 2
        response = await den.beat(an_inventory(a_model()), results=[done])
        assert not response.directives
        await both_answer(*den.slots)
        events = [event async for event in first] + [event async for event in second]
        (summary,) = await app.models()
    assert sorted(event.text for event in events if isinstance(event, Delta)) == ["a", "b"]
    assert summary.replicas[0].load_s == pytest.approx(2.0)


async def test_whoever_waits_for_a_load_hears_again_and_again_how_far_it_is(hub: RealHub) -> None:
    async with hub.app() as app, hub.spoke("den", a_model(loaded=False), slots=1):
        events = aiter(app.infer(HELLO))
        first, second = await anext(events), await anext(events)
    # Later than that only where the machine has stalled.
    assert LOADING_TOLD_S * 0.99 <= second.elapsed_s - first.elapsed_s < LOADING_TOLD_S + WAIT_S / 2
    assert second.expected_s == first.expected_s


async def test_a_load_that_fails_is_told_with_its_reason(hub: RealHub) -> None:
    async with hub.app() as app, hub.spoke("den", a_model(loaded=False), slots=1) as den:
        asked = asking(app)
        (order,) = (await den.directives()).directives
        failure = status.failure_to_wire(EngineCrashed("llama.cpp refused the file"))
        await den.beat(results=[pb.DirectiveResult(id=order.id, failure=failure)])
        with pytest.raises(EngineCrashed, match="refused the file"):
            await asked


async def test_an_idle_model_is_unloaded_to_make_room(hub: RealHub) -> None:
    small, large = a_model("old", digest=OTHER_DIGEST), a_model(loaded=False, size_bytes=6 * GIB)
    async with hub.app() as app, hub.spoke("den", small, slots=1) as den:
        memory = an_inventory(
            a_model("old", digest=OTHER_DIGEST, size_bytes=4 * GIB), large, free_bytes=3 * GIB
        )
        await den.beat(memory)
        asked = aiter(app.infer(HELLO))
        assert (await anext(asked)).spoke == "den"
        orders = (await den.directives()).directives
    assert [(order.WhichOneof("action")) for order in orders] == ["unload", "load"]
    assert (orders[0].unload.model, orders[1].load.model) == ("old", "tiny")


async def test_a_model_that_fits_nowhere_is_refused_with_numbers(hub: RealHub) -> None:
    async with hub.app() as app, hub.spoke("den", a_model(loaded=False, size_bytes=64 * GIB), slots=1):
        with pytest.raises(DoesNotFit, match=r"70\.\d GiB.*den"):
            await app.answer(HELLO)


async def test_a_name_for_several_models_means_the_most_replicated_one(hub: RealHub) -> None:
    # "attic" has a copy too, but no slot open.
    async with (
        hub.app() as app,
        hub.spoke("attic", slots=0),
        hub.spoke("den", slots=1) as den,
        hub.spoke("barn", a_model(digest=OTHER_DIGEST), slots=1),
    ):
        asked = asking(app)
        await den.slots[0].answer("x")
        started = (await asked).started
    assert started.model_key == DIGEST
    assert started.also_named == (OTHER_DIGEST,)


@pytest.mark.parametrize(
    ("request_", "error", "says"),
    [
        (Request("nope", HELLO.messages), UnknownModel, "tiny"),
        (Request("tiny"), InvalidRequest, "prompt is empty"),
        (Request("", HELLO.messages), InvalidRequest, "hubspoke models"),
        (Request("tiny", (Message(Speaker.USER, ""),)), InvalidRequest, "no text"),
        (Request("tiny", HELLO.messages, stop=("",)), InvalidRequest, "stop"),
        (Request("tiny", prompt="go on"), Unsupported, "completion"),
        (Request("tiny", (Message(Speaker.USER, "x" * 50_000_000),)), RequestTooLarge, "send less"),
        (Request("tiny", (Message(Speaker.USER, "x" * 1_000_000),)), ContextTooLong, "context"),
    ],
)
async def test_a_request_that_cannot_succeed_gets_a_clear_error_and_costs_no_slot(
    hub: RealHub, request_: Request, error: type[Exception], says: str
) -> None:
    async with hub.app() as app, hub.spoke("den", slots=1) as den:
        with pytest.raises(error, match=says):
            await app.answer(request_)
        asked = asking(app)
        await den.slots[0].answer("fine")
        assert (await asked).text == "fine"


async def test_a_deadline_in_the_past_is_refused(hub: RealHub) -> None:
    async with hub.app() as app, hub.spoke("den", slots=1):
        with pytest.raises(DeadlineExceeded, match="had passed"):
            await app.answer(HELLO, deadline=datetime.now(UTC) - timedelta(seconds=0.5))


async def test_a_deadline_that_passes_stops_the_work(hub: RealHub) -> None:
    async with hub.app() as app, hub.spoke("den", slots=1) as den:
        deadline = datetime.now(UTC) + timedelta(seconds=DEADLINE_S)
        asked = asyncio.create_task(app.answer(HELLO, deadline=deadline))
        assignment = await den.slots[0].assignment()
        assert 0 < assignment.timeout.ToTimedelta().total_seconds() <= DEADLINE_S
        assert (await den.slots[0].cancel()).attempt == assignment.attempt
        with pytest.raises(DeadlineExceeded):
            await asked


async def test_nobody_is_asked_while_no_spoke_is_there(hub: RealHub) -> None:
    async with hub.app() as app:
        async with hub.spoke("den", slots=1) as den:
            await den.beat(goodbye=pb.Goodbye(why="test"))
        with pytest.raises(NoSpoke, match="den left"):
            await app.answer(HELLO)
