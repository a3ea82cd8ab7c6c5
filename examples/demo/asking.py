"""Asks several questions at once, and checks the answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Final

from examples.demo.events import Answered, Asked, Began, Refused, Said, Tally, Waits
from examples.demo.mesh import CLOCK
from hubspoke.errors import EngineTruncated, MeshError
from hubspoke.types import Delta, Finished, Started, Waiting

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from examples.demo.events import Tell
    from examples.demo.questions import Question
    from hubspoke.client import MeshClient

ANSWER_TIMEOUT: Final = timedelta(seconds=30)


@dataclass(slots=True)
class _Answer:
    """An answer as far as it has come."""

    text: str = ""
    spoke: str = ""
    attempt: int = 0


class Asker:
    """Somebody with questions, which are numbered from 1. What happens to them is told."""

    def __init__(self, mesh: MeshClient) -> None:
        self._mesh = mesh
        self._numbers = count(1)

    async def ask_all(self, questions: Sequence[Question], tell: Tell) -> Tally:
        """Ask all of *questions* at once, and count what came of them."""
        began_s = CLOCK.monotonic()
        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(self.ask(question, tell)) for question in questions]
        return tally((task.result() for task in asking), len(questions), CLOCK.monotonic() - began_s)

    async def ask(self, question: Question, tell: Tell) -> Answered | Refused:
        """Ask one question."""
        number, began_s = next(self._numbers), CLOCK.monotonic()
        tell(Asked(number, question.model, question.prompt))
        try:
            answer, finished = await self._hear(number, question, tell)
        except MeshError as error:
            outcome: Answered | Refused = Refused(number, error.reason, error.message)
        else:
            outcome = Answered(
                number,
                question.model,
                question.prompt,
                answer.text,
                is_right=answer.text == question.answer,
                spoke=answer.spoke,
                attempt=answer.attempt,
                tokens=finished.usage.output_tokens,
                took_s=CLOCK.monotonic() - began_s,
            )
        tell(outcome)
        return outcome

    async def _hear(self, number: int, question: Question, tell: Tell) -> tuple[_Answer, Finished]:
        answer = _Answer()
        deadline = CLOCK.now() + ANSWER_TIMEOUT
        async with aclosing(self._mesh.infer(question.request, deadline=deadline)) as events:
            async for event in events:
                match event:
                    case Waiting():
                        tell(Waits(number, event.spoke or ""))
                    case Started():
                        answer.spoke, answer.attempt = event.spoke, event.attempt
                        tell(Began(number, event.spoke, event.attempt))
                    case Delta():
                        answer.text += event.text
                        tell(Said(number, event.text))
                    case Finished():
                        return answer, event
        raise EngineTruncated("the answer has no end")


def tally(outcomes: Iterable[Answered | Refused], asked: int, took_s: float) -> Tally:
    """Count what came of *asked* questions."""
    answers = [outcome for outcome in outcomes if isinstance(outcome, Answered)]
    return Tally(
        asked=asked,
        right=sum(answer.is_right for answer in answers),
        moved=sum(answer.attempt > 1 for answer in answers),
        tokens=sum(answer.tokens for answer in answers),
        took_s=took_s,
        by_spoke=dict(sorted(Counter(answer.spoke for answer in answers).items())),
    )
