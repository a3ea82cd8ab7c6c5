"""Durations and timestamps: seconds as floats inside, protobuf's own types outside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from hubspoke.errors import InvalidRequest

NANOS_PER_S = 1_000_000_000


def duration(seconds: float) -> Duration:
    """Give *seconds* as a Duration, to the nanosecond."""
    whole, nanos = divmod(round(seconds * NANOS_PER_S), NANOS_PER_S)
    if whole < 0 and nanos:  # protobuf wants both parts of the same sign
        whole, nanos = whole + 1, nanos - NANOS_PER_S
    return Duration(seconds=whole, nanos=nanos)


def duration_or_none(seconds: float | None) -> Duration | None:
    """Give *seconds* as a Duration, and what is unknown as none."""
    return None if seconds is None else duration(seconds)


def seconds(message: Duration) -> float:
    """Give a Duration in seconds."""
    return (message.seconds * NANOS_PER_S + message.nanos) / NANOS_PER_S  # one division: no bit is lost


def span(message: Duration) -> timedelta:
    """Give a Duration as a timedelta; raise InvalidRequest for one that is longer than any."""
    try:
        return timedelta(seconds=seconds(message))
    except OverflowError as error:
        raise InvalidRequest("a length of time is longer than anybody waits") from error


def timestamp(when: datetime) -> Timestamp:
    """Give a moment, which must know its zone, as a Timestamp."""
    stamp = Timestamp()
    stamp.FromDatetime(when.astimezone(UTC))
    return stamp


def moment(message: Timestamp, field: str) -> datetime:
    """Give a Timestamp as a moment in UTC; raise InvalidRequest when it lies outside the calendar."""
    try:
        return message.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(
            f"{field} is no moment of the calendar; give a time between 0001 and 9999"
        ) from error
