"""Subtasks that are whole requests, each wanted by itself."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hubspoke.errors import EngineCrashed, InvalidRequest
from hubspoke.types import (
    Check,
    DelegationState,
    Effort,
    Limits,
    Merge,
    Message,
    Plan,
    Priority,
    Request,
    Sampling,
    Speaker,
    Subtask,
    SubtaskId,
    SubtaskState,
    Tool,
    Work,
)
from tests.fakes.delegating import A, B, C, a_mesh, done
from tests.fakes.engine import Gate
from tests.fakes.replying_engine import ReplyingEngine

if TYPE_CHECKING:
    from pathlib import Path

SPOKEN = (Message(Speaker.SYSTEM, "Be short."), Message(Speaker.USER, "{b} one"))
REQUEST = Request(
    "small", SPOKEN, sampling=Sampling(temperature=0.5, seed=3), max_output_tokens=9, stop=("x",)
)


def requested(name: SubtaskId, text: str) -> Subtask:
    request = replace(REQUEST, messages=(Message(Speaker.USER, text),))
    return Subtask(name, f"title of {name}", model="small", request=request)


def each(request_id: str, *subtasks: Subtask, **more: object) -> Work:
    return Work(request_id, Plan(subtasks, Merge.EACH), partial=True, **more)  # type: ignore[arg-type]


async def test_a_request_is_asked_as_it_is(tmp_path: Path):
    engine = ReplyingEngine()
    subtask = Subtask(A, "title", model="small", request=replace(REQUEST, thinking=Effort.NONE))
    async with a_mesh(tmp_path, den=engine) as hub, hub.app() as mesh:
        last = await done(mesh, each("1", subtask))
        info = await mesh.delegations.get((await mesh.delegations.hand_over(each("1", subtask))).id)
    [asked] = engine.requests
    assert asked.messages == SPOKEN
    assert (asked.sampling, asked.stop, asked.max_output_tokens) == (REQUEST.sampling, ("x",), 9)
    assert asked.priority is Priority.BATCH
    assert (last.state, last.result) == (DelegationState.SUCCEEDED, "")
    assert [(one.title, one.output) for one in info.subtasks] == [("title", "{B} ONE")]


async def test_what_would_be_parked_fails_alone_where_each_is_wanted(tmp_path: Path):
    def replies(prompt: str) -> str | Exception:
        return EngineCrashed("it is gone") if prompt == "bad" else prompt

    engines = {name: ReplyingEngine(replies=replies) for name in ("den", "attic")}
    async with a_mesh(tmp_path, **engines) as hub, hub.app() as mesh:
        work = each("1", requested(A, "bad"), requested(B, "good"))
        last = await done(mesh, work)
        info = await mesh.delegations.get((await mesh.delegations.hand_over(work)).id)
    assert (last.state, last.result) == (DelegationState.PARTIAL, "")
    states = [(one.state, one.output) for one in info.subtasks]
    assert states == [(SubtaskState.FAILED, ""), (SubtaskState.DONE, "good")]
    assert info.subtasks[0].problem.reason == "poisonous"


async def test_delegations_in_one_lane_share_their_places(tmp_path: Path):
    gates = {name: Gate() for name in ("one", "two", "three")}
    engine = ReplyingEngine(replies=lambda prompt: (gates[prompt], prompt))
    limits = Limits(parallel_max=1, lane="night")
    async with a_mesh(tmp_path, den=engine) as hub, hub.app() as mesh, asyncio.TaskGroup() as group:
        first = group.create_task(done(mesh, each("1", requested(A, "one"), limits=limits)))
        await gates["one"].reached.wait()
        second = group.create_task(done(mesh, each("2", requested(B, "two"), limits=limits)))
        # What has places of its own passes by; the hub has seen the second one before it.
        await mesh.delegations.hand_over(each("2", requested(B, "two"), limits=limits))
        third = group.create_task(done(mesh, each("3", requested(C, "three"))))
        await gates["three"].reached.wait()
        assert set(engine.begun) == {"one", "three"}
        for gate in gates.values():
            gate.open()
        ends = [await task for task in (first, second, third)]
    assert {end.state for end in ends} == {DelegationState.SUCCEEDED}


@pytest.mark.parametrize(
    "wrong",
    [
        {"checks": (Check.FOUND,)},
        {"max_output_tokens": 4},
        {"model": "other"},
        {"request": replace(REQUEST, tools=(Tool("look"),))},
    ],
)
async def test_what_goes_not_with_a_request_is_refused(tmp_path: Path, wrong: dict[str, object]):
    async with a_mesh(tmp_path, den=ReplyingEngine()) as hub, hub.app() as mesh:
        subtask = replace(requested(A, "one"), **wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest):
            await mesh.delegations.hand_over(each("1", subtask))
