"""What facts mean: certificates, clocks, and what a hub's port has answered. Pure; the clock comes in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from hubspoke.diagnosis.findings import Finding, bad, good, warning
from pki.lifetime import Stage, stage

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


AUTHORITY_WARNED: Final = timedelta(days=90)
"""How long before an authority's end everybody is warned: long enough for a rotation that nobody has to hurry."""
SKEW_WARNED: Final = timedelta(minutes=1)
SKEW_MAX: Final = timedelta(minutes=4)
"""Certificates are made five minutes into the past; a clock that is behind by more takes a new one for one of the future."""
REJOIN_MAX: Final = timedelta(days=90)
"""How long after its certificate's end a node may come back by itself."""

SET_THE_CLOCK: Final = "set it, best for good: `timedatectl set-ntp true`"
JOIN_AGAIN: Final = "ask an admin for a token (`hubspoke token create NAME`) and join again"


@dataclass(frozen=True, slots=True)
class Span:
    """From when until when a certificate is good."""

    not_before: datetime
    not_after: datetime


@unique
class Outcome(StrEnum):
    """How far a try at a hub's mesh port has come."""

    ANSWERS = "answers"
    NO_NAME = "its name leads to no address"
    REFUSED = "nothing listens there"
    SILENT = "nothing comes back"
    OTHER = "another program listens there"
    UNTRUSTED = "it is of another mesh"
    WRONG_NAME = "it is not the hub"
    TURNED_AWAY = "its TLS refuses this machine's certificate"
    DENIED = "it does not accept this identity"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a try at *address* has shown: the hub's certificate if one came, and its clock if it answered."""

    address: str
    outcome: Outcome
    hub: Span | None = None
    hub_time: datetime | None = None
    detail: str = ""


def of_identity(who: str, own: Span, now: datetime) -> Finding:
    """Judge this machine's own certificate."""
    about = "identity"
    if now < own.not_before:
        behind = _span(own.not_before - now)
        return bad(
            about,
            f"by this machine's clock the certificate of {who} begins only in {behind}, so the clock is behind",
            SET_THE_CLOCK,
        )
    match stage(own.not_before, own.not_after, now):
        case Stage.EXPIRED:
            return _of_expired(who, own, now)
        case Stage.LATE | Stage.CRITICAL:
            return warning(
                about,
                f"the certificate of {who} ends in {_span(own.not_after - now)} and should have been renewed by now",
                "see below whether the hub can be reached; the log says why renewal fails",
            )
        case _:
            return good(about, f"{who}, its certificate is good for {_span(own.not_after - now)} more")


def _of_expired(who: str, own: Span, now: datetime) -> Finding:
    since = now - own.not_after
    what = f"the certificate of {who} ended {_span(since)} ago, if this machine's clock is right"
    if since <= REJOIN_MAX:
        return warning("identity", what, "it comes back by itself as soon as it reaches the hub's enrol port")
    return bad("identity", f"{what}, too long ago to come back by itself", JOIN_AGAIN)


def of_authorities(ends: Iterable[tuple[str, datetime]], now: datetime, mend: str) -> Finding:
    """Judge authorities by when they end; *mend* says who renews them how."""
    name, not_after = min(ends, key=lambda end: end[1])
    left = not_after - now
    if left <= timedelta(0):
        return bad("authorities", f"the {name} ended {_span(-left)} ago", mend)
    if left <= AUTHORITY_WARNED:
        return warning("authorities", f"the {name} ends in {_span(left)}", mend)
    return good("authorities", f"the first to end is the {name}, in {_span(left)}")


def of_hub(seen: Seen, now: datetime) -> tuple[Finding, ...]:
    """Judge what a try at a hub has shown; the clock is a finding of its own."""
    about = f"hub {seen.address}"
    if seen.hub is not None and not seen.hub.not_before <= now < seen.hub.not_after:
        return (_of_hub_at_another_time(about, seen.hub, now),)
    if seen.outcome is Outcome.ANSWERS:
        clock = () if seen.hub_time is None else (_of_clock(seen.hub_time - now),)
        return (good(about, f"the hub at {seen.address} answers and accepts this identity"), *clock)
    return (bad(about, _WHAT[seen.outcome].format(seen=seen), _MEND[seen.outcome].format(seen=seen)),)


def _of_hub_at_another_time(about: str, hub: Span, now: datetime) -> Finding:
    if now < hub.not_before:
        what = (
            f"by this machine's clock the hub's certificate begins only in {_span(hub.not_before - now)}: "
            "the clock here is behind, or the hub's is ahead"
        )
        return bad("clock", what, SET_THE_CLOCK)
    what = (
        f"the hub's certificate ended {_span(now - hub.not_after)} ago by this machine's clock: the clock here is ahead, "
        "or the hub could not renew it"
    )
    return bad(about, what, f"{SET_THE_CLOCK}; on the hub's machine run `hubspoke doctor`")


def _of_clock(ahead: timedelta) -> Finding:
    """Judge by how much the hub's clock is ahead of this one."""
    off = abs(ahead)
    if off < SKEW_WARNED:
        return good("clock", "agrees with the hub's")
    side = "behind" if ahead > timedelta(0) else "ahead of"
    what = f"this machine's clock is {_span(off)} {side} the hub's"
    if off < SKEW_MAX:
        return warning("clock", what, SET_THE_CLOCK)
    return bad("clock", f"{what}, so that new certificates are refused", SET_THE_CLOCK)


def _span(length: timedelta) -> str:
    """Give a length of time in the unit that says enough."""
    seconds = round(length.total_seconds())
    for unit, unit_s in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * unit_s:
            return f"{seconds // unit_s} {unit}"
    return f"{seconds} seconds"


_WHAT: Final = {
    Outcome.NO_NAME: "the name in {seen.address} leads to no address on this network",
    Outcome.REFUSED: "the machine of {seen.address} is there, and nothing listens on that port",
    Outcome.SILENT: "nothing comes back from {seen.address}",
    Outcome.OTHER: "what listens on {seen.address} does not speak TLS 1.3, so it is no hub",
    Outcome.UNTRUSTED: "the hub at {seen.address} is of another mesh, or its root was exchanged while this machine was away",
    Outcome.WRONG_NAME: "what answers on {seen.address} belongs to this mesh and is not its hub, perhaps the HTTP gateway",
    Outcome.TURNED_AWAY: "the hub at {seen.address} takes this machine's certificate for one that is over or not of its mesh",
    Outcome.DENIED: "the hub at {seen.address} does not accept this identity: {seen.detail}",
}
_MEND: Final = {
    Outcome.NO_NAME: "write the hub's IP address instead: `--hub IP:7443`, or hub.advertise on the hub",
    Outcome.REFUSED: "start `hub-server` there, or correct the port: 7443 is the mesh's",
    Outcome.SILENT: "switch it on, and open TCP ports 7443 and 7444 in its firewall",
    Outcome.OTHER: "correct the address or the port: 7443 is the mesh's",
    Outcome.UNTRUSTED: JOIN_AGAIN,
    Outcome.WRONG_NAME: "correct the port: 7443 is the mesh's, 7445 the gateway's",
    Outcome.TURNED_AWAY: f"compare the two clocks; if they agree, {JOIN_AGAIN}",
    Outcome.DENIED: f"`hubspoke nodes list` on the hub says why; it may take a new token: {JOIN_AGAIN}",
}
