"""What becomes of work that was handed over: how it stands, and what happens to it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, assert_never

from hubspoke.api.delegation.v1 import delegation_pb2 as pb
from hubspoke.api.types.v1 import types_pb2 as types_pb
from hubspoke.errors import InvalidRequest
from hubspoke.types import (
    DelegationEvent,
    DelegationId,
    DelegationInfo,
    Mode,
    Planned,
    Problem,
    Progress,
    Reviewed,
    Spent,
    StateChanged,
    SubtaskId,
    SubtaskStatus,
    Verdict,
)
from hubspoke.wire import enums, times
from hubspoke.wire.requests import priority_from_wire

if TYPE_CHECKING:
    from hubspoke.types import FinishReason, Happening


def info_to_wire(info: DelegationInfo) -> pb.Delegation:
    """Give how a delegation stands as a message."""
    return pb.Delegation(
        id=info.id,
        state=enums.DELEGATION_STATE.to_wire(info.state),
        owner=info.owner,
        request_id=info.request_id,
        title=info.title,
        mode=_mode_to_wire(info.mode),
        labels=dict(info.labels),
        priority=enums.PRIORITY.to_wire(info.priority),
        accepted_at=times.timestamp(info.accepted_at),
        deadline=times.timestamp(info.deadline),
        ended_at=None if info.ended_at is None else times.timestamp(info.ended_at),
        last_seq=info.last_seq,
        subtasks=[_status_to_wire(status) for status in info.subtasks],
        result=info.result,
        failure=_problem_to_wire(info.problem),
        spent=_spent_to_wire(info.spent),
    )


def info_from_wire(message: pb.Delegation) -> DelegationInfo:
    """Give a message as how a delegation stands."""
    return DelegationInfo(
        id=DelegationId(message.id),
        state=enums.DELEGATION_STATE.from_wire(message.state),
        owner=message.owner,
        request_id=message.request_id,
        title=message.title,
        accepted_at=times.moment(message.accepted_at, "accepted_at"),
        deadline=times.moment(message.deadline, "deadline"),
        mode=_mode_from_wire(message.mode),
        labels=MappingProxyType(dict(message.labels)),
        priority=priority_from_wire(message.priority),
        ended_at=times.moment(message.ended_at, "ended_at") if message.HasField("ended_at") else None,
        last_seq=message.last_seq,
        subtasks=tuple(_status_from_wire(status) for status in message.subtasks),
        result=message.result,
        problem=_problem_from_wire(message.failure) if message.HasField("failure") else None,
        spent=_spent_from_wire(message.spent),
    )


def event_to_wire(event: DelegationEvent) -> pb.DelegationEvent:
    """Give what happened as a message."""
    message = happening_to_wire(event.happening)
    message.seq = event.seq
    message.at.CopyFrom(times.timestamp(event.at))
    return message


def event_from_wire(message: pb.DelegationEvent) -> DelegationEvent:
    """Give a message as what happened; raise InvalidRequest for a happening of a newer version."""
    return DelegationEvent(message.seq, times.moment(message.at, "at"), happening_from_wire(message))


def happening_to_bytes(happening: Happening) -> bytes:
    """Encode what happened, without when and in which turn."""
    return happening_to_wire(happening).SerializeToString()


def happening_from_bytes(body: bytes) -> Happening:
    """Read what happened from what `happening_to_bytes` gave."""
    return happening_from_wire(pb.DelegationEvent.FromString(body))


def happening_to_wire(happening: Happening) -> pb.DelegationEvent:
    """Give what happened as a message that lacks when, and in which turn."""
    match happening:
        case StateChanged():
            return pb.DelegationEvent(
                state=pb.StateChanged(
                    state=enums.DELEGATION_STATE.to_wire(happening.state),
                    result=happening.result,
                    failure=_problem_to_wire(happening.problem),
                    spent=_spent_to_wire(happening.spent),
                )
            )
        case Planned():
            return pb.DelegationEvent(
                planned=pb.Planned(
                    mode=_mode_to_wire(happening.mode),
                    subtasks=[_status_to_wire(status) for status in happening.subtasks],
                    why=happening.why,
                )
            )
        case SubtaskStatus():
            return pb.DelegationEvent(subtask=_status_to_wire(happening))
        case Reviewed():
            return pb.DelegationEvent(
                reviewed=pb.Reviewed(
                    round=happening.round, verdicts=[_verdict_to_wire(each) for each in happening.verdicts]
                )
            )
        case Progress():
            return pb.DelegationEvent(
                progress=pb.Progress(
                    subtask_id=happening.subtask or "",
                    spoke=happening.spoke,
                    output_tokens=happening.output_tokens,
                )
            )
        case _:
            assert_never(happening)


def happening_from_wire(message: pb.DelegationEvent) -> Happening:
    """Give what a message says has happened; raise InvalidRequest for a happening of a newer version."""
    match message.WhichOneof("event"):
        case "state":
            state = message.state
            return StateChanged(
                state=enums.DELEGATION_STATE.from_wire(state.state),
                result=state.result,
                problem=_problem_from_wire(state.failure) if state.HasField("failure") else None,
                spent=_spent_from_wire(state.spent),
            )
        case "planned":
            planned = message.planned
            return Planned(
                mode=_mode_from_wire(planned.mode),
                subtasks=tuple(_status_from_wire(status) for status in planned.subtasks),
                why=planned.why,
            )
        case "subtask":
            return _status_from_wire(message.subtask)
        case "reviewed":
            verdicts = tuple(_verdict_from_wire(verdict) for verdict in message.reviewed.verdicts)
            return Reviewed(message.reviewed.round, verdicts)
        case "progress":
            progress = message.progress
            subtask = SubtaskId(progress.subtask_id) if progress.subtask_id else None
            return Progress(subtask, progress.spoke, progress.output_tokens)
        case None:
            raise InvalidRequest("an event is none that this version knows; update this side")


def _status_to_wire(status: SubtaskStatus) -> pb.SubtaskStatus:
    return pb.SubtaskStatus(
        id=status.id,
        state=enums.SUBTASK_STATE.to_wire(status.state),
        title=status.title,
        depends_on=status.depends_on,
        attempt=status.attempt,
        spoke=status.spoke,
        model=status.model,
        output=status.output,
        failure=_problem_to_wire(status.problem),
        spent=_spent_to_wire(status.spent),
        finish=_finish_to_wire(status.finish),
    )


def _status_from_wire(message: pb.SubtaskStatus) -> SubtaskStatus:
    return SubtaskStatus(
        id=SubtaskId(message.id),
        state=enums.SUBTASK_STATE.from_wire(message.state),
        title=message.title,
        depends_on=tuple(SubtaskId(other) for other in message.depends_on),
        attempt=message.attempt,
        spoke=message.spoke,
        model=message.model,
        output=message.output,
        problem=_problem_from_wire(message.failure) if message.HasField("failure") else None,
        spent=_spent_from_wire(message.spent),
        finish=_finish_from_wire(message.finish),
    )


def _verdict_to_wire(verdict: Verdict) -> pb.Verdict:
    return pb.Verdict(
        subtask_id=verdict.subtask, kind=enums.VERDICT.to_wire(verdict.kind), reason=verdict.reason
    )


def _verdict_from_wire(message: pb.Verdict) -> Verdict:
    return Verdict(SubtaskId(message.subtask_id), enums.VERDICT.from_wire(message.kind), message.reason)


def _mode_to_wire(mode: Mode) -> pb.Mode.ValueType:
    return pb.MODE_UNSPECIFIED if mode is Mode.AUTO else enums.MODE.to_wire(mode)


def _mode_from_wire(value: int) -> Mode:
    return enums.MODE.from_wire(value) if value else Mode.AUTO


def _finish_to_wire(reason: FinishReason | None) -> types_pb.FinishReason.ValueType:
    return types_pb.FINISH_REASON_UNSPECIFIED if reason is None else enums.FINISH_REASON.to_wire(reason)


def _finish_from_wire(value: int) -> FinishReason | None:
    return enums.FINISH_REASON.from_wire(value) if value else None


def _problem_to_wire(problem: Problem | None) -> types_pb.Failure | None:
    return None if problem is None else types_pb.Failure(reason=problem.reason, message=problem.message)


def _problem_from_wire(message: types_pb.Failure) -> Problem:
    return Problem(message.reason, message.message)


def _spent_to_wire(spent: Spent) -> pb.Spent:
    return pb.Spent(orchestrator_tokens=spent.orchestrator_tokens, worker_tokens=spent.worker_tokens)


def _spent_from_wire(message: pb.Spent) -> Spent:
    return Spent(message.orchestrator_tokens, message.worker_tokens)
