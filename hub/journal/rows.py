"""What is read and written of delegations in one transaction each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from hub.journal import tables as t
from hub.journal.fold import with_subtasks
from hubspoke.errors import InvalidRequest, UnknownDelegation, WrongState
from hubspoke.types import (
    ENDED,
    DelegationEvent,
    DelegationId,
    DelegationState,
    Planned,
    Spent,
    StateChanged,
    SubtaskState,
    SubtaskStatus,
    Verb,
)
from hubspoke.wire import delegated, delegations

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hubspoke.types import DelegationInfo, Happening, SubtaskId, Work

SHOWN_BYTES: Final = delegations.OUTPUT_SHOWN_BYTES

OUTPUTS_BYTES_MAX: Final = 6 * 1024 * 1024
"""Of all outputs that one answer shows whole; it has to fit into a message."""

TITLE_CHARS: Final = 120


class Over(Exception):
    """The delegation has ended meanwhile: nothing more is written of it."""


class Taken(Exception):
    """The delegation is another hub's by now: nothing more is done for it here, and it is not over for that."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A delegation with all that was handed over.

    It was begun *starts* times since anything came of it; *epoch* counts all of them, so each owner has a larger one.
    """

    info: DelegationInfo
    work: Work
    starts: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Resolution:
    """What somebody has said of what was parked."""

    verb: Verb
    output: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """Which delegations are wanted: *owner* `None` means everybody's; those before *after*, which is exclusive."""

    owner: str | None
    states: frozenset[DelegationState] = frozenset()
    labels: Mapping[str, str] | None = None
    limit: int = 100
    after: tuple[float, str] | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """What happened. Of two with the same *key* only the first is kept, and only the delegation's own *executor* may write."""

    delegation: DelegationId
    key: str
    happening: Happening
    at: float
    executor: str | None = None


def title_of(text: str) -> str:
    """Give the beginning of *text*, on one line, for lists."""
    line = " ".join(text[: 4 * TITLE_CHARS].split())
    return line if len(line) <= TITLE_CHARS else f"{line[: TITLE_CHARS - 1]}…"


def append(connection: sa.Connection, entry: Entry) -> bool:
    """Write the next event, and say whether it is news. Raise Over when the delegation has ended, Taken when it is another's."""
    delegation, happening = entry.delegation, entry.happening
    row = connection.execute(
        sa.select(t.delegations.c.last_seq, t.delegations.c.state, t.delegations.c.executor)
        .filter_by(id=delegation)
        .with_for_update()
    ).one_or_none()
    if row is None or DelegationState(row.state) in ENDED:
        raise Over
    if entry.executor not in {None, row.executor}:
        raise Taken
    is_there = sa.select(t.events.c.seq).filter_by(delegation=delegation, key=entry.key)
    if connection.execute(is_there).scalar() is not None:
        return False
    seq = row.last_seq + 1
    insert_event(connection, entry, seq)
    changes = {"last_seq": seq, **_changes(happening, entry.at)}
    connection.execute(sa.update(t.delegations).filter_by(id=delegation).values(**changes))
    return True


def insert_event(connection: sa.Connection, entry: Entry, seq: int) -> None:
    """Write an event under the number *seq*."""
    body = delegated.happening_to_bytes(_shown(connection, entry.delegation, entry.happening))
    row = {"delegation": entry.delegation, "seq": seq, "key": entry.key, "at": entry.at, "body": body}
    connection.execute(sa.insert(t.events), row)


def info(connection: sa.Connection, delegation: DelegationId) -> DelegationInfo:
    """Say how a delegation stands, without subtasks and result; raise UnknownDelegation."""
    row = connection.execute(sa.select(*t.LISTED).filter_by(id=delegation)).one_or_none()
    if row is None:
        raise UnknownDelegation(f"there is no delegation {delegation[:64]}")
    return t.info_of(row, _labels(connection, [delegation]).get(delegation, {}))


