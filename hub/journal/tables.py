"""The tables of delegations, and how their rows become values."""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from hubspoke.types import (
    DelegationId,
    DelegationInfo,
    DelegationState,
    Mode,
    Priority,
    Problem,
    Spent,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

METADATA: Final = sa.MetaData()

delegations: Final = sa.Table(
    "delegations",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("owner", sa.String, nullable=False),
    sa.Column("request_id", sa.String, nullable=False),
    sa.Column("digest", sa.String, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("title", sa.String, nullable=False),
    sa.Column("priority", sa.String, nullable=False),
    sa.Column("accepted_at", sa.Float, nullable=False),
    sa.Column("deadline", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("mode", sa.String, nullable=False),
    sa.Column("last_seq", sa.BigInteger, nullable=False),
    sa.Column("result", sa.Text, nullable=False),
    sa.Column("reason", sa.String),
    sa.Column("message", sa.String),
    sa.Column("orchestrator_tokens", sa.BigInteger, nullable=False),
    sa.Column("worker_tokens", sa.BigInteger, nullable=False),
    # Whose work it is, how often it was begun since anything came of it, and at all.
    sa.Column("executor", sa.String, nullable=False, index=True),
    sa.Column("starts", sa.Integer, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Index("delegations_newest", "accepted_at", "id"),
    # How many are open is asked whenever one comes in; most have ended long ago.
    sa.Index("delegations_ended", "ended_at"),
)

labels: Final = sa.Table(
    "delegation_labels",
    METADATA,
    sa.Column("delegation", sa.String, primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("value", sa.String, nullable=False),
    sa.Index("delegation_labels_values", "name", "value"),
)

events: Final = sa.Table(
    "delegation_events",
    METADATA,
    sa.Column("delegation", sa.String, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    # What makes it this event and no other: what is written again after a crash is known by it.
    sa.Column("key", sa.String, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("delegation", "key"),
)

texts: Final = sa.Table(
    "delegation_texts",
    METADATA,
    sa.Column("delegation", sa.String, primary_key=True),
    sa.Column("sha256", sa.String, primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
)

resolutions: Final = sa.Table(
    "delegation_resolutions",
    METADATA,
    sa.Column("delegation", sa.String, primary_key=True),
    sa.Column("subtask", sa.String, primary_key=True),
    # Which time it was parked, from 1.
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("verb", sa.String, nullable=False),
    sa.Column("output", sa.Text, nullable=False),
)

OF_A_DELEGATION: Final = (labels, events, texts, resolutions)
"""What goes with a delegation when it goes."""

LISTED: Final = tuple(column for column in delegations.c if column.name not in {"body", "result"})
"""What a list reads."""


def info_of(row: sa.Row[tuple[object, ...]], own_labels: Mapping[str, str]) -> DelegationInfo:
    """Give a row of `LISTED` as a value without subtasks and result."""
    return DelegationInfo(
        id=DelegationId(row.id),
        state=DelegationState(row.state),
        owner=row.owner,
        request_id=row.request_id,
        title=row.title,
        accepted_at=moment(row.accepted_at),
        deadline=moment(row.deadline),
        mode=Mode(row.mode),
        labels=MappingProxyType(dict(own_labels)),
        priority=Priority(row.priority),
        ended_at=None if row.ended_at is None else moment(row.ended_at),
        last_seq=row.last_seq,
        problem=None if row.reason is None else Problem(row.reason, row.message),
        spent=Spent(row.orchestrator_tokens, row.worker_tokens),
    )


def moment(seconds: float) -> datetime:
    """Give a time of the tables."""
    return datetime.fromtimestamp(seconds, UTC)
