"""One question of a delegation to a model: a task that is done once for its key, wherever its answer is found."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

from hub.core.estimator import BYTES_PER_TOKEN
from hub.delegations.together import together
from hub.dispatch.journey import Call
from hubspoke.errors import InvalidOutput
from hubspoke.gathered import Gathered
from hubspoke.types import (
    Delta,
    FinishReason,
    JsonFormat,
    Message,
    Priority,
    Request,
    Sampling,
    Speaker,
    SpokeId,
    Started,
    Task,
    TaskKey,
)
from hubspoke.wire import answers, requests

if TYPE_CHECKING:
    from hub.dispatch.journey import Dispatch
    from hub.relay.held import HeldTasks
    from hub.relay.sessions import Sessions
    from hubspoke.clock import Clock
    from hubspoke.types import Waiting

CALLS_MAX: Final = 64
"""Questions of delegations that wait or run at a time, for each priority: apps find room in the queue beside them."""

PROGRESS_S: Final = 0.5
"""How often whoever watches hears how far an answer has come."""

GRACE_S: Final = 10.0
"""How long a spoke that was lost with a task may take to come back before another one is given it."""

NEWCOMERS_S: Final = 3.0
"""How long spokes have to say what they hold when it is not known which of them it was: all dial again at once."""

LOOKED_S: Final = 0.2
"""How often it is looked for."""


class Hearer(Protocol):
    """Who hears how an answer comes along."""

    def given(self, spoke: SpokeId) -> None:
        """Hear who has it, before anything can become of it."""
        ...

    async def started(self, spoke: SpokeId, model: str) -> None:
        """Hear by which model it is made, beside the answer, whose end waits for this."""
        ...

    def progressed(self, spoke: SpokeId, tokens: int) -> None:
        """Hear how far it has come."""
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of *model*, of *only* one spoke or of none that are *excluded*: a whole *request*, or a prompt."""

    key: TaskKey
    epoch: int
    model: str
    prompt: str = field(repr=False)
    format: JsonFormat | None = None
    max_output_tokens: int = 0
    priority: Priority = Priority.BATCH
    timeout_s: float | None = None
    request: Request | None = field(default=None, repr=False)
    only: SpokeId | None = None
    excluded: frozenset[SpokeId] = frozenset()


@dataclass(frozen=True, slots=True)
class Told:
    """An answer, and who gave it."""

    text: str = field(repr=False)
    spoke: str
    model: str
    model_key: str
    tokens: int
    """Read and written."""
    finish: FinishReason


@dataclass(frozen=True, slots=True)
class Found:
    """Who holds a task; *in_doubt* when whoever had it is away and may have done it."""

    holder: SpokeId | None
    in_doubt: bool = False


class Asker:
    """Asks models for delegations."""

    def __init__(self, dispatch: Dispatch, sessions: Sessions, held: HeldTasks, clock: Clock) -> None:
        self._dispatch = dispatch
        self._sessions = sessions
        self._held = held
        self._clock = clock
        self._places = {priority: asyncio.Semaphore(CALLS_MAX) for priority in Priority}

    async def ask(self, question: Question, hearer: Hearer) -> Told:
        """Have *question* answered; raise what is in the way, a SpokeError where another try may do better."""
        async with self._places[question.priority]:
            request = _request(question)
            body = requests.request_to_wire(request).SerializeToString()
            listener = _Listener(hearer, self._clock)
            task = Task(question.key, question.epoch, hashlib.sha256(body).digest())
            call = Call(
                request,
                body,
                listener,
                question.timeout_s,
                task=task,
                only=question.only,
                excluded=question.excluded,
            )
            await together((self._dispatch.answer(call), listener.tell_hearer()))
        return listener.told(request)

    async def look(self, key: TaskKey, last: SpokeId | None, since: float) -> Found:
        """Look for who works on a task that may have been begun, or has its answer. *last* had it, as far as is known.

        Spokes have been able to dial *since* then.
        """
        all_there_at = since + NEWCOMERS_S
        ends_at = all_there_at if last is None else self._clock.monotonic() + GRACE_S
        while True:
            for spoke in self._sessions.registry.spokes:
                if key in (self._held.of(spoke) or ()):
                    return Found(spoke)
            now = self._clock.monotonic()
            # An earlier try may be with a spoke that has not found back yet to a hub that has just come up.
            if last is not None and self._held.of(last) is not None and now >= all_there_at:
                return Found(None)  # it is back, and has nothing of it
            if now >= ends_at:
                return Found(None, in_doubt=last is not None)
            await asyncio.sleep(LOOKED_S)


def _request(question: Question) -> Request:
    if question.request is not None:
        return replace(question.request, model=question.model, priority=question.priority)
    return Request(
        model=question.model,
        messages=(Message(Speaker.USER, question.prompt),),
        sampling=Sampling(temperature=0),
        max_output_tokens=question.max_output_tokens,
        priority=question.priority,
        format=question.format,
    )


class _Listener:
    """A client that gathers the answer."""

    def __init__(self, hearer: Hearer, clock: Clock) -> None:
        self._hearer = hearer
        self._clock = clock
        self._has_started = asyncio.Event()
        self._gathered = Gathered()
        self._tokens = 0
        self._told_at = 0.0

    async def tell(self, event: Waiting | Started) -> None:
        """Hear where the answer is made."""
        if isinstance(event, Started):
            self._gathered.add(event)
            self._hearer.given(event.spoke)
            self._has_started.set()

    async def tell_hearer(self) -> None:
        """Tell who makes it, beside the answer: whose database is away must not be taken for a client that does not read."""
        await self._has_started.wait()
        if (started := self._gathered.started) is not None:
            await self._hearer.started(started.spoke, started.model)

    async def write(self, body: bytes) -> None:
        """Take in some of the answer."""
        event = answers.event_from_bytes(body)
        if event is None:
            return
        self._gathered.add(event)
        started = self._gathered.started
        if isinstance(event, Delta) and started is not None:
            # The count stands in a wrapper that does not come this far.
            self._tokens += max(len(event.text.encode()) // BYTES_PER_TOKEN, 1)
            now = self._clock.monotonic()
            if now - self._told_at >= PROGRESS_S:
                self._told_at = now
                self._hearer.progressed(started.spoke, self._tokens)

    def told(self, request: Request) -> Told:
        """Give the whole answer; raise InvalidOutput for one of a form that was cut off."""
        answer = self._gathered.answer()
        if request.format is not None and answer.finished.reason is FinishReason.LENGTH:
            raise InvalidOutput("the answer was cut off before its form was complete; allow more tokens")
        usage = answer.finished.usage
        return Told(
            answer.text,
            answer.started.spoke,
            answer.started.model,
            answer.started.model_key,
            usage.prompt_tokens + usage.output_tokens,
            answer.finished.reason,
        )
