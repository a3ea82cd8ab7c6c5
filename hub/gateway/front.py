"""What every dialect asks the mesh with: names resolved, quotas kept, answers metered."""

from __future__ import annotations

from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from hub.core.estimator import BYTES_PER_TOKEN
from hub.core.needs import ask_of
from hub.gateway import asking
from hubspoke.types import EmbedRequest, Priority, Request, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from datetime import datetime

    from hub.audit import Audit
    from hub.core.quota import ApiKey, Left
    from hub.dispatch.journey import Dispatch
    from hub.dispatch.upkeep import Upkeep
    from hub.gateway.access import Principal
    from hub.gateway.asking import Outcome, Voice
    from hub.gateway.exchange import Exchange
    from hub.gateway.names import Names
    from hub.keys import Keys
    from hubspoke.clock import Clock
    from hubspoke.gathered import Answer, Vectors
    from hubspoke.types import LoadEvent

T = TypeVar("T", Request, EmbedRequest)


class Front:
    """The mesh, as dialects see it."""

    def __init__(
        self, dispatch: Dispatch, upkeep: Upkeep, names: Names, *, keys: Keys, audit: Audit, clock: Clock
    ) -> None:
        self.names = names
        """What can be asked for."""
        self._dispatch = dispatch
        self.upkeep = upkeep
        """Models by hand. Who asks for that must have the right: `Principal.require_models_write`."""
        self._keys = keys
        self._audit = audit
        self._clock = clock

    def now(self) -> datetime:
        """Say what time it is."""
        return self._clock.now()

    def monotonic(self) -> float:
        """Say how many seconds it is since some moment in the past."""
        return self._clock.monotonic()

    async def stream(self, exchange: Exchange, principal: Principal, request: Request, voice: Voice) -> None:
        """Have *request* answered as a stream. An error before the stream has begun is raised; later it is part of it."""
        outcome = asking.Outcome()
        with self._metered(exchange, principal, request, outcome) as resolved:
            await asking.stream(exchange, self._dispatch, resolved, voice, outcome)

    async def whole(self, exchange: Exchange, principal: Principal, request: Request) -> Answer:
        """Have *request* answered, and give the whole answer; raise what is in the way."""
        outcome = asking.Outcome()
        with self._metered(exchange, principal, request, outcome) as resolved:
            return await asking.whole(exchange, self._dispatch, resolved, outcome)

    async def vectors(self, exchange: Exchange, principal: Principal, request: EmbedRequest) -> Vectors:
        """Have texts turned into vectors, and give all of them; raise what is in the way."""
        outcome = asking.Outcome()
        with self._metered(exchange, principal, request, outcome) as resolved:
            return await asking.vectors(exchange, self._dispatch, resolved, outcome)

    async def load(
        self, exchange: Exchange, principal: Principal, model: str
    ) -> AsyncGenerator[LoadEvent, None]:
        """Bring *model* into memory for whoever may ask it; tell how it goes."""
        name = self.names.choose(Request(model), principal.key)
        self._admit(exchange, principal.key)
        self._audit.note_often("model.load", peer=principal.name, reason="asked for over HTTP", model=name)
        async with aclosing(self.upkeep.load(name, None, pin=False)) as events:
            async for event in events:
                yield event

    async def let_go(self, exchange: Exchange, principal: Principal, model: str) -> None:
        """Take *model* out of memory for whoever may move models; for others that is a mere hint."""
        name = self.names.choose(Request(model), principal.key)
        self._admit(exchange, principal.key)
        if principal.may_move_models:
            self.note("model.unload", principal, name)
            await self.upkeep.unload(name, None)
        else:
            self.names.model(name)

    async def delete(self, principal: Principal, model: str) -> None:
        """Delete *model* from every spoke that has it; raise what is in the way. Who asks has the right to move models."""
        self.names.require_own(model, principal.key)
        self.note("model.delete", principal, model)
        await self.upkeep.delete(model, None)

    def note(self, event: str, principal: Principal, model: str) -> None:
        """Put into the audit log that somebody has moved *model*."""
        self._audit.note(event, by=principal.name, model=model, spoke="")

    @contextmanager
    def _metered(
        self, exchange: Exchange, principal: Principal, request: T, outcome: Outcome
    ) -> Iterator[asking.Checked[T]]:
        """Give *request* with the model that it means; keep its quota, and write down what it cost, however it ends."""
        key = principal.key
        is_batch = Priority.BATCH in {request.priority, None if key is None else key.priority}
        priority = Priority.BATCH if is_batch else Priority.INTERACTIVE
        name = self.names.choose(request, key)
        if wanted := self.names.rather(request.model, name):
            exchange.degrade(wanted)
        resolved = asking.checked(replace(request, model=name, priority=priority))
        self._admit(exchange, key)
        try:
            yield resolved
        finally:
            if key is not None and outcome.started is not None:
                self._keys.charge(key, outcome.started.model, _cost(outcome, resolved.request))

    def _admit(self, exchange: Exchange, key: ApiKey | None) -> None:
        """Take one request from the quota of *key*, and say what is left."""
        if key is not None:
            exchange.common |= _left(self._keys.admit(key))


def _left(left: Left) -> dict[str, str]:
    """Give the headers that say what a key may still do, as OpenAI names them."""
    told = {
        "x-ratelimit-remaining-requests": left.requests,
        "x-ratelimit-remaining-tokens": left.tokens,
    }
    return {name: str(value) for name, value in told.items() if value is not None}


def _cost(outcome: Outcome, request: Request | EmbedRequest) -> Usage:
    """Say what an answer has cost; the prompt of one that broke off is reckoned, if any of the answer was made."""
    if outcome.finished is not None:
        return outcome.finished.usage
    prompt_bytes = ask_of(request, now=0.0, timeout_s=None).prompt_bytes
    tokens = outcome.progress.tokens
    return Usage(prompt_tokens=-(-prompt_bytes // BYTES_PER_TOKEN) if tokens else 0, output_tokens=tokens)
