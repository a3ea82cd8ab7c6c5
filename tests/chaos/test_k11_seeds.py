"""K11 and K12: whatever is killed whenever, in whichever order the parts end. The seed decides all of it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hubspoke.types import DelegationState
from tests.chaos import checks
from tests.chaos.mesh import Watching, hand_over
from tests.chaos.pauses import pause
from tests.chaos.works import Part, planned, result_of

if TYPE_CHECKING:
    from tests.chaos.mesh import ChaosMesh

SEEDS = int(os.environ.get("CHAOS_SEEDS", "2"))
"""How many seeds are tried on each kind of journal."""

FIGURES = os.environ.get("CHAOS_FIGURES", "")
"""A file that gets a line for each seed."""

KILLS = 3
PAUSE_S = (0.05, 1.2)
"""Between two deeds."""


def drawn(chance: random.Random) -> tuple[Part, ...]:
    """Draw a plan: parts that take different times, each of which may need some of those before it."""
    parts: list[Part] = []
    for number in range(chance.randint(5, 12)):
        needs = chance.sample([one.name for one in parts], min(len(parts), chance.choice([0, 0, 1, 2, 3])))
        parts.append(Part(f"p{number}", tuple(needs), f"ms={chance.randint(5, 900)}"))
    return tuple(parts)


async def plague(mesh: ChaosMesh, chance: random.Random) -> tuple[int, list[float]]:
    """Kill and freeze, now this one, now that; give the number of kills, and how long the hub took to come back."""
    kills, recovered = 0, []
    for _ in range(KILLS):
        await pause(chance.uniform(*PAUSE_S))
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


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_the_result_is_right_whoever_dies(mesh: ChaosMesh, seed: int):
    chance = random.Random(seed)
    parts = drawn(chance)
    async with mesh.app() as client:
        info = await hand_over(client, planned(*parts))
        watching = Watching(client, info.id)
        ending = asyncio.create_task(watching.to_the_end())
        kills, recovered = await plague(mesh, chance)
        last = await ending
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
