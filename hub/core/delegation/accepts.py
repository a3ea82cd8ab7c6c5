"""How often what a model did was accepted, by kind of task: who fails at a kind is not asked for it again for a while."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hubspoke.types import ModelKey

ACCEPT_SHARE_MIN: Final = 0.6
"""Below it a kind of task goes straight to the next bigger model: repairs would cost more than they save."""

REVIEWS_MIN: Final = 5
"""A model is given so many chances before it is judged."""

REVIEWS_KEPT: Final = 40
"""As many reviews decide; what is older counts half."""

RETRY_S: Final = 86_400.0
"""After a day without a review a model that failed is tried again: it may have been replaced under its name."""

TALLIES_MAX: Final = 4_096
"""Pairs of model and task that are remembered; the one unused for longest goes first."""


class Kind(NamedTuple):
    """A model, and a kind of task."""

    model: ModelKey
    task: str


@dataclass(frozen=True, slots=True)
class Tally:
    """Reviews of one kind, the last at *last_at*."""

    accepted: float = 0.0
    reviewed: float = 0.0
    last_at: float = 0.0

    @property
    def share(self) -> float | None:
        """How often it was accepted; `None` until there is enough to say."""
        return self.accepted / self.reviewed if self.reviewed >= REVIEWS_MIN else None


@dataclass(frozen=True, slots=True)
class Accepts:
    """All that was reviewed."""

    tallies: Mapping[Kind, Tally] = field(default_factory=lambda: MappingProxyType({}))


def reviewed(accepts: Accepts, kind: Kind, *, accepted: bool, now: float) -> Accepts:
    """Count one review. Only the first of a subtask belongs here: what was repaired has been helped."""
    tally = _current(accepts, kind, now)
    if tally.reviewed >= REVIEWS_KEPT:
        tally = replace(tally, accepted=tally.accepted / 2, reviewed=tally.reviewed / 2)
    tallies = dict(accepts.tallies)
    tallies[kind] = Tally(tally.accepted + accepted, tally.reviewed + 1, now)
    if len(tallies) > TALLIES_MAX:
        del tallies[min(tallies, key=lambda other: tallies[other].last_at)]
    return Accepts(MappingProxyType(tallies))


def is_trusted(accepts: Accepts, kind: Kind, now: float) -> bool:
    """Whether a model may be given that kind of task."""
    share = _current(accepts, kind, now).share
    return share is None or share >= ACCEPT_SHARE_MIN


def _current(accepts: Accepts, kind: Kind, now: float) -> Tally:
    tally = accepts.tallies.get(kind, Tally())
    share = tally.share
    failed = share is not None and share < ACCEPT_SHARE_MIN
    return Tally() if failed and now - tally.last_at >= RETRY_S else tally
