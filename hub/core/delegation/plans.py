"""Plans: read from what a planner wrote, made by rule where no planner is needed, and checked, whoever made them."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from hub.core.delegation import graph, prompts
from hubspoke.errors import InvalidRequest
from hubspoke.types import Check, Excerpt, JsonFormat, Merge, Plan, Subtask, SubtaskId

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

PLANNED_MAX: Final = 12
"""Subtasks of a plan that a model makes; it loses the thread beyond."""

SUBTASKS_MAX: Final = 256
"""Subtasks of any plan."""

INSTRUCTION_BYTES_MAX: Final = 64 * 1024
FIELDS_MAX: Final = 32
TASKS: Final = ("extract", "classify", "format", "reason", "write")
"""Kinds of work that a planner tells apart."""

MERGES: Final = tuple(merge.value for merge in Merge if merge is not Merge.EACH)
"""What a planner may choose from: a goal has one result."""

MERGE_INSTRUCTION: Final = "Write the result that the goal asks for."

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FIELD: Final = re.compile(r"[^\x00-\x1f]{1,64}")


def _schema() -> str:
    strings = {"type": "array", "items": {"type": "string"}}
    subtask = {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "instruction": {"type": "string"},
            "depends_on": strings,
            "inputs": strings,
            "task": {"enum": list(TASKS)},
            "model": {"type": "string"},
            "fields": strings,
            "checks": {"type": "array", "items": {"enum": [check.value for check in Check]}},
        },
        "required": ["id", "instruction"],
        "additionalProperties": False,
    }
    return json.dumps(
        {
            "type": "object",
            "properties": {
                "subtasks": {"type": "array", "items": subtask, "minItems": 1, "maxItems": PLANNED_MAX},
                "merge": {"enum": list(MERGES)},
            },
            "required": ["subtasks", "merge"],
            "additionalProperties": False,
        },
        separators=(",", ":"),
    )


SCHEMA: Final = _schema()
"""What a planner has to write."""


def planned(text: str, *, inputs: Collection[str], models: Collection[str]) -> Plan:
    """Read the plan that a model wrote for a goal with these *inputs*, for helpers by the names *models*.

    What it says of a model that is not there is passed over: who does a subtask is better known here. Raise
    InvalidRequest, in words that the planner can mend its plan by.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("it is no JSON") from error
    listed = value.get("subtasks") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(listed, list):
        raise InvalidRequest("it has no list of subtasks")
    if not 0 < len(listed) <= PLANNED_MAX:
        raise InvalidRequest(f"it has {len(listed)} subtasks, and 1 to {PLANNED_MAX} are allowed")
    subtasks = tuple(_subtask(one, inputs, models) for one in listed)
    try:
        merge = Merge(value.get("merge", Merge.CONCAT))
    except ValueError as error:
        raise InvalidRequest(f"merge is not one of {', '.join(MERGES)}") from error
    if merge not in MERGES:
        raise InvalidRequest(f"merge is not one of {', '.join(MERGES)}")
    plan = Plan(subtasks, merge, MERGE_INSTRUCTION if merge is Merge.MODEL else "")
    check(plan, inputs)
    return plan


def listed(parts: Sequence[str], inputs: Sequence[str], models: Sequence[str], *, merge: Merge) -> Plan:
    """Make the plan for *parts* of a goal that do not need each other, with a model for each; all read all *inputs*."""
    reads = tuple(Excerpt(name) for name in inputs)
    subtasks = tuple(
        Subtask(SubtaskId(f"part-{place}"), part, reads=reads, model=model)
        for place, (part, model) in enumerate(zip(parts, models, strict=True), start=1)
    )
    return Plan(subtasks, merge, MERGE_INSTRUCTION if merge is Merge.MODEL else "")


def mapped(instruction: str, pieces: Sequence[Excerpt], models: Sequence[str], *, merge: Merge) -> Plan:
    """Make the plan that has *instruction* done on each of *pieces*, with a model for each."""
    subtasks = tuple(
        Subtask(SubtaskId(f"piece-{place}"), instruction, reads=(piece,), model=model, task="extract")
        for place, (piece, model) in enumerate(zip(pieces, models, strict=True), start=1)
    )
    return Plan(subtasks, merge, MERGE_INSTRUCTION if merge is Merge.MODEL else "")


