"""Work that is handed over: every field is checked here, once, before anything is accepted."""

from __future__ import annotations

import hashlib
from graphlib import CycleError, TopologicalSorter
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from google.protobuf import json_format
from google.protobuf.message import DecodeError

from hubspoke.api.delegation.v1 import delegation_pb2 as pb
from hubspoke.errors import InvalidRequest
from hubspoke.types import (
    Excerpt,
    Goal,
    Input,
    Limits,
    Merge,
    Mode,
    Plan,
    Priority,
    Review,
    SideEffect,
    Subtask,
    SubtaskId,
    Work,
)
from hubspoke.wire import enums, times
from hubspoke.wire.allowed import MODEL_BYTES_MAX
from hubspoke.wire.checks import named, short
from hubspoke.wire.requests import (
    format_from_wire,
    format_to_wire,
    priority_from_wire,
    request_from_wire,
    request_to_wire,
)
from hubspoke.wire.sendable import sendable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import TypeVar

    from hubspoke.types import Request

    T = TypeVar("T")

REQUEST_ID_CHARS_MAX: Final = 128
SUBTASKS_MAX: Final = 256
INSTRUCTION_BYTES_MAX: Final = 64 * 1024
INPUTS_MAX: Final = 256
INPUT_NAME_CHARS_MAX: Final = 256
INPUT_BYTES_MAX: Final = 1024 * 1024
ALL_INPUTS_BYTES_MAX: Final = 8 * 1024 * 1024
READS_MAX: Final = 256
"""Excerpts that one subtask reads."""
SUBTASK_ATTEMPTS_MAX: Final = 10
ATTEMPTS: Final = 3
"""Unless told."""
REVIEW_ROUNDS_MAX: Final = 2
PARALLEL: Final = 32
"""Unless told."""
LABELS_MAX: Final = 16
LABEL_NAME_BYTES_MAX: Final = 64
LABEL_VALUE_BYTES_MAX: Final = 256
TASK_BYTES_MAX: Final = 64
LANE_BYTES_MAX: Final = 128
OUTPUT_SHOWN_BYTES: Final = 16 * 1024
"""Of an output in an event; what is longer ends with the digest of the whole."""
TIMEOUT_S_MAX: Final = 86_400.0


def digest_of(work: Work) -> str:
    """Give what tells *work* from any other, whoever encoded it and however."""
    return hashlib.sha256(work_to_bytes(work)).hexdigest()


def work_to_bytes(work: Work) -> bytes:
    """Encode *work*, equal work equally."""
    return work_to_wire(work).SerializeToString(deterministic=True)


def work_from_bytes(body: bytes) -> Work:
    """Check encoded work; raise InvalidRequest that names the field."""
    try:
        message = pb.DelegateRequest.FromString(body)
    except DecodeError as error:
        raise InvalidRequest(
            "the request is no DelegateRequest; encode it with the published protos"
        ) from error
    return work_from_wire(message)


@sendable()
def work_to_wire(work: Work) -> pb.DelegateRequest:
    """Give work that is handed over as a message; raise InvalidRequest for text that no message can carry."""
    message = pb.DelegateRequest(
        request_id=work.request_id,
        inputs=[pb.Input(name=each.name, text=each.text) for each in work.inputs],
        limits=_limits_to_wire(work.limits),
        partial=work.partial,
        review=enums.REVIEW.to_wire(work.review),
        priority=enums.PRIORITY.to_wire(work.priority),
        labels=dict(work.labels),
    )
    if isinstance(work.task, Goal):
        goal = work.task
        message.goal.CopyFrom(
            pb.Goal(
                text=goal.text,
                format=None if goal.format is None else format_to_wire(goal.format),
                mode=enums.MODE.to_wire(goal.mode),
            )
        )
    else:
        message.plan.CopyFrom(plan_to_wire(work.task))
    return message


def work_from_wire(message: pb.DelegateRequest) -> Work:
    """Check work that is handed over; raise InvalidRequest that names the field."""
    inputs = tuple(_inputs(message.inputs))
    return Work(
        request_id=_printable("request_id", message.request_id, REQUEST_ID_CHARS_MAX),
        task=_task(message, inputs),
        inputs=inputs,
        limits=_limits_from_wire(message.limits),
        partial=message.partial,
        review=_or(Review.AUTO, enums.REVIEW.from_wire, message.review),
        priority=_or(Priority.BATCH, priority_from_wire, message.priority),
        labels=labels_from_wire(message.labels),
    )


def labels_from_wire(labels: Mapping[str, str]) -> Mapping[str, str]:
    """Check labels; raise InvalidRequest when they are too many or too long."""
    if len(labels) > LABELS_MAX:
        raise InvalidRequest(f"labels has {len(labels)} entries; at most {LABELS_MAX} are taken")
    for name, value in labels.items():
        if not name:
            raise InvalidRequest("labels has one without a name; give it one")
        short("labels", name, LABEL_NAME_BYTES_MAX)
        short("labels", value, LABEL_VALUE_BYTES_MAX)
    return MappingProxyType(dict(labels))