def whole(connection: sa.Connection, delegation: DelegationId) -> DelegationInfo:
    """Say how a delegation stands, with subtasks, their outputs and the result."""
    found = with_subtasks(
        info(connection, delegation), (event.happening for event in events(connection, delegation, 1, None))
    )
    result = connection.execute(sa.select(t.delegations.c.result).filter_by(id=delegation)).scalar_one()
    query = sa.select(t.texts.c.sha256, t.texts.c.text).filter_by(delegation=delegation)
    long = {row.sha256: row.text for row in connection.execute(query)}
    left = OUTPUTS_BYTES_MAX
    subtasks = []
    for status in found.subtasks:
        output = long.get(_reference(status.output), status.output)
        left -= len(output.encode())
        subtasks.append(replace(status, output=output if left >= 0 else status.output))
    return replace(found, result=result, subtasks=tuple(subtasks))


def kept(connection: sa.Connection, delegation: DelegationId) -> Kept:
    """Give a delegation with all that was handed over."""
    columns = t.delegations.c.body, t.delegations.c.starts, t.delegations.c.epoch
    row = connection.execute(sa.select(*columns).filter_by(id=delegation)).one_or_none()
    if row is None:
        raise UnknownDelegation(f"there is no delegation {delegation[:64]}")
    work = delegations.work_from_bytes(row.body)
    return Kept(whole(connection, delegation), work, row.starts, row.epoch)


def listed(connection: sa.Connection, query: Query) -> tuple[DelegationInfo, ...]:
    """Give what *query* wants, the newest first."""
    table = t.delegations.c
    wanted = sa.select(*t.LISTED).order_by(table.accepted_at.desc(), table.id.desc()).limit(query.limit)
    if query.owner is not None:
        wanted = wanted.where(table.owner == query.owner)
    if query.states:
        wanted = wanted.where(table.state.in_([state.value for state in query.states]))
    for name, value in (query.labels or {}).items():
        labelled = sa.select(t.labels.c.delegation).filter_by(name=name, value=value)
        wanted = wanted.where(table.id.in_(labelled))
    if query.after is not None:
        at, last = query.after
        earlier = sa.or_(table.accepted_at < at, sa.and_(table.accepted_at == at, table.id < last))
        wanted = wanted.where(earlier)
    rows = connection.execute(wanted).all()
    own = _labels(connection, [row.id for row in rows])
    return tuple(t.info_of(row, own.get(row.id, {})) for row in rows)


def events(
    connection: sa.Connection, delegation: DelegationId, from_seq: int, limit: int | None
) -> tuple[DelegationEvent, ...]:
    """Give what happened from a number on, a terminal state with its result."""
    table = t.events.c
    query = (
        sa.select(table.seq, table.at, table.body)
        .where(table.delegation == delegation, table.seq >= from_seq)
        .order_by(table.seq)
        .limit(limit)
    )
    return tuple(
        DelegationEvent(row.seq, t.moment(row.at), delegated.happening_from_bytes(row.body))
        for row in connection.execute(query)
    )


def result(connection: sa.Connection, delegation: DelegationId) -> str:
    """Give the result; "" before there is one."""
    return (
        connection.execute(sa.select(t.delegations.c.result).filter_by(id=delegation)).scalar_one_or_none()
        or ""
    )


