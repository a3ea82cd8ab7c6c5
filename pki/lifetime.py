"""When a certificate is due for renewal. Times in, times out; nobody looks at a clock here."""

from datetime import datetime
from enum import StrEnum, unique

# Half-life leaves room for many tries; the spread keeps nodes that joined together from
# coming back together.
RENEW_FROM = 0.45
RENEW_UNTIL = 0.55
LATE_FROM = 0.75
CRITICAL_FROM = 0.90


@unique
class Stage(StrEnum):
    """How far through its life a certificate is."""

    FRESH = "fresh"
    DUE = "due"
    LATE = "late"
    CRITICAL = "critical"
    EXPIRED = "expired"


def renew_at(not_before: datetime, not_after: datetime, chance: float) -> datetime:
    """Choose the moment of renewal, between 45 and 55 % of the certificate's life.

    *chance* is a uniform draw from 0 to 1; ValueError outside.
    """
    if not 0 <= chance <= 1:
        raise ValueError(f"chance is a draw from 0 to 1, not {chance}")
    return not_before + (not_after - not_before) * (RENEW_FROM + (RENEW_UNTIL - RENEW_FROM) * chance)


def stage(not_before: datetime, not_after: datetime, now: datetime) -> Stage:
    """Say how urgent renewal is at *now*.

    From `LATE` on a warning is in order, from `CRITICAL` on an error. Before *not_before* the answer
    is `FRESH`: a new certificate would not help where a clock is wrong.
    """
    life = not_after - not_before
    if now >= not_after:
        return Stage.EXPIRED
    if now >= not_before + life * CRITICAL_FROM:
        return Stage.CRITICAL
    if now >= not_before + life * LATE_FROM:
        return Stage.LATE
    if now >= not_before + life * RENEW_FROM:
        return Stage.DUE
    return Stage.FRESH