def check(plan: Plan, inputs: Collection[str]) -> None:
    """Raise InvalidRequest unless *plan* can be carried out with these *inputs*: unknown names, circles, two of one id."""
    if not 0 < len(plan.subtasks) <= SUBTASKS_MAX:
        raise InvalidRequest(f"a plan has 1 to {SUBTASKS_MAX} subtasks, not {len(plan.subtasks)}")
    twice = [name for name, count in Counter(one.id for one in plan.subtasks).items() if count > 1]
    if twice:
        raise InvalidRequest(f"{len(twice)} ids are used twice: {twice[0]!r} for one")
    graph.levels(graph_of(plan))
    names = {one.id for one in plan.subtasks}
    for subtask in plan.subtasks:
        _check_references(subtask, names)
        for excerpt in subtask.reads:
            if excerpt.input not in inputs:
                raise InvalidRequest(
                    f"subtask {subtask.id!r} reads {excerpt.input!r}, which is not among the inputs"
                )


def graph_of(plan: Plan) -> dict[str, tuple[SubtaskId, ...]]:
    """Give what each subtask of *plan* waits for."""
    return {subtask.id: subtask.depends_on for subtask in plan.subtasks}


def _check_references(subtask: Subtask, names: Collection[str]) -> None:
    """Hold that a result that is used is waited for; braces around anything else are text."""
    for name in prompts.references(subtask.instruction):
        if name in names and name not in subtask.depends_on:
            raise InvalidRequest(f"subtask {subtask.id!r} uses {{{name}}}, but does not depend on it")


def _subtask(value: object, inputs: Collection[str], models: Collection[str]) -> Subtask:
    if not isinstance(value, dict):
        raise InvalidRequest("a subtask is no object")
    name, instruction = value.get("id"), value.get("instruction")
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise InvalidRequest("a subtask has no id of 1 to 64 letters, digits, _ and -")
    if not isinstance(instruction, str) or not instruction.strip():
        raise InvalidRequest(f"subtask {name!r} has no instruction")
    if len(instruction.encode()) > INSTRUCTION_BYTES_MAX:
        raise InvalidRequest(
            f"the instruction of subtask {name!r} is longer than {INSTRUCTION_BYTES_MAX} bytes"
        )
    reads = _strings(value, "inputs", name)
    unknown = [one for one in reads if one not in inputs]
    if unknown:
        raise InvalidRequest(f"subtask {name!r} reads {unknown[0]!r}, which is not among the inputs")
    model, task = value.get("model"), value.get("task")
    return Subtask(
        SubtaskId(name),
        instruction.strip(),
        depends_on=tuple(map(SubtaskId, dict.fromkeys(_strings(value, "depends_on", name)))),
        reads=tuple(Excerpt(one) for one in dict.fromkeys(reads)),
        model=model if isinstance(model, str) and model in models else "",
        format=_format(_strings(value, "fields", name), name),
        checks=_checks(value, name),
        task=task if isinstance(task, str) and task in TASKS else "",
    )


def _strings(value: Mapping[str, object], field: str, name: str) -> list[str]:
    strings = value.get(field, [])
    if not isinstance(strings, list) or not all(isinstance(one, str) for one in strings):
        raise InvalidRequest(f"{field} of subtask {name!r} is no list of strings")
    return strings


def _format(fields: Sequence[str], name: str) -> JsonFormat | None:
    """Ask for a JSON object with these *fields*, for text without any."""
    if not fields:
        return None
    if len(fields) > FIELDS_MAX or not all(_FIELD.fullmatch(field) for field in fields):
        raise InvalidRequest(
            f"subtask {name!r} has more than {FIELDS_MAX} fields, or one without a usable name"
        )
    properties = {field: {"type": ["string", "number", "boolean", "null"]} for field in fields}
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return JsonFormat(json.dumps(schema, separators=(",", ":")))


def _checks(value: Mapping[str, object], name: str) -> tuple[Check, ...]:
    try:
        return tuple(dict.fromkeys(map(Check, _strings(value, "checks", name))))
    except ValueError as error:
        raise InvalidRequest(f"a check of subtask {name!r} is not one of {', '.join(Check)}") from error
