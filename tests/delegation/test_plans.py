"""Plans that are given: done by a real hub and real spokes, with engines that reply as the test wants."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from hubspoke.client import MeshClient
from hubspoke.clock import SystemClock
from hubspoke.errors import (
    EngineCrashed,
    EngineProtocol,
    InvalidRequest,
    NoOrchestrator,
    RequestIdTaken,
    UnknownDelegation,
    UnknownModel,
    WrongState,
)
from hubspoke.types import (
    Check,
    DelegationState,
    Excerpt,
    Input,
    Limits,
    Merge,
    Plan,
    SubtaskState,
    Verb,
    Work,
)
from tests.fakes.delegating import A, B, C, a_mesh, asked, done, is_dense, of, planned, until
from tests.fakes.engine import Gate
from tests.fakes.replying_engine import ReplyingEngine, shouted

if TYPE_CHECKING:
    from pathlib import Path

STATES = SubtaskState


async def test_a_plan_is_done_in_its_order(tmp_path: Path):
    engine = ReplyingEngine()
    async with a_mesh(tmp_path, den=engine) as hub, hub.app() as mesh:
        work = planned(asked(A, "one"), asked(B, "two {a}", A))
        events = [event async for event in mesh.delegate(work)]
    assert events[-1].happening.result == "TWO ONE"
    assert [status.state for status in of(events, B)] == [STATES.READY, STATES.RUNNING, STATES.DONE]
    assert of(events, B)[1].spoke == "den"
    assert is_dense(events)


async def test_subtasks_that_do_not_need_each_other_run_side_by_side(tmp_path: Path):
    gates = {"one": Gate(), "two": Gate()}
    engine = ReplyingEngine(replies=lambda prompt: (gates[prompt], prompt))
    async with a_mesh(tmp_path, den=engine) as hub, hub.app() as mesh, asyncio.TaskGroup() as group:
        end = group.create_task(done(mesh, planned(asked(A, "one"), asked(B, "two"))))
        for gate in gates.values():
            await gate.reached.wait()
        for gate in gates.values():
            gate.open()
    assert end.result().result == "one\ntwo"


async def test_a_subtask_reads_its_excerpts(tmp_path: Path):
    engine = ReplyingEngine()
    async with a_mesh(tmp_path, den=engine) as hub, hub.app() as mesh:
        work = planned(asked(A, "what?", reads=(Excerpt("t", 4, 9),)), inputs=(Input("t", "not these yes"),))
        await done(mesh, work)
    assert "these" in engine.requests[0].messages[0].text
    assert "not" not in engine.requests[0].messages[0].text.partition("these")[0].partition("<text")[2]


async def test_the_same_work_is_done_once_and_other_work_under_its_id_is_refused(tmp_path: Path):
    engine = ReplyingEngine()
    work = planned(asked(A, "one"))
    async with a_mesh(tmp_path, den=engine) as hub, hub.app() as mesh:
        first = await done(mesh, work)
        again = await done(mesh, work)
        with pytest.raises(RequestIdTaken):
            await mesh.delegations.hand_over(replace(work, partial=True))
        other = await done(mesh, replace(work, request_id="2", partial=True))
    assert (first.result, again.result, other.result) == ("ONE", "ONE", "ONE")
    assert engine.begun == {"one": 2}


async def test_what_is_watched_later_is_what_happened(tmp_path: Path):
    async with a_mesh(tmp_path, den=ReplyingEngine()) as hub, hub.app() as mesh:
        work = planned(asked(A, "one"))
        events = [event async for event in mesh.delegate(work) if event.seq]
        info = await mesh.delegations.hand_over(work)
        again = [event async for event in mesh.delegations.watch(info.id)]
        rest = [event async for event in mesh.delegations.watch(info.id, 4)]
    assert again == events
    assert rest == events[3:]
    assert info.last_seq == events[-1].seq


async def test_who_cancels_ends_what_runs_whenever_and_however_often(tmp_path: Path):
    gate = Gate()
    engine = ReplyingEngine(replies=lambda prompt: (gate, prompt))
    async with a_mesh(tmp_path, den=engine) as hub, hub.app() as mesh:
        info = await mesh.delegations.hand_over(planned(asked(A, "one"), asked(B, "two", A)))
        await gate.reached.wait()
        ended = await mesh.delegations.cancel(info.id)
        await engine.closed.acquire()
        again = await mesh.delegations.cancel(info.id)
    assert (ended.state, again) == (DelegationState.CANCELLED, ended)
    assert [status.state for status in ended.subtasks] == [STATES.CANCELLED, STATES.CANCELLED]


async def test_a_failure_fails_the_whole(tmp_path: Path):
    engine = ReplyingEngine(
        replies=lambda prompt: EngineProtocol("it makes no sense") if "bad" in prompt else prompt
    )
    async with a_mesh(tmp_path, den=engine) as hub, hub.app() as mesh:
        last = await done(mesh, planned(asked(A, "bad", attempts_max=2), asked(B, "good")))
    assert (last.state, last.problem.reason) == (DelegationState.FAILED, "engine_protocol")
    assert engine.begun["bad"] == 2


async def test_a_failure_leaves_the_rest_where_that_is_wanted(tmp_path: Path):
    engine = ReplyingEngine(replies=lambda prompt: EngineProtocol("no") if "bad" in prompt else prompt)
    async with a_mesh(tmp_path, den=engine) as hub, hub.app() as mesh:
        work = planned(asked(A, "bad", attempts_max=1), asked(B, "good"), asked(C, "more", A), partial=True)
        last = await done(mesh, work)
        info = await mesh.delegations.get((await mesh.delegations.hand_over(work)).id)
    assert (last.state, last.result) == (DelegationState.PARTIAL, "good")
    assert [status.state for status in info.subtasks] == [STATES.FAILED, STATES.DONE, STATES.SKIPPED]


async def test_an_answer_that_a_check_refuses_is_mended(tmp_path: Path):
    replies = iter(["2 + 2 = 5", "2 + 2 = 4"])
    engine = ReplyingEngine(replies=lambda _: next(replies))
    async with a_mesh(tmp_path, den=engine) as hub, hub.app() as mesh:
        last = await done(mesh, planned(asked(A, "add", checks=(Check.ARITHMETIC,))))
    assert last.result == "2 + 2 = 4"
    assert "2 + 2 = 5" in engine.requests[1].messages[0].text


@pytest.mark.parametrize(
    ("verb", "output", "state", "result"),
    [
        (Verb.RETRY, "", DelegationState.SUCCEEDED, "BAD\ngood"),
        (Verb.SUPPLY, "by hand", DelegationState.SUCCEEDED, "by hand\ngood"),
        (Verb.SKIP, "", DelegationState.SUCCEEDED, "\ngood"),
        (Verb.ABORT, "", DelegationState.FAILED, ""),
    ],
)
async def test_what_takes_two_spokes_down_is_parked_for_a_person(
    tmp_path: Path, verb: Verb, output: str, state: DelegationState, result: str
):
    is_poison = True

    def replies(prompt: str):
        return (
            EngineCrashed("down it went")
            if prompt == "bad" and is_poison
            else shouted(prompt)
            if prompt == "bad"
            else prompt
        )

    engines = {"den": ReplyingEngine(replies=replies), "loft": ReplyingEngine(replies=replies)}
    async with a_mesh(tmp_path, **engines) as hub, hub.app() as mesh:
        info = await mesh.delegations.hand_over(planned(asked(A, "bad", attempts_max=9), asked(B, "good")))
        parked = await until(mesh, info.id, DelegationState.PARKED)
        with pytest.raises(WrongState):
            await mesh.delegations.resolve(info.id, verb, subtask=B, output=output)
        is_poison = False
        await mesh.delegations.resolve(info.id, verb, subtask=A, output=output)
        events = [event async for event in mesh.delegations.watch(info.id)]
    assert parked.problem.reason == "poisonous"
    assert (events[-1].happening.state, events[-1].happening.result.strip()) == (state, result.strip())
    assert sum(engine.begun["bad"] for engine in engines.values()) == 2 + (verb is Verb.RETRY)


async def test_the_deadline_ends_it_and_what_was_done_stays(tmp_path: Path):
    gate = Gate()
    engine = ReplyingEngine(replies=lambda prompt: (gate, prompt) if prompt == "slow" else prompt)
    async with a_mesh(tmp_path, den=engine) as hub, hub.app() as mesh:
        await done(mesh, planned(asked(A, "first"), request_id="0"))  # what runs delegations is loaded by now
        deadline = SystemClock().now() + timedelta(seconds=6)
        work = planned(asked(A, "fast"), asked(B, "slow"), limits=Limits(deadline), partial=True)
        last = await done(mesh, work)
        # Whoever did not hear that it was taken asks again, and its deadline has passed by now.
        again = await mesh.delegations.hand_over(work)
        with pytest.raises(InvalidRequest, match="has passed"):
            await mesh.delegations.hand_over(replace(work, request_id="another"))
    assert again.state is last.state
    assert (last.state, last.result) == (DelegationState.PARTIAL, "fast")
    assert last.problem.reason == "deadline_exceeded"


async def test_tokens_that_are_used_up_end_it(tmp_path: Path):
    async with a_mesh(tmp_path, den=ReplyingEngine()) as hub, hub.app() as mesh:
        work = planned(asked(A, "one"), asked(B, "two {a}", A), limits=Limits(worker_tokens_max=5))
        last = await done(mesh, work)
    assert (last.state, last.problem.reason) == (DelegationState.FAILED, "budget_spent")
    assert last.spent.worker_tokens == 10


async def test_what_nobody_could_do_is_refused_before_it_is_kept(tmp_path: Path):
    async with a_mesh(tmp_path, den=ReplyingEngine()) as hub, hub.app() as mesh:
        with pytest.raises(UnknownModel):
            await mesh.delegations.hand_over(planned(replace(asked(A, "one"), model="huge")))
        with pytest.raises(NoOrchestrator):
            await mesh.delegations.hand_over(planned(replace(asked(A, "one"), model="")))
        with pytest.raises(NoOrchestrator):
            await mesh.delegations.hand_over(Work("2", Plan((asked(A, "one"),), Merge.MODEL, "write it")))
        assert [info async for info in mesh.delegations.list()] == []


async def test_an_app_sees_its_own_and_an_admin_all(tmp_path: Path):
    async with a_mesh(tmp_path, den=ReplyingEngine()) as hub:
        async with hub.app("laptop") as mesh:
            mine = await mesh.delegations.hand_over(planned(asked(A, "one"), labels={"for": "me"}))
            await until(mesh, mine.id, DelegationState.SUCCEEDED)
        async with hub.app("phone") as other:
            theirs = await other.delegations.hand_over(planned(asked(A, "one")))
            with pytest.raises(UnknownDelegation):
                await other.delegations.get(mine.id)
            with pytest.raises(UnknownDelegation):
                await other.delegations.cancel(mine.id)
            assert [info.id async for info in other.delegations.list()] == [theirs.id]
            await until(other, theirs.id, DelegationState.SUCCEEDED)
        async with MeshClient(hub.admin.directory) as admin:
            assert [info.id async for info in admin.delegations.list()] == [theirs.id, mine.id]
            assert [info.id async for info in admin.delegations.list(labels={"for": "me"})] == [mine.id]
            await admin.delegations.delete(mine.id)
            assert [info.id async for info in admin.delegations.list()] == [theirs.id]


async def test_only_what_has_ended_can_be_deleted(tmp_path: Path):
    gate = Gate()
    engine = ReplyingEngine(replies=lambda prompt: (gate, prompt))
    async with a_mesh(tmp_path, den=engine) as hub, hub.app() as mesh:
        info = await mesh.delegations.hand_over(planned(asked(A, "one")))
        with pytest.raises(WrongState):
            await mesh.delegations.delete(info.id)
        gate.open()
        await until(mesh, info.id, DelegationState.SUCCEEDED)
        await mesh.delegations.delete(info.id)
        with pytest.raises(UnknownDelegation):
            await mesh.delegations.get(info.id)


async def test_a_long_output_is_cut_in_events_and_whole_where_it_is_asked_for(tmp_path: Path):
    long = "word " * 20_000
    async with a_mesh(tmp_path, den=ReplyingEngine(replies=lambda _: long)) as hub, hub.app() as mesh:
        work = planned(asked(A, "long"))
        events = [event async for event in mesh.delegate(work)]
        info = await mesh.delegations.get((await mesh.delegations.hand_over(work)).id)
    assert len(of(events, A)[-1].output) < 20_000
    assert info.subtasks[0].output == long
    assert info.result == events[-1].happening.result == long.strip()
