"""From a dialect's request to the mesh and back: streamed, or gathered into one response."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from hub.dispatch.journey import REQUEST_BYTES_MAX, Call, Progress
from hubspoke.channel import MESSAGE_BYTES_MAX
from hubspoke.errors import EngineTruncated, InvalidRequest, MeshError, ModelLoading, RequestTooLarge
from hubspoke.gathered import Gathered, GatheredVectors
from hubspoke.types import Delta, Embeddings, EmbedRequest, Finished, Request, Started, Waiting
from hubspoke.wire import answers, requests
from hubspoke.wire.allowed import check, check_texts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hub.dispatch.journey import Client, Dispatch
    from hub.gateway.exchange import Exchange
    from hubspoke.gathered import Answer, Vectors
    from hubspoke.types import Event

T = TypeVar("T", Request, EmbedRequest)

KEEP_ALIVE_S: Final = 10.0
"""How often a client that waits for a stream hears something; proxies and clients give up on silence."""
ANSWER_BYTES_MAX: Final = MESSAGE_BYTES_MAX
"""What an answer may come to. Whole ones are kept here until they end, and the blocks of many streams are too."""
LOADING_PATIENCE_S: Final = 60.0
"""How long a client that wants one whole response waits for a load before it is told to come back."""


class Voice(Protocol):
    """How a dialect says, in a stream, what happens to a question."""

    @property
    def content_type(self) -> str:
        """Of the stream."""
        ...

    def waiting(self, waiting: Waiting) -> bytes:
        """Say that nothing runs yet, in a way that no client takes for an answer."""
        ...

    def started(self, started: Started) -> bytes:
        """Begin the answer. Called again when another spoke takes it over before any of it; then nobody hears it."""
        ...

    def working(self, waiting: Waiting) -> bytes:
        """Say that an answer is being made of which there is nothing yet, and, with its `silent_s`, for how long."""
        ...

    def said(self, delta: Delta) -> bytes:
        """Say some of the answer."""
        ...

    def finished(self, finished: Finished) -> bytes:
        """End the answer."""
        ...

    def failed(self, error: MeshError) -> bytes:
        """End the stream with an error."""
        ...


@dataclass(slots=True)
class Outcome:
    """What became of a request, for the books; also of one that failed, or whose client went away."""

    started: Started | None = None
    finished: Finished | None = None
    progress: Progress = field(default_factory=Progress)


class Allowance:
    """How much more of an answer is taken. One that has no end must not fill the hub's memory."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._left_bytes = ANSWER_BYTES_MAX

    def takes(self, body: bytes) -> bool:
        """Whether a message of the answer is taken; the first that is not ends the answer."""
        self._left_bytes -= len(body)
        if self._left_bytes < 0:
            limit = f"the answer has more than {ANSWER_BYTES_MAX} bytes; ask for fewer tokens"
            self._exchange.interrupt(EngineTruncated(limit))
        return self._left_bytes >= 0


class Stream:
    """A client that hears the answer as it is made: what the spoke says is passed on by whoever reads it."""

    def __init__(self, exchange: Exchange, voice: Voice, outcome: Outcome) -> None:
        self._exchange = exchange
        self._allowance = Allowance(exchange)
        self._voice = voice
        self._waiting = Waiting()
        self._outcome = outcome
        self._has_spoken = False
        self._has_said = False

    async def tell(self, event: Waiting | Started) -> None:
        """Say why nothing runs yet; note where the answer is made."""
        if isinstance(event, Waiting):
            is_news = event.spoke == self._waiting.spoke
            self._waiting = event
            if event.silent_s is not None:
                return  # `keep_alive` says so
            # Not at the first word of it: what is refused at once still gets a status of its own.
            if is_news and event.elapsed_s is not None:
                await self.keep_alive()
            return
        self._waiting = Waiting(event.spoke)
        self._outcome.started = event
        self._exchange.common |= served_by(event)
        if self._has_spoken:
            self._voice.started(event)  # it knows from here on who goes on with the answer

    async def write(self, body: bytes) -> None:
        """Pass on a message of the answer, in the dialect's words."""
        if not self._allowance.takes(body):
            return
        # Not before: what fails until then, a prompt that is too long for one, gets a status of its own.
        if not self._has_spoken:
            await self._speak()
        match answers.event_from_bytes(body):
            case Delta() as delta:
                self._has_said = True
                # One event for each piece, as clients know it of engines, and one write for all of them.
                await self._exchange.write(b"".join(map(self._voice.said, delta.pieces())))
            case Finished() as finished:
                self._outcome.finished = finished
                await self._exchange.write(self._voice.finished(finished))

    async def keep_alive(self) -> None:
        """Let the client know that it is not forgotten, as long as it has heard nothing of an answer."""
        if self._outcome.started is None:
            await self._begin()
            await self._exchange.write(self._voice.waiting(self._waiting))
        elif not self._has_spoken:
            await self._speak()
        elif not self._has_said and self._outcome.finished is None:
            await self._exchange.write(self._voice.working(self._waiting))

    async def fail(self, error: MeshError) -> None:
        """End a stream that has begun with an error."""
        await self._exchange.end(self._voice.failed(error))

    async def _speak(self) -> None:
        """Begin the answer, once it is known who makes it."""
        if self._outcome.started is not None:
            self._has_spoken = True
            await self._begin()
            await self._exchange.write(self._voice.started(self._outcome.started))

    async def _begin(self) -> None:
        if not self._exchange.has_begun:
            await self._exchange.begin(200, self._voice.content_type, {"cache-control": "no-cache"})


