"""What happens: texts are written, a goal is handed over, the hub dies in the middle, and everything is done once."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from rich.live import Live

from examples.demo.mesh import ATTIC, CLOCK, DEN, SpokePlan, running
from hubspoke.cli.delegating.view import View, line_of
from hubspoke.cli.delegating.watching import tree_of
from hubspoke.types import DelegationState, Goal, Input, Mode, Review, SubtaskState, SubtaskStatus, Work

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import Console

    from examples.demo.events import Tell
    from examples.demo.mesh import DemoMesh
    from examples.demo.programs import Programs
    from hubspoke.types import DelegationEvent, DelegationInfo

LOFT: Final = SpokePlan("loft", models=("tiny",), slots=2)
SPOKES: Final = (DEN, ATTIC, LOFT)
GOAL: Final = "count"
NUMBERS: Final = range(25, 61)
"""Each text says how far: `count` on `to 25` is `1 2 3` and so on. Long enough to be killed in the middle."""
KILLED_AFTER: Final = 8
"""Finished texts before the hub is killed."""

BEGUN: Final = "task begun"
JOINED: Final = frozenset({"task joined", "task answered from its result"})


async def play(state: Path, programs: Programs, console: Console, tell: Tell) -> bool:
    """Play it, and say whether every text was done right, and once."""
    console.print("A mesh of its own", style="bold")
    async with running(state, programs, tell) as mesh:
        for plan in SPOKES:
            await mesh.join(plan)
            await mesh.start(plan)
        texts = tuple(_write(state / "texts"))
        console.print(f"\nA goal over a folder of {len(texts)} texts", style="bold")
        console.print(f'  hubspoke delegate "{GOAL}" --input texts/ --mode map --watch', markup=False)
        work = Work("demo-1", Goal(GOAL, mode=Mode.MAP), texts, review=Review.NEVER)
        began_s = CLOCK.monotonic()
        info = await mesh.app.delegations.hand_over(work)
        await _watched(mesh, info, console)
        took_s = CLOCK.monotonic() - began_s
        return _count(await mesh.app.delegations.get(info.id), mesh, took_s, console)


def _write(folder: Path) -> Iterator[Input]:
    folder.mkdir()
    for number in NUMBERS:
        path = folder / f"{number}.txt"
        path.write_text(f"to {number}", encoding="utf-8")
        yield Input(path.name, path.read_text(encoding="utf-8"))


async def _watched(mesh: DemoMesh, info: DelegationInfo, console: Console) -> None:
    """Show what happens until it has ended, and kill the hub on the way."""
    view, has_died = View(), False
    live = Live(console=console, refresh_per_second=8) if console.is_terminal else None
    try:
        if live is not None:
            live.start()
        async with aclosing(mesh.app.delegations.watch(info.id)) as events:
            async for event in events:
                view = view.after(event)
                if live is not None:
                    live.update(tree_of(info.title, view))
                elif line := _plain(event):
                    console.print(f"  {line}", markup=False)
                if not has_died and _done(view) >= KILLED_AFTER:
                    has_died = True
                    console.print(f"  kill -9 of the hub, with {_done(view)} texts done", style="red")
                    began_s = CLOCK.monotonic()
                    await mesh.kill_hub()
                    console.print(f"  it starts again {CLOCK.monotonic() - began_s:.1f} s later", style="red")
    finally:
        if live is not None:
            live.stop()


def _plain(event: DelegationEvent) -> str:
    """Give a line for what is worth one: every change of the whole, and every text that is done."""
    happening = event.happening
    if isinstance(happening, SubtaskStatus) and happening.state is not SubtaskState.DONE:
        return ""
    return line_of(event)


def _done(view: View) -> int:
    return sum(status.state is SubtaskState.DONE for status in view.subtasks.values())


def _count(info: DelegationInfo, mesh: DemoMesh, took_s: float, console: Console) -> bool:
    """Say what became of each text, by the hub's word and by the spokes' logs."""
    begun: Counter[str] = Counter()
    joined = 0
    for plan in SPOKES:
        for line in _events(mesh.log_of(plan)):
            if line["event"] == BEGUN:
                begun[str(line["task"])] += 1
            joined += line["event"] in JOINED
    right = sum(_is_right(status) for status in info.subtasks)
    twice = sum(count > 1 for count in begun.values())
    everything = len(NUMBERS)
    console.print(
        f"\n{info.state}: {right} of {everything} right in {took_s:.1f} s; {len(begun)} begun, {twice} begun twice, "
        f"{joined} joined or answered from a result after the hub came back",
        style="bold",
        markup=False,
    )
    return info.state is DelegationState.SUCCEEDED and right == everything == len(begun) and twice == 0


def _events(log: Path) -> Iterator[dict[str, object]]:
    for text in log.read_text(encoding="utf-8").splitlines():
        if text.startswith("{"):
            line = json.loads(text)
            if isinstance(line, dict) and "event" in line:
                yield line


def _is_right(status: SubtaskStatus) -> bool:
    """Whether a subtask has counted as far as its text says, whichever that was."""
    numbers = status.output.split()
    return numbers == [str(number) for number in range(1, len(numbers) + 1)] and len(numbers) in NUMBERS
