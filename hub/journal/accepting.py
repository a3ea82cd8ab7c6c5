"""How a delegation is accepted: in one transaction of few statements, because somebody waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from hub.journal import rows
from hub.journal import tables as t
from hubspoke.errors import QueueFull, RequestIdTaken
from hubspoke.types import DelegationId, DelegationState, Goal, Mode, StateChanged
from hubspoke.wire import delegations

if TYPE_CHECKING:
    from hubspoke.types import DelegationInfo, Work

OPEN_MAX: Final = 1_000
"""Delegations that have not ended; more are refused."""

FIRST_SEQ: Final = 1
"""The number of the event that a delegation was accepted."""


@dataclass(frozen=True, slots=True)
class New:
    """A delegation that is to be kept."""

    id: DelegationId
    owner: str
    work: Work
    digest: str
    accepted_at: float
    deadline: float
    executor: str


# Built once: for a statement of twenty columns that takes as long as the write.
_LOOK: Final = sa.select(
    sa.select(t.delegations.c.digest)
    .where(t.delegations.c.id == sa.bindparam("new_id"))
    .scalar_subquery()
    .label("digest"),
    sa.select(sa.func.count()).where(t.delegations.c.ended_at.is_(None)).scalar_subquery().label("open"),
)
_KEEP: Final = sa.insert(t.delegations).returning(*t.LISTED)


def accept(connection: sa.Connection, new: New) -> tuple[DelegationInfo, bool]:
    """Keep a delegation, and say whether it had been there before."""
    found = connection.execute(_LOOK, {"new_id": new.id}).one()
    if found.digest is not None:
        if found.digest != new.digest:
            raise RequestIdTaken(
                f"request id {new.work.request_id!r} came with other content before; make a new one"
            )
        return rows.info(connection, new.id), True
    if found.open >= OPEN_MAX:
        raise QueueFull(f"{OPEN_MAX} delegations are open already; let some end, or cancel some")
    row = connection.execute(_KEEP, _first_row(new)).one()
    own = new.work.labels
    if own:
        labels = [{"delegation": new.id, "name": name, "value": value} for name, value in own.items()]
        connection.execute(sa.insert(t.labels), labels)
    rows.insert_event(connection, _accepted(new), FIRST_SEQ)
    return t.info_of(row, own), False


def _first_row(new: New) -> dict[str, object]:
    task = new.work.task
    text = task.text if isinstance(task, Goal) else task.subtasks[0].instruction
    return {
        "id": new.id,
        "owner": new.owner,
        "request_id": new.work.request_id,
        "digest": new.digest,
        "body": delegations.work_to_bytes(new.work),
        "title": rows.title_of(text),
        "priority": new.work.priority.value,
        "accepted_at": new.accepted_at,
        "deadline": new.deadline,
        "state": DelegationState.ACCEPTED.value,
        "mode": Mode.AUTO.value,
        "last_seq": FIRST_SEQ,
        "result": "",
        "orchestrator_tokens": 0,
        "worker_tokens": 0,
        "executor": new.executor,
        "starts": 0,
        "epoch": 0,
    }


def _accepted(new: New) -> rows.Entry:
    return rows.Entry(new.id, "accepted", StateChanged(DelegationState.ACCEPTED), new.accepted_at)
