"""What has to hold after every run, whatever was killed."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    from hubspoke.types import DelegationEvent


@dataclass(frozen=True)
class Moment:
    """A line of the diary."""

    what: str
    key: str
    name: str
    who: str
    pid: int
    at: float


def read(diary: Path) -> list[Moment]:
    """Give all lines of *diary*, in the order in which they were written."""
    if not diary.exists():
        return []
    return [Moment(**json.loads(line)) for line in diary.read_text(encoding="utf-8").splitlines()]


def begun(moments: Iterable[Moment], name: str) -> int:
    """Say how often the work *name* was begun."""
    return sum(one.what == "begun" and one.name == name for one in moments)


def finished(moments: Sequence[Moment], killed: Collection[int]) -> Counter[str]:
    """Count the generations of each task that came to their end.

    One whose spoke was killed before the result was on its disk has not: nobody could know of it.
    """
    ends: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
    for one in moments:
        if one.what in {"ended", "kept"}:
            ends[one.key, one.pid].append(one.what)
    counts: Counter[str] = Counter()
    for (key, pid), whats in ends.items():
        kept, ended = whats.count("kept"), whats.count("ended")
        counts[key] += kept if pid in killed else max(kept, ended)
    return counts


def repeated(moments: Sequence[Moment], killed: Collection[int]) -> list[str]:
    """List the tasks that were finished more than once."""
    return sorted(key for key, count in finished(moments, killed).items() if count > 1)


def finished_names(moments: Sequence[Moment], killed: Collection[int]) -> Counter[str]:
    """Count as `finished` by what was to be done, whichever key it went by."""
    names = {one.key: one.name for one in moments if one.name}
    counts: Counter[str] = Counter()
    for key, count in finished(moments, killed).items():
        counts[names[key]] += count
    return counts


def is_dense(events: Iterable[DelegationEvent]) -> bool:
    """Whether the events that are kept have the numbers 1, 2, 3 and so on."""
    numbers = [event.seq for event in events if event.seq]
    return numbers == list(range(1, len(numbers) + 1))


def zombies() -> list[str]:
    """List the children of this process that have died and were not waited for."""
    return [
        child.name()
        for child in psutil.Process().children(recursive=True)
        if child.status() == psutil.STATUS_ZOMBIE
    ]
