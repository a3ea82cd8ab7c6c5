"""Who may wait, for how long, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hubspoke.errors import QueueFull
from hubspoke.types import Priority

if TYPE_CHECKING:
    from hub.core.types import Ask

QUEUE_LIMIT: Final = 256
"""Requests that may wait at once."""

QUEUE_BYTES_MAX: Final = 256 * 1024 * 1024
"""Bytes of requests that may wait at once: a few long ones weigh as much as all short ones together."""

QUEUE_LIMIT_BATCH: Final = QUEUE_LIMIT // 2
"""Batch requests are refused from here on: the rest is for people."""

QUEUE_S_MAX: Final = 1_200.0
"""How long a request without a deadline may wait: for one load that fails late, and a good part of another."""

BATCH_AGEING_S: Final = 60.0
"""A batch request that waited so long counts as interactive, so that it is served at all."""


def admit(ask: Ask, waiting: int, queued_bytes: int) -> None:
    """Let *ask* in beside *waiting* others, *queued_bytes* with it; raise QueueFull when that is too much."""
    limit = QUEUE_LIMIT_BATCH if ask.priority is Priority.BATCH else QUEUE_LIMIT
    if waiting >= limit:
        raise QueueFull(
            f"{waiting} requests wait already, and at most {limit} may with priority {ask.priority}: try again later",
            waiting=waiting,
            limit=limit,
        )
    if queued_bytes > QUEUE_BYTES_MAX:
        raise QueueFull(
            f"requests of {queued_bytes} bytes would wait, and at most {QUEUE_BYTES_MAX} may: try again later",
            queued_bytes=queued_bytes,
            limit_bytes=QUEUE_BYTES_MAX,
        )


def gives_up_at(ask: Ask) -> float:
    """Say until when *ask* may wait for its answer to begin: its deadline, or QUEUE_S_MAX without one."""
    patient_until = ask.arrived_at + QUEUE_S_MAX
    return patient_until if ask.deadline_at is None else min(ask.deadline_at, patient_until)


def turn(ask: Ask, now: float) -> tuple[bool, float]:
    """Give the place of *ask* in the queue, smallest first: interactive before batch, then by arrival."""
    is_batch = ask.priority is Priority.BATCH and now - ask.arrived_at < BATCH_AGEING_S
    return is_batch, ask.arrived_at
