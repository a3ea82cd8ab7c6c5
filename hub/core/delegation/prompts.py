"""What a model is told for each step of a delegation: templates, one set for each family of models.

Every prompt is one turn of the user. What it quotes was written by others, who may try to give orders in it: so it
stands between marks, and the answer has to keep to a schema wherever a program reads it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hubspoke.types import SubtaskId

NOT_FOUND: Final = "not found"
"""What a subtask answers when its source does not hold what was asked for."""

_REFERENCE: Final = re.compile(r"\{([A-Za-z0-9_-]{1,64})\}")


class Source(NamedTuple):
    """A text to work on, and what to call it."""

    name: str
    text: str


class Helper(NamedTuple):
    """A model that can be given subtasks, and what it is good for."""

    model: str
    good_for: str


class Answered(NamedTuple):
    """A subtask that was done. *evidence* are the passages of its sources that bear on the output."""

    id: SubtaskId
    instruction: str
    output: str
    evidence: Sequence[str] = ()


class PlanAsk(NamedTuple):
    """What a plan is made from. *refused* says what was wrong with the plan before this one, if there was one."""

    goal: str
    sources: Sequence[Source] = ()
    helpers: Sequence[Helper] = ()
    refused: str = ""


Told: TypeAlias = str
"""A prompt."""


@dataclass(frozen=True, slots=True)
class Family:
    """How models of one kind are told what to do.

    *solo*: the whole goal at once. *plan*: take it apart. *work*: an instruction, on some texts. *repair*: an
    instruction again, with the output that was refused and the reason. *review*: judge what was done for a goal.
    *merge*: write the result from the parts; `None` for models that cannot, whose results are put together by rule.
    """

    solo: Callable[[str, Sequence[Source]], Told]
    plan: Callable[[PlanAsk], Told]
    work: Callable[[str, Sequence[Source]], Told]
    repair: Callable[[str, Sequence[Source], str, str], Told]
    review: Callable[[str, Sequence[Answered]], Told]
    merge: Callable[[str, Sequence[Answered]], Told] | None


def references(instruction: str) -> frozenset[str]:
    """Give the names that stand in braces in *instruction*."""
    return frozenset(match[1] for match in _REFERENCE.finditer(instruction))


def filled(instruction: str, outputs: Mapping[str, str]) -> tuple[str, tuple[Source, ...]]:
    """Put each of *outputs*, by subtask, where *instruction* names it as `{id}`; the others become texts to work on."""
    named = references(instruction) & outputs.keys()
    text = _REFERENCE.sub(lambda match: outputs.get(match[1], match[0]), instruction)
    rest = tuple(Source(f"result of {name}", output) for name, output in outputs.items() if name not in named)
    return text, rest
