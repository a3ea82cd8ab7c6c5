"""What an exchange of certificates must not do to the mesh: storms, crashes, damaged files, nodes left behind.

Each case is one that stands among the tests of the mesh; here it runs once more, to be counted.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

from pki.rotation import Kind
from tests.fakes.clock import MovableClock
from tests.fakes.home import ROOT
from tests.fakes.real_hub import real_hub
from tests.mesh import test_kill_nine as kill_nine
from tests.mesh import test_rotation as rotation
from tests.mesh import test_rotation_killed as rotation_killed
from tests.security.cases import Layer, case

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.fakes.real_hub import RealHub
    from tests.security.yard import Yard

STORM_S_MAX = 60.0
A_MOMENT = 9
"""When a hub dies that exchanges its root: with the ninth file that it writes."""


@case(53, "200 nodes that connect while the hub changes its certificate", Layer.HUB)
async def storm(yard: Yard) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.mesh.storm", str(place(yard, "storm"))),
        cwd=ROOT,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(STORM_S_MAX):
        _, errors = await process.communicate()
    assert (process.returncode, b"Traceback" in errors) == (0, False), errors.decode()[-2_000:]
    return "no crash, 0 of 200 failed"


@case(
    56, "kill -9 at every step of joining and renewing, and of a hub in an exchange of its root", Layer.NODE
)
async def killed(yard: Yard) -> str:
    async with asyncio.TaskGroup() as group:
        for step in (
            kill_nine.test_a_join_that_is_killed_at_any_step_goes_on_with_the_token_that_it_kept,
            kill_nine.test_a_renewal_that_is_killed_at_any_step_goes_on_and_looks_like_no_theft,
        ):
            group.create_task(killed_node(step, place(yard, "killed")))
        # Each of its steps, in turn, is a test of its own: `just security-long`.
        dying = group.create_task(rotation_killed.goes_on_after_a_death(place(yard, "dying"), A_MOMENT))
    assert dying.result()
    return "files whole, and it goes on"


async def killed_node(step: Callable[[RealHub, MovableClock], Awaitable[None]], directory: Path) -> None:
    clock = MovableClock()
    async with real_hub(directory, clock) as hub:
        await step(hub, clock)


@case(57, "a new issuer of hubs that is damaged", Layer.ROTATION)
async def damaged(yard: Yard) -> str:
    await rotation.test_a_new_issuer_that_is_damaged_leaves_the_hub_as_it_is(place(yard, "damaged"))
    return "everything stays as it is"


@case(58, "the end of an exchange that a node has not taken over", Layer.ROTATION)
async def left_behind(yard: Yard) -> str:
    await rotation.test_the_end_is_refused_while_a_node_has_not_taken_it_over_unless_it_is_forced(
        place(yard, "left")
    )
    return "laptop holds generation 1"


@case(59, "an exchange that is turned round in each of its phases", Layer.ROTATION)
async def turned_round(yard: Yard) -> str:
    for kind in Kind:
        for phase in rotation.PHASES[kind]:
            await rotation.test_no_call_fails_while_an_exchange_is_turned_round(
                place(yard, f"{kind}-{phase}"), kind, phase
            )
    return "0 calls failed"


def place(yard: Yard, what: str) -> Path:
    """Make a directory for a mesh of its own."""
    directory = yard.hub.directory / yard.name(what)
    directory.mkdir()
    return directory
