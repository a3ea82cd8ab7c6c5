"""One look of the big model at what small ones did: what it is shown, and what it says."""

from __future__ import annotations

import json
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from hub.core.delegation import quotes
from hub.core.delegation.prompts import Answered, filled
from hubspoke.errors import InvalidOutput
from hubspoke.types import SubtaskId, Verdict, VerdictKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hub.core.delegation.prompts import Family, Told

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})

ROUNDS_MAX: Final = 2
"""Reviews of one subtask: what is still not right then, the big model does itself."""

SHOWN_BYTES: Final = 480
"""Of each answer; the middle of a longer one is left out."""

RESULT_BYTES: Final = 160
"""Of each result that an instruction names."""

GOAL_BYTES: Final = 240
"""Of the goal: what matters of it stands in the instructions."""

EVIDENCE_CHARS_MAX: Final = 600
"""Of the sources around what an answer quotes."""

REASON_CHARS_MAX: Final = 500
"""Of what is passed on to whoever repairs."""

BATCH_BYTES_MAX: Final = 16_000
"""Of one review's prompt: about 4,000 tokens. More answers take another review."""

SCHEMA: Final = json.dumps(
    {
        "type": "object",
        "properties": {
            "verdicts": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "id": {"type": "string"},
                        "reason": {"type": "string"},
                        "verdict": {"enum": [kind.value for kind in VerdictKind]},
                    },
                    "required": ["id", "reason", "verdict"],
                    "additionalProperties": False,
                },
            }
        },
        "required": ["verdicts"],
        "additionalProperties": False,
    },
    separators=(",", ":"),
)
"""What a reviewer has to write. The reason comes first, so that the verdict follows from it."""


class Deed(Enum):
    """What becomes of a subtask after a review."""

    LEAVE = "leave"
    ACCEPT = "accept"
    REPAIR = "repair"
    """It is done over with the reviewer's reason."""
    REDO = "redo"
    """The reviewer's own model does it."""
    RENEW = "renew"
    """It is done as before, of what has become of the things that it builds on."""


def shown(
    id: SubtaskId,  # noqa: A002
    instruction: str,
    output: str,
    sources: Sequence[str] = (),
    results: Mapping[str, str] = NOTHING,
) -> Answered:
    """Give what a reviewer is to see of a subtask: what it quotes with its surroundings, and never whole texts.

    *results* are those of the subtasks before it: where the instruction names one, the reviewer has to know it.
    """
    named = {name: _cut(text, RESULT_BYTES) for name, text in results.items()}
    asked, _ = filled(instruction, named)
    evidence = quotes.evidence(output, [*sources, *results.values()], EVIDENCE_CHARS_MAX)
    return Answered(id, _cut(asked, SHOWN_BYTES), _cut(output, SHOWN_BYTES), evidence)


def needs_review(output: str, *, not_found_allowed: bool) -> bool:
    """Whether there is something to judge: that nothing was found, where that is allowed, is taken as it is."""
    return not (not_found_allowed and quotes.is_not_found(output))


def batches(answered: Iterable[Answered]) -> tuple[tuple[Answered, ...], ...]:
    """Share out *answered* over as few reviews as their lengths allow."""
    found: list[list[Answered]] = []
    left = 0
    for one in answered:
        size = len((one.id + one.instruction + one.output + "".join(one.evidence)).encode())
        if not found or size > left:
            found.append([])
            left = BATCH_BYTES_MAX
        found[-1].append(one)
        left -= size
    return tuple(tuple(batch) for batch in found)


def prompt(family: Family, goal: str, batch: Sequence[Answered]) -> Told:
    """Write what the reviewer is told about one of the `batches`."""
    return family.review(_cut(goal, GOAL_BYTES), batch)


def verdicts(text: str, asked: Sequence[SubtaskId]) -> tuple[Verdict, ...]:
    """Read a reviewer's answer: one verdict for each subtask of *asked*, in that order, and for no other.

    One that it passes over in silence is to be repaired: nothing is accepted that nobody has accepted. Raise
    InvalidOutput for what is no review at all.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidOutput("the review is no JSON; ask again") from error
    listed = value.get("verdicts") if isinstance(value, dict) else None
    if not isinstance(listed, list):
        raise InvalidOutput("the review has no list of verdicts; ask again")
    found: dict[SubtaskId, Verdict] = {}
    for verdict in map(_verdict, listed):
        found.setdefault(verdict.subtask, verdict)
    silence = "the reviewer said nothing about it"
    return tuple(found.get(name, Verdict(name, VerdictKind.REPAIR, silence)) for name in asked)


def after(
    verdict: Verdict | None, rounds: int, rounds_max: int = ROUNDS_MAX, *, is_stale: bool = False
) -> Deed:
    """Say what to do with a subtask after the review number *rounds*, from 1 on: with the last one all repairs end.

    *verdict* is `None` when it was not judged; *is_stale*: what it builds on has changed since it was done.
    """
    if verdict is None or verdict.kind is VerdictKind.ACCEPT:
        if is_stale:
            return Deed.RENEW
        return Deed.LEAVE if verdict is None else Deed.ACCEPT
    is_last = verdict.kind is VerdictKind.REDO or rounds >= rounds_max
    return Deed.REDO if is_last else Deed.REPAIR


def _verdict(value: object) -> Verdict:
    name = value.get("id") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(name, str):
        raise InvalidOutput("a verdict of the review names no subtask; ask again")
    reason = value.get("reason")
    try:
        kind = VerdictKind(str(value.get("verdict")))
    except ValueError as error:
        raise InvalidOutput(f"the review's verdict on {name[:64]!r} is none; ask again") from error
    return Verdict(SubtaskId(name), kind, reason[:REASON_CHARS_MAX] if isinstance(reason, str) else "")


def _cut(text: str, bytes_max: int) -> str:
    """Leave out the middle of what is too long."""
    data = text.encode()
    if len(data) <= bytes_max:
        return text
    head, tail = data[: bytes_max // 2], data[-bytes_max // 2 :]
    left_out = len(data) - len(head) - len(tail)
    return f"{head.decode(errors='ignore')} [{left_out} bytes left out] {tail.decode(errors='ignore')}"
