"""What happens in the demo, as values: shown on a screen, as plain lines, or as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hubspoke.types import SpokeStatus


@dataclass(frozen=True, slots=True)
class Act:
    """A new part of the story begins."""

    title: str


@dataclass(frozen=True, slots=True)
class Step:
    """Something was done; *command* is what a person would type for it, "" when there is no such thing."""

    what: str
    took_s: float
    command: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question goes out; *number* stands for it from now on."""

    number: int
    model: str
    prompt: str


@dataclass(frozen=True, slots=True)
class Waits:
    """A question has no slot yet: *loading* brings the model into memory, or everybody is busy when that is ""."""

    number: int
    loading: str


@dataclass(frozen=True, slots=True)
class Began:
    """A spoke has taken a question; *attempt* counts from 1."""

    number: int
    spoke: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Said:
    """Some of an answer."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole answer, who gave it, and whether it is the right one."""

    number: int
    model: str
    prompt: str
    text: str
    is_right: bool
    spoke: str
    attempt: int
    tokens: int
    took_s: float


@dataclass(frozen=True, slots=True)
class Refused:
    """The mesh has said no, and why."""

    number: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Tally:
    """What came of several questions at once; *moved* were begun on one spoke and answered by another."""

    asked: int
    right: int
    moved: int
    tokens: int
    took_s: float
    by_spoke: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Memory:
    """What the spokes have, and what they hold in memory."""

    spokes: tuple[SpokeStatus, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """What the real command line says of the same mesh."""

    command: str
    spokes: list[dict[str, object]]


@dataclass(frozen=True, slots=True)
class Froze:
    """A spoke's process was stopped in the middle of everything: connected, and dead to the world."""

    spoke: str


@dataclass(frozen=True, slots=True)
class Killed:
    """A spoke's process was killed, without a chance to say goodbye."""

    spoke: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The hub knows that a spoke is gone, so long after the kill."""

    spoke: str
    after_s: float


@dataclass(frozen=True, slots=True)
class Returned:
    """A spoke that was gone takes work again, so long after its start."""

    spoke: str
    after_s: float


@dataclass(frozen=True, slots=True)
class NoOllama:
    """The demo goes on without an Ollama, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class OwnOllama:
    """What a model of this machine's own Ollama has said, through the mesh."""

    version: str
    model: str
    spoke: str
    text: str
    took_s: float


@dataclass(frozen=True, slots=True)
class Kept:
    """The mesh stays until Ctrl-C; *environment* makes the commands find it."""

    environment: str


@dataclass(frozen=True, slots=True)
class Done:
    """The end of the story."""

    total: Tally
    took_s: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The story ended early: what went wrong, the last lines of *log*, and what to do about it."""

    message: str
    advice: str
    log: str = ""
    lines: tuple[str, ...] = ()


Event: TypeAlias = (
    Act | Step | Asked | Waits | Began | Said | Answered | Refused | Tally | Memory | Status
    | Froze | Killed | Lost | Returned | NoOllama | OwnOllama | Kept | Done | Failed
)  # fmt: skip

if TYPE_CHECKING:
    Tell: TypeAlias = Callable[[Event], None]
    """Whoever wants to hear what happens."""