@dataclass(slots=True)
class Whole:
    """A client that hears nothing until the answer is whole."""

    allowance: Allowance
    outcome: Outcome
    answer: Gathered = field(default_factory=Gathered)

    async def tell(self, event: Waiting | Started) -> None:
        """Note where the answer is made; give up on a load that takes too long."""
        if isinstance(event, Started):
            self.outcome.started = event
            self.answer.add(event)
        else:
            _lose_patience(event, "ask again soon, or ask for a stream")

    async def write(self, body: bytes) -> None:
        """Keep some of the answer."""
        if not self.allowance.takes(body):
            return
        event = answers.event_from_bytes(body)
        if event is not None:
            self._take(event)

    def _take(self, event: Event) -> None:
        self.answer.add(event)
        if isinstance(event, Finished):
            self.outcome.finished = event


def _lose_patience(waiting: Waiting, advice: str) -> None:
    """Raise ModelLoading once a load takes longer than a client that hears nothing meanwhile is to wait."""
    elapsed_s, expected_s = waiting.elapsed_s or 0.0, waiting.expected_s or 0.0
    if elapsed_s > LOADING_PATIENCE_S:
        raise ModelLoading(
            f"{waiting.spoke} is still loading the model, which takes about {expected_s:.0f} s; {advice}",
            retry_after_s=round(max(expected_s - elapsed_s, KEEP_ALIVE_S)),
            elapsed_s=round(elapsed_s, 1),
            expected_s=round(expected_s, 1),
        )


@dataclass(slots=True)
class WholeVectors:
    """A client that wants all vectors at once."""

    texts: int
    outcome: Outcome
    vectors: GatheredVectors = field(init=False)

    def __post_init__(self) -> None:
        """Begin with none."""
        self.vectors = GatheredVectors(self.texts)

    async def tell(self, event: Waiting | Started) -> None:
        """Note where the vectors are made; give up on a load that takes too long."""
        if isinstance(event, Started):
            self.outcome.started = event
        else:
            _lose_patience(event, "ask again soon")
        self.vectors.add(event)

    async def write(self, body: bytes) -> None:
        """Keep some of the vectors."""
        match answers.embed_event_from_bytes(body):
            case Embeddings() as embeddings:
                self.vectors.add(embeddings)
            case Finished() as finished:
                self.outcome.finished = finished
                self.vectors.add(finished)


@dataclass(frozen=True, slots=True)
class Checked(Generic[T]):
    """A request that the mesh's own checks have let through, and how it is encoded."""

    request: T
    body: bytes


