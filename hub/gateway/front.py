"""What every dialect asks the mesh with: names resolved, quotas kept, answers metered."""

from __future__ import annotations

from contextlib import aclosing, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from hub.core import catalogue
from hub.core.needs import needs
from hub.gateway import asking
from hubspoke.clock import time_of_day
from hubspoke.errors import UnknownModel
from hubspoke.types import EmbedRequest, Priority, Request, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping
    from datetime import datetime

    from hub.core.needs import Asked
    from hub.core.quota import Left
    from hub.dispatch.journey import Dispatch
    from hub.dispatch.upkeep import Upkeep
    from hub.gateway.access import Principal
    from hub.gateway.asking import Outcome, Voice
    from hub.gateway.exchange import Exchange
    from hub.keys import Keys
    from hub.relay.sessions import Sessions
    from hubspoke.clock import Clock
    from hubspoke.gathered import Answer, Vectors
    from hubspoke.types import LoadEvent, ModelKey, ModelSummary

T = TypeVar("T", Request, EmbedRequest)

AUTO: Final = "auto"
"""Asks for whichever model can do it."""


class Front:
    """The mesh, as dialects see it."""

    def __init__(
        self,
        dispatch: Dispatch,
        upkeep: Upkeep,
        sessions: Sessions,
        keys: Keys,
        clock: Clock,
        *,
        aliases: Mapping[str, str],
    ) -> None:
        self._dispatch = dispatch
        self.upkeep = upkeep
        """Models by hand. Who asks for that must have the right: `Principal.require_models_write`."""
        self._sessions = sessions
        self._keys = keys
        self._clock = clock
        self._aliases = aliases

    def now(self) -> datetime:
        """Say what time it is."""
        return self._clock.now()

    def monotonic(self) -> float:
        """Say how many seconds it is since some moment in the past."""
        return self._clock.monotonic()

    def models(self) -> tuple[ModelSummary, ...]:
        """List what can be asked, the most replicated first."""
        at = partial(time_of_day, self._clock)
        return catalogue.models(self._sessions.registry, self._sessions.traffic(), at)

    def named(self) -> Mapping[str, ModelSummary]:
        """Give every name that can be asked, aliases too, with its model."""
        found: dict[str, ModelSummary] = {}
        for model in self.models():
            for name in model.names:
                found.setdefault(name, model)  # of several, the most replicated, as asking for it would
        for alias in self._aliases:
            for model in self.meant(alias):
                found.setdefault(alias, model)
        return found

    def meant(self, name: str) -> tuple[ModelSummary, ...]:
        """Give the models that *name* may stand for: one, all of them for AUTO, none when no spoke has it."""
        models, named = self.models(), self._aliases.get(name, name)
        if named == AUTO:
            return models
        tagged = catalogue.canonical(named)
        return tuple(model for model in models if named == model.key or tagged in _tagged(model))[:1]

    def model(self, name: str) -> ModelSummary:
        """Give the model that *name* means; raise UnknownModel, with names that come close."""
        meant = self._meant(name)
        key = catalogue.resolve(self._sessions.registry, meant).key
        for model in self.models():
            if model.key == key:
                return model
        raise UnknownModel(f"every spoke that has {name!r} is away; ask again when one is back")

    def parameters(self, key: ModelKey) -> int:
        """Say how many parameters a model has; 0 is unknown."""
        held = catalogue.holdings(self._sessions.registry, key)
        return max((holding.model.parameters for holding in held), default=0)

    @property
    def aliases(self) -> Mapping[str, str]:
        """Names that stand for others."""
        return self._aliases

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
        name = self._named(Request(model))
        self._admit(exchange, principal, model, name)
        async with aclosing(self.upkeep.load(name, None, pin=False)) as events:
            async for event in events:
                yield event

    async def let_go(self, exchange: Exchange, principal: Principal, model: str) -> None:
        """Take *model* out of memory for whoever may move models; for others that is a mere hint."""
        name = self._named(Request(model))
        self._admit(exchange, principal, model, name)
        if principal.may_move_models:
            await self.upkeep.unload(name, None)
        else:
            catalogue.resolve(self._sessions.registry, name)

    @contextmanager
    def _metered(
        self, exchange: Exchange, principal: Principal, request: T, outcome: Outcome
    ) -> Iterator[asking.Checked[T]]:
        """Give *request* with the model that it means; keep its quota, and write down what it cost, however it ends."""
        name, key = self._named(request), principal.key
        is_batch = Priority.BATCH in {request.priority, None if key is None else key.priority}
        priority = Priority.BATCH if is_batch else Priority.INTERACTIVE
        resolved = asking.checked(replace(request, model=name, priority=priority))
        self._admit(exchange, principal, request.model, name)
        try:
            yield resolved
        finally:
            if key is not None and outcome.started is not None:
                self._keys.charge(key, name, _cost(outcome))

    def _admit(self, exchange: Exchange, principal: Principal, asked: str, name: str) -> None:
        """Take one request for *asked*, which means *name*, from the quota of the key; say what is left."""
        if principal.key is not None:
            model = name if _untagged(asked) == AUTO else asked
            exchange.common |= _left(self._keys.admit(principal.key, model))

    def _named(self, request: Asked) -> str:
        name = self._meant(request.model)
        if name != AUTO:
            return name
        return catalogue.automatic(self._sessions.registry, needs(request))

    def _meant(self, name: str) -> str:
        """Give what an alias stands for, also with the tag that some clients add to every name."""
        meant = self._aliases.get(name) or self._aliases.get(_untagged(name), name)
        return AUTO if _untagged(meant) == AUTO else meant


def _untagged(name: str) -> str:
    return name.removesuffix(":latest")


def _tagged(model: ModelSummary) -> set[str]:
    return {catalogue.canonical(name) for name in model.names}


def _left(left: Left) -> dict[str, str]:
    """Give the headers that say what a key may still do, as OpenAI names them."""
    told = {
        "x-ratelimit-remaining-requests": left.requests,
        "x-ratelimit-remaining-tokens": left.tokens,
    }
    return {name: str(value) for name, value in told.items() if value is not None}


def _cost(outcome: Outcome) -> Usage:
    """Say what an answer has cost; of one that broke off only what was passed on is known."""
    if outcome.finished is not None:
        return outcome.finished.usage
    return Usage(prompt_tokens=0, output_tokens=outcome.tokens)
