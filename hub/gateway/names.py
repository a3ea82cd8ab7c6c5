"""What the names stand for that apps use: the models' own, the operator's aliases, roles, and `auto`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from hub.core import catalogue
from hub.core.catalogue import canonical
from hub.core.needs import needs
from hub.core.quota import may_ask
from hubspoke.clock import time_of_day
from hubspoke.errors import InvalidRequest, PermissionDenied, UnknownModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hub.core.needs import Asked
    from hub.core.quota import ApiKey
    from hub.relay.sessions import Sessions
    from hubspoke.clock import Clock
    from hubspoke.types import ModelKey, ModelSummary

AUTO: Final = "auto"
"""Asks for whichever model can do it."""


class Names:
    """Every name that can be asked for. A tag `latest`, which some clients add to every name, is as good as none."""

    def __init__(
        self,
        sessions: Sessions,
        clock: Clock,
        aliases: Mapping[str, str],
        roles: Mapping[str, tuple[str, ...]],
    ) -> None:
        self._sessions = sessions
        self._clock = clock
        self._meanings: dict[str, tuple[str, ...]] = {
            canonical(alias): (meant,) for alias, meant in aliases.items()
        }
        self._meanings |= {canonical(role): models for role, models in roles.items() if models}
        self._own = (*aliases, *(role for role, models in roles.items() if models))

    def models(self, key: ApiKey | None = None) -> tuple[ModelSummary, ...]:
        """List the models that *key* may ask, the most replicated first, each with the names that it may ask it by."""
        at = partial(time_of_day, self._clock)
        all_models = catalogue.models(self._sessions.registry, self._sessions.traffic(), at)
        if key is None or not key.models:
            return all_models
        named = (
            replace(model, names=tuple(name for name in model.names if may_ask(key, name)))
            for model in all_models
        )
        return tuple(model for model in named if model.names)

    def listed(self, key: ApiKey | None) -> Mapping[str, ModelSummary]:
        """Give every name that *key* may ask with its model, those of the models themselves first."""
        found: dict[str, ModelSummary] = {}
        for model in self.models(key):
            for name in model.names:
                found.setdefault(name, model)  # of several, the most replicated, as asking for it would
        for name in self._own:
            for model in self.candidates(name, key)[:1]:
                found.setdefault(name, model)
        return found

    def candidates(self, name: str, key: ApiKey | None) -> tuple[ModelSummary, ...]:
        """Give the models that *name* may end up with for *key*: one, or for AUTO all that it may ask; none if there is none."""
        try:
            if self._is_auto(name):
                return self.models(None if key is not None and may_ask(key, name) else key)
            return (self.shown(name, key),)
        except (UnknownModel, PermissionDenied):
            return ()

    def shown(self, name: str, key: ApiKey | None) -> ModelSummary:
        """Give what `model` does; raise PermissionDenied for a name that *key* may not ask."""
        if self._is_auto(name):
            return next(iter(self.candidates(name, key)), None) or self.model(name)
        self._check_may(name, self._meant(name), key)
        return self.model(name)

    def model(self, name: str) -> ModelSummary:
        """Give the model that *name* means; raise UnknownModel, with names that come close."""
        key = catalogue.resolve(self._sessions.registry, self._meant(name)).key
        for model in self.models():
            if model.key == key:
                return model
        raise UnknownModel(f"every spoke that has {name!r} is away; ask again when one is back")

    def parameters(self, key: ModelKey) -> int:
        """Say how many parameters a model has; 0 is unknown."""
        held = catalogue.holdings(self._sessions.registry, key)
        return max((holding.model.parameters for holding in held), default=0)

    def choose(self, asked: Asked, key: ApiKey | None) -> str:
        """Give the name or key of the model that *asked* gets from a mesh whose holder of *key* asks.

        Raise PermissionDenied for a model that the key may not ask, and UnknownModel where only AUTO could tell, and there
        is none.
        """
        if self._is_auto(asked.model):
            may = partial(_may, key, asked.model)
            return catalogue.automatic(self._sessions.registry, needs(asked), may)
        name = self._meant(asked.model)
        self._check_may(asked.model, name, key)
        return name

    def rather(self, asked: str, chosen: str) -> str:
        """Give the model that a role wants first, when *chosen* only stands in for it; "" otherwise."""
        meant = self._meanings.get(canonical(asked), ())
        is_second_choice = len(meant) > 1 and chosen != meant[0] and not self._is_auto(asked)
        return meant[0] if is_second_choice else ""

    def require_own(self, name: str, key: ApiKey | None) -> None:
        """Raise InvalidRequest for a name that only stands for models, PermissionDenied for one that *key* may not ask."""
        if canonical(name) in self._meanings or self._is_auto(name):
            raise InvalidRequest(f"{name!r} only stands for other models; name the one that is meant")
        self._check_may(name, name, key)

    @staticmethod
    def _check_may(asked: str, name: str, key: ApiKey | None) -> None:
        if key is not None and not _may(key, asked, name):
            raise PermissionDenied(f"this key may not ask {asked!r}; ask for {' or '.join(key.models)}")

    def _is_auto(self, name: str) -> bool:
        meant = self._meanings.get(canonical(name), (name,))
        return canonical(meant[0]) == canonical(AUTO)

    def _meant(self, name: str) -> str:
        """Give what *name* stands for; of several models, the first that a spoke in session has."""
        meant = self._meanings.get(canonical(name), (name,))
        if len(meant) > 1:
            present = {canonical(known) for model in self.models() for known in (*model.names, model.key)}
            return next((model for model in meant if canonical(model) in present), meant[0])
        return meant[0]


def _may(key: ApiKey | None, asked: str, name: str) -> bool:
    """Whether a key is good for a name, or for what it stands for."""
    return key is None or may_ask(key, asked) or may_ask(key, name)
