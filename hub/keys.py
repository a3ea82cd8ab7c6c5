"""API keys: made, checked, metered. The secret is shown once, and only its hash is kept."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from hub.core import quota
from hub.core.quota import DAY_S, ApiKey, KeyId, Left, Scope, Spent
from hub.store.keys import Known, Used
from hubspoke.errors import AlreadyEnrolled, InvalidRequest, Unauthenticated, UnknownKey
from hubspoke.types import Usage

if TYPE_CHECKING:
    from hub.store.keys import KeyStore
    from hubspoke.clock import Clock
    from hubspoke.types import Priority

PREFIX: Final = "hsk"
ID_BYTES: Final = 6
SECRET_BYTES: Final = 32
NAME_CHARS_MAX: Final = 64
MODELS_MAX: Final = 64
REFUSED: Final = "this API key is not accepted; `hubspoke key create` makes one, `hubspoke key list` shows those that are good"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key with its secret."""

    secret: str = field(repr=False)
    key: ApiKey


class Keys:
    """Every API key, and what each has used."""

    def __init__(self, store: KeyStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[KeyId, Known] = {}
        self._spent: dict[KeyId, Spent] = {}
        self._unsaved: dict[tuple[KeyId, str, int], Counter[str]] = {}

    async def load(self) -> None:
        """Read the keys, and what they have used today. Before anything else."""
        self._known = {known.key.id: known for known in await self._store.keys()}
        today = self._today()
        for used in await self._store.used_since(today):
            known = self._known.get(used.key)
            if known is not None:
                spent = self._spent_of(known.key)
                cost = Usage(prompt_tokens=used.prompt_tokens, output_tokens=used.output_tokens)
                self._spent[used.key] = quota.charge(spent, cost, today)

    @property
    def all(self) -> tuple[ApiKey, ...]:
        """Every key, the newest first, those that were revoked included."""
        keys = (known.key for known in self._known.values())
        return tuple(sorted(keys, key=lambda key: (-key.created_at, key.id)))

    async def create(
        self,
        name: str,
        *,
        models: tuple[str, ...],
        requests_per_minute: int | None,
        tokens_per_day: int | None,
        priority: Priority,
        scopes: frozenset[Scope],
    ) -> NewKey:
        """Make a key; raise InvalidRequest or AlreadyEnrolled for a name that cannot be."""
        self._check_name(name)
        if len(models) > MODELS_MAX or not all(model and model.isprintable() for model in models):
            raise InvalidRequest(f"models must be up to {MODELS_MAX} names or patterns that can be printed")
        if requests_per_minute == 0 or tokens_per_day == 0:
            raise InvalidRequest(
                "a key that may do nothing is of no use; leave the limit out, or revoke the key"
            )
        key = ApiKey(
            id=KeyId(secrets.token_hex(ID_BYTES)),
            name=name,
            models=models,
            requests_per_minute=requests_per_minute,
            tokens_per_day=tokens_per_day,
            priority=priority,
            scopes=scopes,
            created_at=self._clock.now().timestamp(),
        )
        secret = secrets.token_urlsafe(SECRET_BYTES)
        known = Known(key, _hash(secret))
        await self._store.add(known)
        self._known[key.id] = known
        log.info("key created", extra={"key": key.id, "key_name": name})
        return NewKey(f"{PREFIX}_{key.id}_{secret}", key)

    async def revoke(self, id_or_name: str) -> ApiKey:
        """End a key for good; raise UnknownKey."""
        for known in self._known.values():
            key = known.key
            if key.revoked_at is None and id_or_name in {key.id, key.name}:
                ended = replace(key, revoked_at=self._clock.now().timestamp())
                await self._store.revoke(ended.id, ended.revoked_at or 0.0)
                self._known[key.id] = replace(known, key=ended)
                log.info("key revoked", extra={"key": key.id, "key_name": key.name})
                return ended
        raise UnknownKey(f"there is no good key {id_or_name!r}; `hubspoke key list` shows them")

    def authenticate(self, shown: str) -> ApiKey:
        """Say which key *shown* is; raise Unauthenticated, in the same time and words whatever is wrong with it."""
        prefix, _, rest = shown.partition("_")
        key_id, _, secret = rest.partition("_")
        known = self._known.get(KeyId(key_id))
        expected = b"" if known is None else known.secret_hash
        is_right = hmac.compare_digest(_hash(secret), expected.ljust(hashlib.sha256().digest_size, b"\0"))
        if known is None or prefix != PREFIX or not is_right or known.key.revoked_at is not None:
            raise Unauthenticated(REFUSED)
        return known.key

    def admit(self, key: ApiKey) -> Left:
        """Take one request from *key*, and say what is left; raise what `quota.admit` raises."""
        now = self._clock.monotonic()
        spent = quota.admit(key, self._spent_of(key), now=now, today=self._today())
        self._spent[key.id] = spent
        return quota.left(key, spent)

    def charge(self, key: ApiKey, model: str, usage: Usage) -> None:
        """Write down what an answer has cost, or the part of one that broke off."""
        today = self._today()
        self._spent[key.id] = quota.charge(self._spent_of(key), usage, today)
        counts = self._unsaved.setdefault((key.id, model, today), Counter())
        counts["requests"] += 1
        counts["prompt_tokens"] += usage.prompt_tokens
        counts["output_tokens"] += usage.output_tokens

    async def save(self) -> None:
        """Keep what was used since the last time; raise StoreFailed, in which case it is kept for the next."""
        unsaved, self._unsaved = self._unsaved, {}
        rows = [
            Used(key, model, day, counts["requests"], counts["prompt_tokens"], counts["output_tokens"])
            for (key, model, day), counts in unsaved.items()
        ]
        try:
            await self._store.add_used(rows)
        except BaseException:
            for place, counts in unsaved.items():
                self._unsaved.setdefault(place, Counter()).update(counts)
            raise

    async def used(self, days: int) -> tuple[Used, ...]:
        """Say what was used of the last *days* days, today included."""
        await self.save()
        return await self._store.used_since(self._today() - days + 1)

    def _check_name(self, name: str) -> None:
        if not 1 <= len(name) <= NAME_CHARS_MAX or not name.isprintable():
            raise InvalidRequest(f"a key's name has 1 to {NAME_CHARS_MAX} characters that can be printed")
        if any(known.key.name == name and known.key.revoked_at is None for known in self._known.values()):
            raise AlreadyEnrolled(f"there is a key {name!r} already; revoke it, or choose another name")

    def _spent_of(self, key: ApiKey) -> Spent:
        return self._spent.get(key.id) or quota.fresh(key, self._clock.monotonic())

    def _today(self) -> int:
        return int(self._clock.now().timestamp() // DAY_S)


def _hash(secret: str) -> bytes:
    # 256 bits of chance need no slow hash: nobody guesses them.
    return hashlib.sha256(secret.encode()).digest()
