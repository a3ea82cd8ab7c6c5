"""What is to be seen of several questions at once: which spoke has which, and how far each answer has come."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from examples.demo import words
from examples.demo.events import Answered, Asked, Began, Froze, Killed, Lost, Refused, Said, Waits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from examples.demo.events import Event

CHARACTERS_PER_S: Final = 70.0
"""As fast as an eye can follow. The shipped models are ten times faster, and would be over in a blink."""


@dataclass(slots=True)
class Card:
    """One question, and its answer as far as it has come."""

    prompt: str
    model: str
    spoke: str = ""
    loading: str = ""
    attempt: int = 0
    text: str = ""
    spoken_at_s: float = 0.0
    is_right: bool | None = None
    refusal: str = ""

    def shown(self, now_s: float) -> str:
        """Give as much of the answer as a person could have read by now."""
        return self.text[: int((now_s - self.spoken_at_s) * CHARACTERS_PER_S)] if self.text else ""

    def is_over(self, now_s: float) -> bool:
        """Whether all there is to it was shown."""
        is_whole = self.is_right is not None and len(self.shown(now_s)) == len(self.text)
        return is_whole or bool(self.refusal)


@dataclass(slots=True)
class Board:
    """The questions of one stage by number, and what is wrong with which spoke."""

    cards: dict[int, Card] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)

    def note(self, event: Event, now_s: float) -> None:
        """Take in what happened at *now_s*."""
        match event:
            case Asked():
                self.cards[event.number] = Card(event.prompt, event.model)
            case Waits():
                self.cards[event.number].loading = event.loading
            case Began():
                # Taken out and put in again: a spoke's questions are listed in the order in which it got them.
                card = self.cards[event.number] = self.cards.pop(event.number)
                card.spoke, card.attempt, card.loading = event.spoke, event.attempt, ""
            case Said():
                card = self.cards[event.number]
                card.spoken_at_s = card.spoken_at_s or now_s
                card.text += words.clean(event.text)
            case Answered():
                self.cards[event.number].is_right = event.is_right
            case Refused():
                self.cards[event.number].refusal = event.message
            case Froze():
                self.troubles[event.spoke] = "hangs"
            case Killed():
                self.troubles[event.spoke] = "killed"
            case Lost():
                self.troubles[event.spoke] = "lost"

    def of(self, spoke: str) -> Iterator[Card]:
        """Give the questions that *spoke* has, the oldest first."""
        return (card for card in self.cards.values() if card.spoke == spoke)

    def waiting(self) -> list[Card]:
        """Give the questions that nobody has yet."""
        return list(self.of(""))

    def is_over(self, now_s: float) -> bool:
        """Whether every question is answered or refused, and a person has seen it."""
        return all(card.is_over(now_s) for card in self.cards.values())