def checked(request: T) -> Checked[T]:
    """Hold what a dialect has made of its body to the same checks as what comes by gRPC.

    Raise InvalidRequest or RequestTooLarge.
    """
    try:
        if isinstance(request, EmbedRequest):
            body = requests.embed_to_wire(request).SerializeToString()
            check_texts(request)
        else:
            body = requests.request_to_wire(request).SerializeToString()
            check(request)
    except (ValueError, TypeError, OverflowError) as error:
        # What protobuf cannot hold: a number that is too large, or half of a surrogate pair.
        raise InvalidRequest(f"the request holds what cannot be sent: {error}") from error
    if len(body) > REQUEST_BYTES_MAX:
        raise RequestTooLarge(f"the request has {len(body)} bytes; at most {REQUEST_BYTES_MAX} are taken")
    return Checked(request, body)


async def stream(
    exchange: Exchange, dispatch: Dispatch, request: Checked[Request], voice: Voice, outcome: Outcome
) -> None:
    """Have *request* answered as a stream. An error before the stream has begun is raised; later it is part of it."""
    client = Stream(exchange, voice, outcome)
    answering = asyncio.create_task(dispatch.answer(_call(request, client, outcome)))
    try:
        await while_listened_to(exchange, answering, client.keep_alive)
    except MeshError as error:
        if not exchange.has_begun:
            raise
        await client.fail(error)
    else:
        await exchange.end()


async def whole(
    exchange: Exchange, dispatch: Dispatch, request: Checked[Request], outcome: Outcome
) -> Answer:
    """Have *request* answered, and give the whole answer; raise what is in the way."""
    client = Whole(Allowance(exchange), outcome)
    answering = asyncio.create_task(dispatch.answer(_call(request, client, outcome)))
    await _told_by_whom(exchange, answering, outcome)
    return client.answer.answer()


async def vectors(
    exchange: Exchange, dispatch: Dispatch, request: Checked[EmbedRequest], outcome: Outcome
) -> Vectors:
    """Have texts turned into vectors, and give all of them; raise what is in the way."""
    client = WholeVectors(len(request.request.inputs), outcome)
    answering = asyncio.create_task(dispatch.answer(_call(request, client, outcome)))
    await _told_by_whom(exchange, answering, outcome)
    return client.vectors.vectors()


def _call(request: Checked[Request] | Checked[EmbedRequest], client: Client, outcome: Outcome) -> Call:
    # The connection knows whether the client takes anything; a message of many pieces may take it minutes.
    return Call(request.request, request.body, client, progress=outcome.progress, is_watched=True)


def served_by(started: Started) -> dict[str, str]:
    """Give the headers that say who made an answer, and how it came to that."""
    return {
        "x-hubspoke-spoke": started.spoke,
        "x-hubspoke-model": started.model,
        "x-hubspoke-model-key": started.model_key,
        "x-hubspoke-attempts": str(started.attempt),
        "x-hubspoke-resumed": "false",  # see `served`
        "x-hubspoke-queue-ms": f"{started.queue_s * 1000:.1f}",
    }


def served(started: Started) -> dict[str, object]:
    """Give who made an answer, and how it came to that."""
    return {
        "spoke": started.spoke,
        "model": started.model,
        "model_key": started.model_key,
        "attempt": started.attempt,
        "resumed": False,  # each attempt begins anew, and none is made once the client may have seen text
        "queue_ms": round(started.queue_s * 1000, 1),
    }


class ClientGone(EngineTruncated):
    """Whoever asked went away; nobody is left to be told."""


async def _told_by_whom(exchange: Exchange, answering: asyncio.Task[object], outcome: Outcome) -> None:
    """Wait for the end of *answering*, and let the headers say who has answered; also of a failure: work may have run."""
    try:
        await while_listened_to(exchange, answering)
    finally:
        if outcome.started is not None:
            exchange.common |= served_by(outcome.started)


async def while_listened_to(
    exchange: Exchange,
    work: asyncio.Task[object],
    keep_alive: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Wait for the end of *work*, which a client that goes away ends early; call *keep_alive* now and then meanwhile.

    Raise ClientGone, what *work* raises, or why the hub has ended it.
    """
    exchange.works(work)
    gone = asyncio.create_task(exchange.gone())
    try:
        while not work.done():
            await asyncio.wait({work, gone}, timeout=KEEP_ALIVE_S, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                break
            if keep_alive is not None and not work.done():
                await keep_alive()
    finally:
        for task in (work, gone):
            task.cancel()
        await asyncio.wait({work, gone})
    if work.cancelled():
        raise exchange.interruption or ClientGone("whoever asked went away")
    work.result()
