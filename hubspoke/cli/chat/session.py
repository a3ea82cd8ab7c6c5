"""A conversation that goes on until whoever types ends it."""

from __future__ import annotations

import secrets
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hubspoke.cli.chat.screen import LiveAnswer
from hubspoke.cli.transcript import Transcript
from hubspoke.gathered import Gathered
from hubspoke.types import Finished, Message, Speaker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    from rich.console import Console

    from hubspoke.cli.chat.conversation import Conversation
    from hubspoke.sync import SyncMesh
    from hubspoke.types import Event, Image, Sampling, Started

    Show: TypeAlias = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Tally:
    """What was asked and answered so far, and who was last."""

    answers: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    decode_s: float = 0.0
    last: Started | None = None

    def with_answer(self, started: Started | None, finished: Finished) -> Tally:
        """Count one more."""
        usage = finished.usage
        return Tally(
            self.answers + 1,
            self.prompt_tokens + usage.prompt_tokens,
            self.output_tokens + usage.output_tokens,
            self.decode_s + (usage.decode_s or 0.0),
            started or self.last,
        )


class Session:
    """The conversation, what goes with its next turn, and where answers are shown: *console* or plain lines."""

    def __init__(
        self, mesh: SyncMesh, conversation: Conversation, sampling: Sampling, console: Console | None
    ) -> None:
        self.mesh = mesh
        self.conversation = conversation
        self.images: tuple[Image, ...] = ()
        self.tally = Tally()
        self._sampling = sampling
        self._console = console
        # Turns of one conversation profit from the spoke that has read it before.
        self._key = secrets.token_hex(8)

    def ask(self, text: str) -> None:
        """Ask, and show the answer. What was said of an answer that Ctrl-C stops stays said.

        An error takes the turn back, so that it can be asked again.
        """
        question = Message(Speaker.USER, text, images=self.images)
        said = Gathered()
        try:
            self._hear(question, said)
        except KeyboardInterrupt:
            if said.text:
                self._add(question, said)
            raise
        self._add(question, said)

    def _hear(self, question: Message, said: Gathered) -> None:
        request = self.conversation.request(question, self._sampling, self._key)
        with _shown(request.model, self._console) as show, closing(self.mesh.infer(request)) as events:
            for event in events:
                said.add(event)
                show(event)
                if isinstance(event, Finished):
                    self.tally = self.tally.with_answer(said.started, event)

    def _add(self, question: Message, said: Gathered) -> None:
        self.conversation = self.conversation.after(question, said)
        self.images = ()


@contextmanager
def _shown(model: str, console: Console | None) -> Iterator[Show]:
    if console is not None:
        with LiveAnswer(model, console) as answer:
            yield answer.show
        return
    transcript = Transcript(model)
    try:
        yield transcript.show
    finally:
        transcript.break_off()
