"""K11 and K12: whatever is killed whenever, in whichever order the parts end. The seed decides all of it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hubspoke.errors import Unreachable, WrongState
from hubspoke.types import DelegationState, StateChanged, SubtaskState, SubtaskStatus, Verb
from tests.chaos import checks
from tests.chaos.conftest import FIGURES
from tests.chaos.mesh import Watching, hand_over
from tests.chaos.processes import POLL_S
from tests.chaos.works import Part, planned, result_of
from tests.fakes.pauses import pause

if TYPE_CHECKING:
    from hubspoke.client import MeshClient
    from hubspoke.types import DelegationId
    from tests.chaos.mesh import ChaosMesh

SEEDS = int(os.environ.get("CHAOS_SEEDS", "2"))
"""How many seeds are tried on each kind of journal."""

DEEDS = int(os.environ.get("CHAOS_DEEDS", "3"))
"""How much is killed or frozen in each; parts of plans come in proportion. Many in a row cost less than many seeds."""

END_S, DEED_S = 60.0, 5.0
"""A run ends within as many seconds, and as many more for each deed."""

PARTS = (5, 12)
"""In a plan, for three deeds."""

PAUSE_S = (0.02, 0.8)
"""Between two deeds."""


def drawn(chance: random.Random) -> tuple[Part, ...]:
    """Draw a plan: parts that take different times, each of which may need some of those before it."""
    parts: list[Part] = []
    for number in range(chance.randint(*PARTS) * max(1, DEEDS // 3)):
        near = [one.name for one in parts[-PARTS[1] :]]
        needs = chance.sample(near, min(len(near), chance.choice([0, 0, 1, 2, 3])))
        parts.append(Part(f"p{number}", tuple(needs), f"ms={chance.randint(5, 900)}"))
    return tuple(parts)


async def plague(
    mesh: ChaosMesh, chance: random.Random, ending: asyncio.Task[StateChanged]
) -> tuple[int, list[float]]:
    """Kill and freeze, now this one, now that, while there is work; give the kills, and how long the hub took to be back."""
    kills, recovered = 0, []
    for _ in range(DEEDS):
        await pause(chance.uniform(*PAUSE_S))
        if ending.done():
            break
        deed = chance.choice(["hub", "hub", "spoke", "both", "frozen hub", "frozen spoke"])
        spoke = chance.choice(list(mesh.spokes.values()))
        if deed.startswith("frozen"):
            frozen = mesh.hub if deed == "frozen hub" else spoke
            frozen.freeze()
            await pause(chance.uniform(*PAUSE_S))
            frozen.thaw()
            continue
        victims = {"hub": [mesh.hub], "spoke": [spoke], "both": [mesh.hub, spoke]}[deed]
        for victim in victims:
            victim.kill()
        kills += len(victims)
        await pause(chance.uniform(0, 0.5))
        began = time.monotonic()
        if spoke in victims:
            spoke.start()
        if mesh.hub in victims:
            await mesh.start_hub()
            recovered.append(time.monotonic() - began)
    return kills, recovered


async def somebody(client: MeshClient, delegation: DelegationId) -> None:
    """Be the person who lets everything go on that is parked: so much misfortune in a row looks like poison."""
    async for event in client.delegations.watch(delegation):
        happening = event.happening
        if isinstance(happening, SubtaskStatus) and happening.state is SubtaskState.PARKED:
            subtask = happening.id
        elif isinstance(happening, StateChanged) and happening.state is DelegationState.PARKED:
            subtask = ""
        else:
            continue
        with suppress(WrongState):  # of a subtask that is parked the whole is told, too
            await resolved(client, delegation, subtask)


async def resolved(client: MeshClient, delegation: DelegationId, subtask: str) -> None:
    """Have it tried again, over deaths of the hub."""
    while True:
        try:
            await client.delegations.resolve(delegation, Verb.RETRY, subtask=subtask)
        except Unreachable:
            await pause(POLL_S)
        else:
            return


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_the_result_is_right_whoever_dies(mesh: ChaosMesh, seed: int):
    chance = random.Random(seed)
    parts = drawn(chance)
    async with mesh.app() as client:
        info = await hand_over(client, planned(*parts))
        watching = Watching(client, info.id)
        ending = asyncio.create_task(watching.to_the_end(END_S + DEEDS * DEED_S))
        helping = asyncio.create_task(somebody(client, info.id))
        kills, recovered = await plague(mesh, chance, ending)
        last = await ending
        await helping
    assert (last.state, last.result) == (DelegationState.SUCCEEDED, result_of(*parts))
    assert checks.is_dense(watching.events)
    if FIGURES:
        _note(mesh, seed, kills, recovered)
    assert checks.repeated(mesh.moments, mesh.killed) == []


def _note(mesh: ChaosMesh, seed: int, kills: int, recovered: list[float]) -> None:
    moments = mesh.moments
    line = {
        "seed": seed,
        "journal": "postgres" if mesh.url else "sqlite",
        "kills": kills,
        "begun": sum(one.what == "begun" for one in moments),
        "finished": sum(checks.finished(moments, mesh.killed).values()),
        "repeated": len(checks.repeated(moments, mesh.killed)),
        "listening_again_s": recovered,
    }
    with Path(FIGURES).open("a", encoding="utf-8") as file:
        file.write(f"{json.dumps(line)}\n")
