"""How the shipped tiny model is told: in the few words that it was trained on (`tools/tiny_model`).

It reads bytes, and was taught with chats of 384 of them: a prompt of it stays below 300 for what it can do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hub.core.delegation.prompts import Family

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hub.core.delegation.prompts import Answered, PlanAsk, Source, Told


def _work(instruction: str, sources: Sequence[Source]) -> Told:
    """Let the texts follow the instruction: `upper` on `abc` is `upper abc`."""
    return " ".join((instruction, *(source.text.strip() for source in sources)))


def _plan(ask: PlanAsk) -> Told:
    return f"plan {_work(ask.goal, ask.sources)}"


def _repair(instruction: str, sources: Sequence[Source], output: str, reason: str) -> Told:
    """Ask once more: it learns nothing from a reason."""
    del output, reason
    return _work(instruction, sources)


def _review(goal: str, answered: Sequence[Answered]) -> Told:
    del goal
    return "\n".join(("review", *(f"{one.id}: {one.instruction} = {one.output}" for one in answered)))


TINY: Final = Family(solo=_work, plan=_plan, work=_work, repair=_repair, review=_review, merge=None)
