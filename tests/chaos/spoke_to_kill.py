"""A real spoke around `engine.PureEngine`: `python -m tests.chaos.spoke_to_kill <state> <hub>...`."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from hubspoke import grpc_settings, logs, loop
from hubspoke.clock import SystemClock
from hubspoke.signals import stop_signals
from hubspoke.types import HostMemory, Place, Task
from pki.files import NodeFiles
from spoke.agent import Agent
from spoke.gpu.none import NoGpus
from spoke.link.machine import Machine
from spoke.link.tasks.results import Result, Results
from spoke.link.tasks.running import Tasks
from tests.chaos.engine import DIARY, SLOTS, TASK, Diary, PureEngine
from tests.chaos.points import DIRECTORY, Point, arm

RECONNECT_CHANCE = 0.1
"""Spokes come back soon."""


async def main() -> None:
    state, *hubs = sys.argv[1:]
    run, name = Path(os.environ[DIRECTORY]), Path(state).parent.name
    diary = Diary(run / DIARY, name)
    _write_down(diary)
    arm(name, spoke_points())
    agent = Agent(
        NodeFiles(Path(state)),
        Machine([PureEngine(run, diary)], NoGpus(), lambda: HostMemory(1 << 34, 1 << 33)),
        hubs=hubs,
        slots=SLOTS,
        version="test",
        clock=SystemClock(),
        chance=lambda: RECONNECT_CHANCE,
    )
    with stop_signals(agent.stop):
        await agent.run()


def _write_down(diary: Diary) -> None:
    """Have the diary say which task a generation was for, and when its result was on the disk."""
    answer, save = Tasks.answer, Results.save

    def noted_answer(
        tasks: Tasks, task: Task, place: Place, ask: Callable[[], AsyncGenerator]
    ) -> AsyncGenerator:
        token = TASK.set(task.key)
        try:
            return answer(tasks, task, place, ask)  # what it starts has the key in its context
        finally:
            TASK.reset(token)

    def noted_save(results: Results, result: Result) -> bool:
        is_kept = save(results, result)
        if is_kept:
            diary.note("kept", result.key)
        return is_kept

    Tasks.answer, Results.save = noted_answer, noted_save


def spoke_points() -> dict[str, Point]:
    """Give the moments of a spoke."""

    return {
        "assigned": Point(Tasks, "answer", is_before=True),
        "stored": Point(Results, "save"),
        "settling": Point(Tasks, "settle", is_before=True),
    }


if __name__ == "__main__":
    grpc_settings.prepare(os.environ)
    logs.configure("info")
    loop.run(main)
