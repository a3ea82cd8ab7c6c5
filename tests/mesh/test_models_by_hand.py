"""Models that people load, pin, unload, pull and delete: a real hub, a real agent, and an engine that does as it is told."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from hubspoke.admin import AdminClient
from hubspoke.errors import Busy, LoadFailed, NoSpoke, PermissionDenied, SpokeLost, UnknownModel, Unsupported
from hubspoke.gathered import Answer
from hubspoke.types import (
    Delta,
    InMemory,
    Loading,
    Message,
    ModelState,
    Place,
    Pulled,
    Pulling,
    PullStep,
    Request,
    Speaker,
    SpokeState,
)
from pki.files import NodeFiles
from tests.fakes.engine import FakeEngine, Gate, a_model
from tests.fakes.mesh_hub import soon
from tests.fakes.real_agent import an_agent
from tests.fakes.real_hub import WAIT_S, real_hub, started_again

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.real_hub import RealHub

COLD = a_model(loaded=False)
HELLO = Request("tiny", messages=(Message(Speaker.USER, "hello"),))


def an_admin(hub: RealHub) -> AdminClient:
    return AdminClient(hub.admin.directory)


async def test_a_model_is_loaded_by_hand_and_how_that_goes_is_told(hub: RealHub) -> None:
    engine = FakeEngine(COLD)
    engine.load_step = gate = Gate()
    async with an_agent(hub, "den", engine), an_admin(hub) as admin, asyncio.timeout(WAIT_S):
        events = aiter(admin.load("tiny"))
        first = await anext(events)
        await gate.reached.wait()
        second = await anext(events)
        gate.open()
        rest = [event async for event in events]
    assert isinstance(first, Loading)
    assert isinstance(second, Loading)
    assert (first.spoke, second.elapsed_s > first.elapsed_s) == ("den", True)
    assert rest[-1] == InMemory("den", Place("fake", "tiny"), 2, 2048, 0, pinned=False)


async def test_a_load_goes_on_when_nobody_listens_any_more(hub: RealHub) -> None:
    engine = FakeEngine(COLD)
    engine.load_step = gate = Gate()
    async with an_agent(hub, "den", engine), an_admin(hub) as admin:
        async with aclosing(admin.load("tiny")) as events:
            await anext(events)
        gate.open()
        await hub.has_spoke(lambda spoke: spoke.inventory.models[0].state is ModelState.LOADED)


async def test_a_load_that_fails_is_told_with_its_reason(hub: RealHub) -> None:
    engine = FakeEngine(COLD)
    engine.load_step = LoadFailed("the file is damaged")
    async with an_agent(hub, "den", engine), an_admin(hub) as admin:
        with pytest.raises(LoadFailed, match="damaged"):
            [event async for event in admin.load("tiny")]


async def test_what_nobody_has_is_neither_loaded_nor_unloaded(hub: RealHub) -> None:
    async with an_agent(hub, "den", FakeEngine(COLD)), an_admin(hub) as admin:
        for name, spoke in (("nope", ""), ("tiny", "attic")):
            with pytest.raises(UnknownModel):
                [event async for event in admin.load(name, spoke=spoke)]
            with pytest.raises(UnknownModel):
                await admin.unload(name, spoke=spoke)


async def test_a_model_is_unloaded_by_hand_where_it_is_idle(hub: RealHub) -> None:
    engine = FakeEngine(a_model(), script=["a", gate := Gate(), "b"])
    async with an_agent(hub, "den", engine), an_admin(hub) as admin, hub.app() as app:
        async with aclosing(app.infer(HELLO)) as events:
            while not isinstance(await anext(events), Delta):
                pass
            with pytest.raises(Busy, match="den"):
                await admin.unload("tiny")
            gate.open()
            async for _ in events:
                pass
        await hub.is_listed("den", 2)
        assert await admin.unload("tiny") == ("den",)
        assert await admin.unload("tiny") == ()
        assert (await admin.models())[0].replicas[0].state is ModelState.COLD


async def test_a_question_during_an_unload_waits_and_brings_the_model_back(hub: RealHub) -> None:
    engine = FakeEngine(a_model(), script=["a"])
    async with an_agent(hub, "den", engine), an_admin(hub) as admin, hub.app() as app:
        await hub.is_listed("den", 2)
        for _ in range(20):
            asked, unloaded, *more = await asyncio.gather(
                app.answer(HELLO), admin.unload("tiny"), app.answer(HELLO), return_exceptions=True
            )
            assert [one for one in (asked, *more) if not isinstance(one, Answer)] == []
            assert unloaded in {("den",), ()} or isinstance(unloaded, Busy)


async def test_a_pin_outlives_the_hub_and_ends_with_an_unload(tmp_path: Path) -> None:
    async with real_hub(tmp_path) as hub, an_agent(hub, "den", FakeEngine(COLD)), an_admin(hub) as admin:
        *_, there = [event async for event in admin.load("tiny", pin=True)]
        assert there.pinned
    den = NodeFiles(hub.directory / "den")
    async with started_again(hub) as again, again.connected(den, a_model()), an_admin(again) as admin:
        assert [replica.pinned for replica in (await admin.models())[0].replicas] == [True]


async def test_on_a_spoke_that_is_away_only_the_pin_goes(hub: RealHub) -> None:
    async with an_admin(hub) as admin:
        async with hub.spoke("den", a_model()):
            assert [event.pinned async for event in admin.load("tiny", pin=True)] == [True]
        await hub.has_state("den", SpokeState.LOST)
        assert await admin.unload("tiny", spoke="den") == ()
        async with hub.connected(NodeFiles(hub.directory / "den"), a_model()):
            assert [replica.pinned for replica in (await admin.models())[0].replicas] == [False]


async def test_a_model_is_pulled_and_asked_for_afterwards(hub: RealHub) -> None:
    engine = FakeEngine(script=["hi"])
    gate = Gate()
    engine.pull_steps = [PullStep("pulling manifest"), PullStep("pulling abc", 3, 10), gate]
    async with an_agent(hub, "den", engine), an_admin(hub) as admin, asyncio.timeout(WAIT_S):
        seen = []
        async with aclosing(admin.pull("new")) as events:
            async for event in events:
                seen.append(event)
                if isinstance(event, Pulling) and event.total_bytes == 10:
                    gate.open()
        answer = await admin.answer(Request("new", messages=HELLO.messages))
    assert seen[-2:] == [Pulling("den", "pulling abc", 3, 10), Pulled("den", Place("fake", "new"))]
    assert answer.text == "hi"


async def test_whoever_stops_listening_stops_the_pull_and_others_go_on(hub: RealHub) -> None:
    engine = FakeEngine(a_model(), script=["hi"])
    engine.pull_steps = [PullStep("pulling abc", 3, 10), Gate()]
    async with an_agent(hub, "den", engine), an_admin(hub) as admin:
        async with aclosing(admin.pull("new")) as events:
            while (await anext(events)).completed_bytes == 0:
                pass
            assert (await admin.answer(HELLO)).text == "hi"
        await soon(engine.pulls_closed.acquire())


async def test_a_pull_that_fails_or_is_lost_is_told(hub: RealHub) -> None:
    engine = FakeEngine()
    engine.pull_steps = [UnknownModel("nobody has 'new'; look at ollama.com/library")]
    async with an_admin(hub) as admin:
        async with an_agent(hub, "den", engine) as agent:
            with pytest.raises(UnknownModel, match="library"):
                [event async for event in admin.pull("new")]
            engine.pull_steps = [PullStep("pulling abc", 3, 10), Gate()]
            async with aclosing(admin.pull("new")) as events:
                while (await anext(events)).completed_bytes == 0:
                    pass
                agent.stop()
                with pytest.raises(SpokeLost):
                    [event async for event in events]
        with pytest.raises(NoSpoke):
            [event async for event in admin.pull("new", spoke="den")]


async def test_where_nobody_pulls_it_is_said_what_to_do(hub: RealHub) -> None:
    async with an_agent(hub, "den", FakeEngine(COLD)), an_admin(hub) as admin:
        with pytest.raises(Unsupported, match="GGUF"):
            [event async for event in admin.pull("new")]


async def test_only_an_admin_moves_models(hub: RealHub) -> None:
    async with hub.app() as app, an_agent(hub, "den", FakeEngine(COLD)):
        async with AdminClient(hub.directory / "laptop") as pretender:
            with pytest.raises(PermissionDenied):
                [event async for event in pretender.load("tiny")]
            with pytest.raises(PermissionDenied):
                await pretender.unload("tiny")
            with pytest.raises(PermissionDenied):
                await pretender.delete("tiny")
            with pytest.raises(PermissionDenied):
                [event async for event in pretender.pull("tiny")]
        assert (await app.models())[0].replicas[0].state is ModelState.COLD


# Deleting.


async def test_a_model_is_deleted_where_it_is_idle_and_its_pin_with_it(hub: RealHub) -> None:
    engine = FakeEngine(a_model(), script=["a", gate := Gate(), "b"])
    async with an_agent(hub, "den", engine), an_admin(hub) as admin, hub.app() as app:
        _ = [event async for event in admin.load("tiny", pin=True)]
        async with aclosing(app.infer(HELLO)) as events:
            while not isinstance(await anext(events), Delta):
                pass
            with pytest.raises(Busy, match="den"):
                await admin.delete("tiny")
            gate.open()
            async for _ in events:
                pass
        await hub.is_listed("den", 2)
        assert await admin.delete("tiny") == ("den",)
        assert await admin.models() == ()
        with pytest.raises(UnknownModel):
            await admin.delete("tiny")
        with pytest.raises(UnknownModel):
            await app.answer(HELLO)


async def test_where_a_model_runs_on_one_spoke_it_stays_on_all(hub: RealHub) -> None:
    den, attic = FakeEngine(a_model(), script=["a", Gate()]), FakeEngine(COLD)
    async with (
        an_agent(hub, "den", den),
        an_agent(hub, "attic", attic),
        an_admin(hub) as admin,
        hub.app() as app,
        aclosing(app.infer(HELLO)) as events,
    ):
        while not isinstance(await anext(events), Delta):
            pass
        with pytest.raises(Busy, match="den"):
            await admin.delete("tiny")
        assert await admin.delete("tiny", spoke="attic") == ("attic",)
    assert [len(await engine.models()) for engine in (den, attic)] == [1, 0]


async def test_a_name_is_deleted_and_other_names_of_the_same_weights_stay(hub: RealHub) -> None:
    engine = FakeEngine(a_model(), a_model("copy"), a_model("other", digest="sha256:" + "b" * 64))
    async with an_agent(hub, "den", engine), an_admin(hub) as admin:
        assert await admin.delete("tiny") == ("den",)
        assert [model.name for model in await engine.models()] == ["copy", "other"]
        assert await admin.delete("sha256:" + "a" * 64) == ("den",)
        assert [model.name for model in await engine.models()] == ["other"]


async def test_what_goes_by_one_name_is_deleted_on_every_spoke_whatever_it_is(hub: RealHub) -> None:
    den, attic = FakeEngine(COLD), FakeEngine(a_model(digest="sha256:" + "b" * 64))
    async with an_agent(hub, "den", den), an_agent(hub, "attic", attic), an_admin(hub) as admin:
        assert await admin.delete("tiny:latest") == ("attic", "den")
    assert [await engine.models() for engine in (den, attic)] == [(), ()]


async def test_a_delete_that_a_spoke_refuses_is_told_with_where_it_went_well(hub: RealHub) -> None:
    den, attic = FakeEngine(COLD), FakeEngine(COLD)
    den.delete_step = Unsupported("'tiny' came with Hubspoke")
    async with an_agent(hub, "den", den), an_agent(hub, "attic", attic), an_admin(hub) as admin:
        with pytest.raises(Unsupported, match="den: 'tiny' came with Hubspoke; it is deleted on attic"):
            await admin.delete("tiny")
        assert [replica.spoke for replica in (await admin.models())[0].replicas] == ["den"]


async def test_nothing_is_deleted_on_a_spoke_that_is_away_or_lost_meanwhile(hub: RealHub) -> None:
    engine = FakeEngine(COLD)
    engine.delete_step = gate = Gate()
    async with an_admin(hub) as admin:
        async with an_agent(hub, "den", engine) as agent:
            with pytest.raises(NoSpoke, match="attic"):
                await admin.delete("tiny", spoke="attic")
            deleting = asyncio.create_task(admin.delete("tiny"))
            await soon(gate.reached.wait())
            agent.stop()
            agent.stop()
            with pytest.raises(SpokeLost):
                await deleting
        with pytest.raises(NoSpoke, match="den"):
            await admin.delete("tiny", spoke="den")
