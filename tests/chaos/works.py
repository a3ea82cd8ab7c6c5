"""Work to hand over, and the result that is right."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace

from hubspoke.types import Goal, Merge, Mode, Plan, Review, SideEffect, Subtask, SubtaskId, Work
from tests.chaos.engine import WORKER


@dataclass(frozen=True)
class Part:
    """A subtask: what it needs, and what happens on the way, as `engine.Orders` has it."""

    name: str
    needs: tuple[str, ...] = ()
    orders: str = ""


def part(part: Part, **more: object) -> Subtask:
    """Give *part* as it is handed over."""
    text = " ".join(f"{{{name}}}" for name in part.needs) or "x"
    return Subtask(
        SubtaskId(part.name),
        f"«{part.name}|{part.orders}|{text}»",
        depends_on=tuple(map(SubtaskId, part.needs)),
        model=WORKER,
        **more,
    )


def planned(*parts: Part, **more: object) -> Work:
    """Hand over a plan whose outputs become one text by rule; *more* is said of each subtask."""
    return Work(str(uuid.uuid4()), Plan(tuple(part(one, **more) for one in parts)))


def reviewed(*parts: Part, orders: str = "") -> Work:
    """Hand over a plan whose outputs are reviewed and put together by the orchestrator; *orders* are for these steps."""
    plan = Plan(tuple(map(part, parts)), Merge.MODEL, f"put it together {orders}")
    return Work(str(uuid.uuid4()), plan, review=Review.ALWAYS)


def goal(*parts: Part, orders: str = "") -> Work:
    """Hand over a goal that the orchestrator makes a plan of: *parts*, which need nothing."""
    marks = " ".join(f"«{one.name}|{one.orders}|x»" for one in parts)
    return Work(str(uuid.uuid4()), Goal(f"Do {marks} {orders}", mode=Mode.DAG))


def delicate(work: Work) -> Work:
    """Have every subtask of *work* be one that must not be done twice."""
    assert isinstance(work.task, Plan)
    subtasks = tuple(replace(one, side_effect=SideEffect.NON_IDEMPOTENT) for one in work.task.subtasks)
    return replace(work, task=replace(work.task, subtasks=subtasks))


def result_of(*parts: Part) -> str:
    """Say what is right: the outputs that no other part needs, one a line."""
    outputs: dict[str, str] = {}
    for one in parts:
        outputs[one.name] = f"{one.name}({' '.join(outputs[name] for name in one.needs) or 'x'})"
    needed = {name for one in parts for name in one.needs}
    return "\n".join(output for name, output in outputs.items() if name not in needed)


MIDDLE = tuple(f"m{number}" for number in range(4))
"""The parts of a diamond that run side by side."""


def diamond(orders: str = "", *, width: int = 4) -> tuple[Part, ...]:
    """Give one part that all others need, *width* side by side, which obey *orders*, and one that needs them all."""
    middle = tuple(Part(f"m{number}", ("first",), orders) for number in range(width))
    return (Part("first"), *middle, Part("last", tuple(one.name for one in middle)))