def keep_text(connection: sa.Connection, delegation: DelegationId, text: str) -> str:
    """Keep a long text of a delegation, and give its digest."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    place = {"delegation": delegation, "sha256": digest}
    if connection.execute(sa.select(t.texts.c.sha256).filter_by(**place)).scalar() is None:
        connection.execute(sa.insert(t.texts).values(**place, text=text))
    return digest


def text(connection: sa.Connection, delegation: DelegationId, digest: str) -> str:
    """Give a text that was kept."""
    query = sa.select(t.texts.c.text).filter_by(delegation=delegation, sha256=digest)
    return str(connection.execute(query).scalar_one())


def resolve(
    connection: sa.Connection, delegation: DelegationId, subtask: SubtaskId | None, resolution: Resolution
) -> None:
    """Keep what somebody says of what is parked; raise WrongState when nothing is, or somebody was faster."""
    found = with_subtasks(
        info(connection, delegation), (event.happening for event in events(connection, delegation, 1, None))
    )
    number = _times_parked(connection, delegation, subtask)
    if subtask is None:
        # It stands as PARKED for a subtask, too.
        is_parked = found.state is DelegationState.PARKED and number > 0
        if resolution.verb not in {Verb.RETRY, Verb.ABORT}:
            raise InvalidRequest("a whole delegation can be retried or aborted; name a subtask for the rest")
    else:
        parked = {each.id for each in found.subtasks if each.state is SubtaskState.PARKED}
        is_parked = subtask in parked and not found.has_ended
    place = {"delegation": delegation, "subtask": subtask or "", "number": number}
    is_resolved = connection.execute(sa.select(t.resolutions.c.verb).filter_by(**place)).scalar() is not None
    if not is_parked or is_resolved:
        raise WrongState("that is not parked; look at it again")
    connection.execute(
        sa.insert(t.resolutions).values(**place, verb=resolution.verb.value, output=resolution.output)
    )
    if subtask is None:
        # Here, and not by who waits for it: the hub may go down before it hears of it.
        connection.execute(sa.update(t.delegations).filter_by(id=delegation).values(starts=0))


def resolution(
    connection: sa.Connection, delegation: DelegationId, subtask: SubtaskId | None, number: int
) -> Resolution | None:
    """Give what was said when it was parked for the time *number*."""
    query = sa.select(t.resolutions).filter_by(delegation=delegation, subtask=subtask or "", number=number)
    row = connection.execute(query).one_or_none()
    return None if row is None else Resolution(Verb(row.verb), row.output)


def parked_key(subtask: SubtaskId | None, number: int) -> str:
    """Give the key of the event that something was parked for the time *number*."""
    return f"{subtask or ''}/parked/{number}"


def parks(connection: sa.Connection, delegation: DelegationId) -> tuple[int, bool]:
    """Say how often the whole of a delegation was parked, and whether the last time is not resolved yet."""
    times = _times_parked(connection, delegation, None)
    return times, times > 0 and resolution(connection, delegation, None, times) is None


def remove(connection: sa.Connection, gone: Sequence[DelegationId]) -> None:
    """Forget delegations."""
    for table in t.OF_A_DELEGATION:
        connection.execute(sa.delete(table).where(table.c.delegation.in_(gone)))
    connection.execute(sa.delete(t.delegations).where(t.delegations.c.id.in_(gone)))


def _times_parked(connection: sa.Connection, delegation: DelegationId, subtask: SubtaskId | None) -> int:
    prefix = parked_key(subtask, 0).removesuffix("0")
    keys = connection.execute(sa.select(t.events.c.key).filter_by(delegation=delegation)).scalars()
    return sum(key.startswith(prefix) for key in keys)


def _shown(connection: sa.Connection, delegation: DelegationId, happening: Happening) -> Happening:
    """Give *happening* as its event holds it: without what is long and kept elsewhere."""
    if isinstance(happening, StateChanged):
        return replace(happening, result="")
    if isinstance(happening, SubtaskStatus) and len(happening.output.encode()) > SHOWN_BYTES:
        digest = keep_text(connection, delegation, happening.output)
        return replace(happening, output=f"{_cut(happening.output)}\n[sha256:{digest}]")
    return happening


def _cut(text: str) -> str:
    return text.encode()[:SHOWN_BYTES].decode(errors="ignore")


def _reference(output: str) -> str:
    """Give the digest that a cut output ends with, "" for one that was not cut."""
    _, mark, rest = output.rpartition("\n[sha256:")
    return rest.removesuffix("]") if mark else ""


def _changes(happening: Happening, at: float) -> dict[str, object]:
    """Give what an event changes of its delegation's row."""
    if isinstance(happening, Planned):
        return {"mode": happening.mode.value}
    if not isinstance(happening, StateChanged):
        return {}
    problem = happening.problem
    changes: dict[str, object] = {
        "state": happening.state.value,
        "reason": None if problem is None else problem.reason,
        "message": None if problem is None else problem.message,
    }
    if happening.spent != Spent():
        changes["orchestrator_tokens"] = happening.spent.orchestrator_tokens
        changes["worker_tokens"] = happening.spent.worker_tokens
    if happening.state in ENDED:
        changes["ended_at"] = at
        changes["result"] = happening.result
    return changes


def _labels(connection: sa.Connection, ids: Iterable[DelegationId]) -> dict[DelegationId, dict[str, str]]:
    found: dict[DelegationId, dict[str, str]] = {}
    query = sa.select(t.labels).where(t.labels.c.delegation.in_(list(ids)))
    for row in connection.execute(query):
        found.setdefault(row.delegation, {})[row.name] = row.value
    return found