def plan_from_json(text: str, inputs: Sequence[Input]) -> Plan:
    """Read a plan as people write it: protobuf's JSON of a `Plan`. Raise InvalidRequest that says what is wrong."""
    try:
        return plan_from_wire(json_format.Parse(text, pb.Plan()), inputs)
    except json_format.ParseError as error:
        raise InvalidRequest(f"this is no plan: {error}") from error


def plan_to_wire(plan: Plan) -> pb.Plan:
    """Give a plan as a message."""
    return pb.Plan(
        subtasks=[_subtask_to_wire(subtask) for subtask in plan.subtasks],
        merge=enums.MERGE.to_wire(plan.merge),
        merge_instruction=plan.merge_instruction,
    )


def plan_from_wire(message: pb.Plan, inputs: Sequence[Input]) -> Plan:
    """Check a plan for *inputs*: sizes, names, and that its subtasks can be done one after the other."""
    if not 1 <= len(message.subtasks) <= SUBTASKS_MAX:
        raise InvalidRequest(f"plan.subtasks has {len(message.subtasks)} entries; give 1 to {SUBTASKS_MAX}")
    texts = {each.name: each.text.encode() for each in inputs}
    subtasks = tuple(_subtask_from_wire(subtask, texts) for subtask in message.subtasks)
    _check_order(subtasks)
    merge = _or(Merge.CONCAT, enums.MERGE.from_wire, message.merge)
    if (merge is Merge.MODEL) != bool(message.merge_instruction):
        raise InvalidRequest("plan.merge_instruction goes with merge MODEL, and MODEL with an instruction")
    return Plan(
        subtasks, merge, short("plan.merge_instruction", message.merge_instruction, INSTRUCTION_BYTES_MAX)
    )


def plan_from_bytes(body: bytes, inputs: Sequence[Input]) -> Plan:
    """Check an encoded plan for *inputs*; raise InvalidRequest that names the field."""
    try:
        message = pb.Plan.FromString(body)
    except DecodeError as error:
        raise InvalidRequest("the plan is no Plan; encode it with the published protos") from error
    return plan_from_wire(message, inputs)


def _task(message: pb.DelegateRequest, inputs: Sequence[Input]) -> Goal | Plan:
    match message.WhichOneof("work"):
        case "goal":
            goal = message.goal
            return Goal(
                text=_filled("goal.text", goal.text, INSTRUCTION_BYTES_MAX),
                format=format_from_wire(goal.format) if goal.HasField("format") else None,
                mode=_or(Mode.AUTO, enums.MODE.from_wire, goal.mode),
            )
        case "plan":
            return plan_from_wire(message.plan, inputs)
        case None:
            raise InvalidRequest("work is missing; give a goal or a plan")


def _inputs(messages: Sequence[pb.Input]) -> Iterable[Input]:
    if len(messages) > INPUTS_MAX:
        raise InvalidRequest(f"inputs has {len(messages)} entries; at most {INPUTS_MAX} are taken")
    seen: set[str] = set()
    total = 0
    for message in messages:
        name = _printable("inputs.name", message.name, INPUT_NAME_CHARS_MAX)
        if name in seen:
            raise InvalidRequest(f"inputs has two that are called {name!r}; give each its own name")
        seen.add(name)
        text = _filled(f"input {name!r}", message.text, INPUT_BYTES_MAX)
        total += len(text.encode())
        if total > ALL_INPUTS_BYTES_MAX:
            raise InvalidRequest(f"inputs are longer than {ALL_INPUTS_BYTES_MAX} bytes together")
        yield Input(name, text)


def _subtask_to_wire(subtask: Subtask) -> pb.Subtask:
    return pb.Subtask(
        id=subtask.id,
        instruction=subtask.instruction,
        depends_on=subtask.depends_on,
        reads=[pb.Excerpt(input=each.input, begin=each.begin, end=each.end) for each in subtask.reads],
        model=subtask.model,
        format=None if subtask.format is None else format_to_wire(subtask.format),
        max_output_tokens=subtask.max_output_tokens,
        checks=[enums.CHECK.to_wire(check) for check in subtask.checks],
        side_effect=enums.SIDE_EFFECT.to_wire(subtask.side_effect),
        attempts_max=subtask.attempts_max,
        timeout=times.duration_or_none(subtask.timeout_s),
        task=subtask.task,
        request=None if subtask.request is None else request_to_wire(subtask.request),
    )


