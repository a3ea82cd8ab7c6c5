"""What a look at this machine has found, in whole sentences, each with what mends it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum, unique
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@unique
class Grade(StrEnum):
    """How bad it is."""

    GOOD = "good"
    WARNING = "warning"
    """It works, and will not for ever."""
    BAD = "bad"
    """This is in the way."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: *about* what, *what* was found, and what to do to *mend* it."""

    grade: Grade
    about: str
    what: str
    mend: str = ""

    @property
    def sentence(self) -> str:
        """Give all of it as one sentence."""
        return f"{self.what}; {self.mend}" if self.mend else self.what


def good(about: str, what: str) -> Finding:
    """Find nothing wrong."""
    return Finding(Grade.GOOD, about, what)


def warning(about: str, what: str, mend: str) -> Finding:
    """Find what will be in the way one day."""
    return Finding(Grade.WARNING, about, what, mend)


def bad(about: str, what: str, mend: str) -> Finding:
    """Find what is in the way."""
    return Finding(Grade.BAD, about, what, mend)


def softened(finding: Finding) -> Finding:
    """Take a hub's address that fails for a warning, where another one leads to the hub."""
    is_in_the_way = finding.grade is Grade.BAD and finding.about.startswith("hub ")
    return replace(finding, grade=Grade.WARNING) if is_in_the_way else finding


def worst(findings: Sequence[Finding]) -> Finding | None:
    """Give what is to be mended first: the first thing that is in the way; None when nothing is."""
    return next((finding for finding in findings if finding.grade is Grade.BAD), None)
