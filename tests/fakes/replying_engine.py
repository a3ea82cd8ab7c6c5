"""An engine whose answer depends on the question, and that counts what it begins and ends."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hubspoke.types import Capability, Delta, Finished, FinishReason, Usage
from tests.fakes.engine import FakeEngine, Gate, a_model

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection

    from hubspoke.types import Model, Request

    Reply = str | Exception
    Replies = Callable[[str], Reply | tuple[Gate, Reply]]

SKILLS = frozenset({Capability.CHAT, Capability.JSON_SCHEMA})


def a_skilled_model(name: str = "small", *, slots: int = 4, digit: str = "a") -> Model:
    """A model that can chat and keep to a schema."""
    return a_model(name, slots=slots, digest="sha256:" + digit * 64, capabilities=SKILLS)


def shouted(prompt: str) -> str:
    """The usual reply: the last line of the prompt, in capitals."""
    return prompt.splitlines()[-1].upper()


class ReplyingEngine(FakeEngine):
    """Gives what *replies* makes of a prompt, after its gate has opened if there is one; raises what is an error.

    A reply to one of *cut* ends as one that was too long.
    """

    def __init__(self, *models: Model, replies: Replies = shouted, cut: Collection[str] = ()) -> None:
        super().__init__(*(models or (a_skilled_model(),)))
        self.replies = replies
        self.cut = cut
        self.begun: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()

    async def generate(self, model: str, request: Request) -> AsyncGenerator[Delta | Finished, None]:
        prompt = request.messages[-1].text
        self.requests.append(request)
        self.begun[prompt] += 1
        try:
            reply = self.replies(prompt)
            if isinstance(reply, tuple):
                gate, reply = reply
                await gate.pass_through()
            if isinstance(reply, Exception):
                raise reply
            yield Delta(reply)
            self.ended[prompt] += 1
            reason = FinishReason.LENGTH if prompt in self.cut else FinishReason.STOP
            yield Finished(reason, Usage(prompt_tokens=7, output_tokens=3))
        finally:
            self.closed.release()