def _subtask_from_wire(message: pb.Subtask, texts: Mapping[str, bytes]) -> Subtask:
    name = named("plan.subtasks.id", message.id)
    if message.attempts_max > SUBTASK_ATTEMPTS_MAX:
        raise InvalidRequest(f"subtask {name}: attempts_max is more than {SUBTASK_ATTEMPTS_MAX}")
    if len(message.reads) > READS_MAX:
        raise InvalidRequest(f"subtask {name}: reads has more than {READS_MAX} entries")
    timeout_s = times.seconds(message.timeout) if message.HasField("timeout") else None
    if timeout_s is not None and not 0 < timeout_s <= TIMEOUT_S_MAX:
        raise InvalidRequest(f"subtask {name}: timeout is {timeout_s:g} s; give up to {TIMEOUT_S_MAX:g}")
    return Subtask(
        id=SubtaskId(name),
        instruction=_filled(f"subtask {name}: instruction", message.instruction, INSTRUCTION_BYTES_MAX),
        depends_on=tuple(SubtaskId(other) for other in message.depends_on),
        reads=tuple(_excerpt(name, read, texts) for read in message.reads),
        model=short(f"subtask {name}: model", message.model, MODEL_BYTES_MAX),
        format=format_from_wire(message.format) if message.HasField("format") else None,
        max_output_tokens=message.max_output_tokens,
        checks=tuple(enums.CHECK.from_wire(check) for check in message.checks),
        side_effect=_or(SideEffect.NONE, enums.SIDE_EFFECT.from_wire, message.side_effect),
        attempts_max=message.attempts_max or ATTEMPTS,
        timeout_s=timeout_s,
        task=short(f"subtask {name}: task", message.task, TASK_BYTES_MAX),
        request=_request(name, message) if message.HasField("request") else None,
    )


def _request(subtask: str, message: pb.Subtask) -> Request:
    """Check the request of a subtask, which is asked as it is; raise InvalidRequest for what goes not with it."""
    if message.depends_on or message.reads or message.checks or message.max_output_tokens:
        raise InvalidRequest(
            f"subtask {subtask}: a request has no depends_on, reads, checks and limits beside it"
        )
    if message.HasField("format"):
        raise InvalidRequest(f"subtask {subtask}: the format of a request stands in the request")
    request, deadline = request_from_wire(message.request)
    if request.tools or deadline is not None:
        raise InvalidRequest(f"subtask {subtask}: a request has no tools and no deadline here")
    if request.model != message.model:
        raise InvalidRequest(f"subtask {subtask}: the model of the request is another one than the subtask's")
    return request


def _excerpt(subtask: str, message: pb.Excerpt, texts: Mapping[str, bytes]) -> Excerpt:
    text = texts.get(message.input)
    if text is None:
        raise InvalidRequest(f"subtask {subtask}: reads {message.input[:64]!r}, which is no input")
    end = message.end or len(text)
    try:
        is_one = message.begin < end <= len(text) and bool(text[message.begin : end].decode())
    except UnicodeDecodeError:
        is_one = False
    if not is_one:
        raise InvalidRequest(
            f"subtask {subtask}: bytes {message.begin} to {end} are no text of input {message.input!r}"
        )
    return Excerpt(message.input, message.begin, message.end)


def _check_order(subtasks: Sequence[Subtask]) -> None:
    known = {subtask.id for subtask in subtasks}
    if len(known) < len(subtasks):
        raise InvalidRequest("plan.subtasks has two of the same id; give each its own")
    for subtask in subtasks:
        if missing := set(subtask.depends_on) - known:
            raise InvalidRequest(
                f"subtask {subtask.id}: depends_on has {min(missing)[:64]!r}, which the plan does not"
            )
    try:
        TopologicalSorter({subtask.id: subtask.depends_on for subtask in subtasks}).prepare()
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise InvalidRequest(f"plan: subtasks wait for each other in a circle: {circle[:256]}") from error


def _limits_to_wire(limits: Limits) -> pb.Limits:
    return pb.Limits(
        deadline=None if limits.deadline is None else times.timestamp(limits.deadline),
        orchestrator_tokens_max=limits.orchestrator_tokens_max or 0,
        worker_tokens_max=limits.worker_tokens_max or 0,
        review_rounds_max=limits.review_rounds_max,
        parallel_max=limits.parallel_max,
        lane=limits.lane,
    )


def _limits_from_wire(message: pb.Limits) -> Limits:
    if message.review_rounds_max > REVIEW_ROUNDS_MAX:
        raise InvalidRequest(f"limits.review_rounds_max is more than {REVIEW_ROUNDS_MAX}")
    if message.parallel_max > SUBTASKS_MAX:
        raise InvalidRequest(f"limits.parallel_max is more than {SUBTASKS_MAX}")
    return Limits(
        deadline=times.moment(message.deadline, "limits.deadline") if message.HasField("deadline") else None,
        orchestrator_tokens_max=message.orchestrator_tokens_max or None,
        worker_tokens_max=message.worker_tokens_max or None,
        review_rounds_max=message.review_rounds_max or REVIEW_ROUNDS_MAX,
        parallel_max=message.parallel_max or PARALLEL,
        lane=short("limits.lane", message.lane, LANE_BYTES_MAX),
    )


def _filled(field: str, value: str, bytes_max: int) -> str:
    if not value:
        raise InvalidRequest(f"{field} is empty")
    return short(field, value, bytes_max)


def _printable(field: str, value: str, chars_max: int) -> str:
    if not (value and value.isprintable() and len(value) <= chars_max):
        raise InvalidRequest(f"{field} is not 1 to {chars_max} printable characters")
    return value


def _or(default: T, from_wire: Callable[[int], T], value: int) -> T:
    """Read an enum whose UNSPECIFIED, 0, means *default*."""
    return from_wire(value) if value else default
