"""What was said so far, and the file that it can be kept in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import click
import msgspec

from hubspoke.types import Effort, Message, Request, Speaker  # msgspec reads them at run time
from pki import disk

if TYPE_CHECKING:
    from pathlib import Path

    from hubspoke.gathered import Gathered
    from hubspoke.types import Sampling

FILE_BYTES_MAX: Final = 64 << 20
"""Of a kept conversation; pictures make it long."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """With whom, by which rules, and the turns of both sides."""

    model: str
    system: str = ""
    think: Effort | None = None
    turns: tuple[Message, ...] = ()

    def request(self, question: Message, sampling: Sampling, session_key: str) -> Request:
        """Ask *question* after all that was said."""
        rules = (Message(Speaker.SYSTEM, self.system),) if self.system else ()
        return Request(
            self.model,
            messages=(*rules, *self.turns, question),
            sampling=sampling,
            session_key=session_key,
            thinking=self.think,
        )

    def after(self, question: Message, said: Gathered) -> Conversation:
        """Give the conversation with *question* and what was answered, be it whole or not."""
        answer = Message(Speaker.ASSISTANT, said.text, thinking=said.thinking)
        return replace(self, turns=(*self.turns, question, answer))


def save(conversation: Conversation, path: Path) -> None:
    """Keep a conversation where only its owner reads it; raise OSError when that does not work."""
    disk.replace(path, msgspec.json.encode(conversation), mode=disk.SECRET_MODE)


def load(path: Path) -> Conversation:
    """Read a conversation that was kept; raise a usage error for what is none, OSError for no file."""
    with path.open("rb") as file:
        data = file.read(FILE_BYTES_MAX)
    try:
        return msgspec.json.decode(data, type=Conversation)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise click.UsageError(f"{path} holds no conversation that /save has written") from error
