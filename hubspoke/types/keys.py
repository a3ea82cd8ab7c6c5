"""API keys, as those who run the mesh see them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hubspoke.types.requests import Priority

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """What a new key may do. No *models* means all of them, as patterns like `llama3*`; `None` is no limit."""

    name: str
    models: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    tokens_per_day: int | None = None
    priority: Priority = Priority.INTERACTIVE
    scopes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class KeyUsage:
    """What a key has used of a model on a day, which begins at 0:00 UTC."""

    day: datetime
    model: str
    requests: int
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key without its secret, and what it has used of the last days, the newest first."""

    id: str
    plan: KeyPlan
    created_at: datetime
    revoked_at: datetime | None = None
    usage: tuple[KeyUsage, ...] = ()


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key with its secret, which is shown once."""

    secret: str = field(repr=False)
    info: KeyInfo
