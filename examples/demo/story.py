"""What the demo shows, act by act."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from examples.demo import own_ollama, questions
from examples.demo.asking import Asker
from examples.demo.events import (
    Act,
    Began,
    Done,
    Froze,
    Kept,
    Killed,
    Lost,
    Memory,
    NoOllama,
    OverHttp,
    OwnOllama,
    Refused,
    Tally,
)
from examples.demo.mesh import ATTIC, CLOCK, DEN, SPOKES, SpokePlan, running
from examples.demo.over_http import Asking
from examples.demo.programs import Failure
from examples.demo.waiting import WAIT_S
from hubspoke.errors import NoSpoke
from hubspoke.types import Message, Request, Speaker, SpokeState
from spoke.engines.ollama.detected import NAME as OLLAMA

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from examples.demo.events import Event
    from examples.demo.mesh import DemoMesh
    from examples.demo.programs import Programs
    from examples.demo.questions import Question
    from examples.demo.show import Show
    from hubspoke.types import ModelKey, SpokeStatus

    Stay: TypeAlias = Callable[[], Awaitable[None]]


APP_WITH_KEY: Final = "editor"
REPORT: Final = "That is a defect: please report it, with what `--json` prints."
GREETING: Final = "Say hello in one short sentence."
OLLAMA_PATIENCE: Final = timedelta(minutes=3)
"""A model of several gigabytes may first have to come from a slow disk."""


async def play(state: Path, programs: Programs, show: Show, stay: Stay | None) -> None:
    """Show everything, and then leave the mesh up for as long as *stay* lasts.

    Raise Failure for what is not as it should be, and whatever MeshError is in the way.
    """
    began_s = CLOCK.monotonic()
    show.tell(Act("Trust"))
    async with running(state, programs, show.tell) as mesh:
        for act in (mesh.join, mesh.start):
            async with asyncio.TaskGroup() as group:
                for plan in SPOKES:
                    group.create_task(act(plan))
        story = Story(mesh, show)
        total = await story.play()
        _check(total)
        show.tell(Done(total, CLOCK.monotonic() - began_s))
        if stay is not None:
            show.tell(Kept(mesh.environment, story.curl))
            await stay()


class Story:
    """The acts that a running mesh plays."""

    def __init__(self, mesh: DemoMesh, show: Show) -> None:
        self._mesh = mesh
        self._show = show
        self._asker = Asker(mesh.app)
        self.curl = ""
        """The line that asks over HTTP, once that was done."""

    async def play(self) -> Tally:
        """Play all acts, and count all answers."""
        total = _sum(
            [
                await self._first_questions(),
                await self._many_at_once(),
                await self._one_dies(),
                await self._it_returns(),
            ]
        )
        await self._over_http()
        await self._own_ollama()
        return total

    async def _first_questions(self) -> Tally:
        self._show.tell(Act("The first questions bring the models into memory"))
        result = await self._ask(questions.FIRST)
        for plan in SPOKES:
            await self._mesh.when(plan, "have its models in memory", _has_all_loaded)
        return result

    async def _many_at_once(self) -> Tally:
        slots = sum(plan.slots for plan in SPOKES)
        self._show.tell(Act(f"{len(questions.MANY)} questions at once, over {slots} slots"))
        result = await self._ask(questions.MANY)
        self._show.tell(Memory(await self._mesh.admin.spokes()))
        await self._mesh.check_command_line()
        return result

    async def _one_dies(self) -> Tally:
        self._show.tell(Act(f"{DEN.name} hangs with questions on it, and dies"))
        taken = asyncio.Event()

        def hear(event: Event) -> None:
            self._show.tell(event)
            if isinstance(event, Began) and event.spoke == DEN.name:
                taken.set()

        async with self._show.stage():
            self._mesh.freeze(DEN)
            self._show.tell(Froze(DEN.name))
            async with asyncio.TaskGroup() as group:
                asking = group.create_task(self._asker.ask_all(questions.WHILE_ONE_DIES, hear))
                await _in_time(taken, f"no question went to {DEN.name}")
                await self._show.pause()
                await self._kill()
        self._show.tell(asking.result())
        await self._ask_what_only_the_dead_one_had()
        return asking.result()

    async def _kill(self) -> None:
        killed_s = CLOCK.monotonic()
        self._mesh.kill(DEN)
        self._show.tell(Killed(DEN.name))
        await self._mesh.when(DEN, "be taken for lost", lambda spoke: spoke.state is SpokeState.LOST)
        self._show.tell(Lost(DEN.name, CLOCK.monotonic() - killed_s))

    async def _ask_what_only_the_dead_one_had(self) -> None:
        outcome = await self._asker.ask(questions.HELLO, self._show.tell)
        if not (isinstance(outcome, Refused) and outcome.reason == NoSpoke.reason):
            raise Failure(
                f"{questions.HELLO.model} was asked without a spoke that has it, and the mesh did not say so",
                advice="That is a defect of the hub: please report it.",
            )

    async def _it_returns(self) -> Tally:
        self._show.tell(Act(f"{DEN.name} comes back"))
        await self._mesh.restart(DEN)
        return await self._ask(questions.AFTERWARDS)

    async def _over_http(self) -> None:
        """Ask as the apps do that know nothing of a mesh."""
        self._show.tell(Act("Every app that speaks OpenAI's dialect"))
        question = questions.OVER_HTTP
        asking = Asking(self._mesh.url, await self._mesh.create_key(APP_WITH_KEY), question)
        began_s = CLOCK.monotonic()
        text, spoke = await asking.ask()
        took_s = CLOCK.monotonic() - began_s
        is_right = text.strip() == question.answer
        self._show.tell(OverHttp(asking.url, asking.curl, text, spoke, is_right, took_s))
        if not is_right:
            raise Failure(f"over HTTP the answer is {text!r}", advice=REPORT)
        self.curl = asking.curl

    async def _own_ollama(self) -> None:
        """Let a third spoke find the Ollama of this machine. What its models say, nobody can know beforehand."""
        self._show.tell(Act("Your own Ollama"))
        found = await own_ollama.find()
        if isinstance(found, str):
            self._show.tell(NoOllama(found))
            return
        plan = SpokePlan("cellar", (found.model,), slots=1, has_ollama=True)
        await self._mesh.join(plan)
        await self._mesh.start(plan)
        key = await self._key_in_ollama(plan, found.model)
        request = Request(key, messages=(Message(Speaker.USER, GREETING),), max_output_tokens=40)
        began_s = CLOCK.monotonic()
        answer = await self._mesh.app.answer(request, deadline=CLOCK.now() + OLLAMA_PATIENCE)
        took_s = CLOCK.monotonic() - began_s
        self._show.tell(OwnOllama(found.version, found.model, answer.started.spoke, answer.text, took_s))

    async def _key_in_ollama(self, plan: SpokePlan, name: str) -> ModelKey:
        """Give the key of a model in the Ollama of a spoke, once it shows that: others may have one of that name."""
        keys: list[ModelKey] = []

        def has_it(spoke: SpokeStatus) -> bool:
            models = [model for model in spoke.inventory.models if model.engine == OLLAMA]
            keys.extend(model.key(spoke.name) for model in models if model.name == name)
            return bool(keys)

        await self._mesh.when(plan, f"show {name}", has_it)
        return keys[0]

    async def _ask(self, asked: Sequence[Question]) -> Tally:
        async with self._show.stage():
            result = await self._asker.ask_all(asked, self._show.tell)
        self._show.tell(result)
        return result


def _has_all_loaded(spoke: SpokeStatus) -> bool:
    return all(model.loaded is not None for model in spoke.inventory.models)


async def _in_time(event: asyncio.Event, otherwise: str) -> None:
    try:
        async with asyncio.timeout(WAIT_S):
            await event.wait()
    except TimeoutError as error:
        raise Failure(otherwise, advice="Is this machine very busy? Try again when it is not.") from error


def _sum(tallies: Sequence[Tally]) -> Tally:
    spokes = {plan.name for plan in SPOKES}
    return Tally(
        asked=sum(one.asked for one in tallies),
        right=sum(one.right for one in tallies),
        moved=sum(one.moved for one in tallies),
        tokens=sum(one.tokens for one in tallies),
        took_s=sum(one.took_s for one in tallies),
        by_spoke={name: sum(one.by_spoke.get(name, 0) for one in tallies) for name in sorted(spokes)},
    )


def _check(total: Tally) -> None:
    """Raise Failure unless the demo has shown what it is there to show."""
    if total.right < total.asked:
        raise Failure(
            f"{total.asked - total.right} of {total.asked} answers are wrong or missing", advice=REPORT
        )
    if not total.moved:
        raise Failure(f"no question moved from {DEN.name} to {ATTIC.name}", advice=REPORT)
    for name, served in total.by_spoke.items():
        if not served:
            raise Failure(f"{name} answered nothing", advice=REPORT)
