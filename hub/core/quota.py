"""What an API key may do: which models, how often, and how much in a day."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, NewType

from hub.core.catalogue import canonical
from hubspoke.errors import QuotaExceeded, RateLimited
from hubspoke.types import Priority

if TYPE_CHECKING:
    from hubspoke.types import Usage

KeyId = NewType("KeyId", str)
"""What tells API keys apart; the public half of the key itself."""

MINUTE_S: Final = 60.0
DAY_S: Final = 86_400.0


class Scope(StrEnum):
    """What a key is good for beside asking."""

    MODELS_WRITE = "models:write"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key without its secret. No *models* means all of them, as patterns like `llama3*`; `None` is no limit."""

    id: KeyId
    name: str
    models: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    tokens_per_day: int | None = None
    priority: Priority = Priority.INTERACTIVE
    scopes: frozenset[Scope] = frozenset()
    created_at: float = 0.0
    revoked_at: float | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """What a key has used: requests left in its bucket at *at*, and tokens of *day* (days since 1970, UTC)."""

    requests_left: float
    at: float
    day: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Left:
    """What a key may still do, for its holder to see; `None` is no limit."""

    requests: int | None = None
    tokens: int | None = None


def fresh(key: ApiKey, now: float) -> Spent:
    """Give what a key has used that was not used yet."""
    return Spent(float(key.requests_per_minute or 0), now)


def may_ask(key: ApiKey, model: str) -> bool:
    """Whether *key* is good for the name *model*."""
    # The tag that most names have may be left out in either place.
    named = {model.removesuffix(":latest"), canonical(model)}
    return not key.models or any(fnmatchcase(name, pattern) for name in named for pattern in key.models)


def admit(key: ApiKey, spent: Spent, *, now: float, today: int) -> Spent:
    """Take one request from *key*, at *now* of a clock that only goes forward.

    The rate is a bucket that holds a minute's requests and fills evenly. Raise RateLimited or QuotaExceeded, with when to
    come back.
    """
    spent = _of_today(spent, today)
    if key.tokens_per_day is not None and spent.tokens >= key.tokens_per_day:
        raise QuotaExceeded(
            f"this key has used its {key.tokens_per_day} tokens of today; it may go on after midnight UTC",
            limit=key.tokens_per_day,
            used=spent.tokens,
        )
    if key.requests_per_minute is None:
        return replace(spent, at=now)
    per_s = key.requests_per_minute / MINUTE_S
    left = min(float(key.requests_per_minute), spent.requests_left + max(0.0, now - spent.at) * per_s)
    if left < 1:
        raise RateLimited(
            f"this key may ask {key.requests_per_minute} times a minute; wait {(1 - left) / per_s:.1f} s",
            retry_after_s=round((1 - left) / per_s, 3),
            limit=key.requests_per_minute,
        )
    return replace(spent, requests_left=left - 1, at=now)


def charge(spent: Spent, usage: Usage, today: int) -> Spent:
    """Add what an answer has cost, prompt and output alike."""
    spent = _of_today(spent, today)
    return replace(spent, tokens=spent.tokens + usage.prompt_tokens + usage.output_tokens)


def left(key: ApiKey, spent: Spent) -> Left:
    """Say what *key* may still do."""
    return Left(
        requests=None if key.requests_per_minute is None else int(spent.requests_left),
        tokens=None if key.tokens_per_day is None else max(0, key.tokens_per_day - spent.tokens),
    )


def _of_today(spent: Spent, today: int) -> Spent:
    return spent if spent.day == today else replace(spent, day=today, tokens=0)
