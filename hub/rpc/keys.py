"""Operators: API keys of the gateway."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from hub.core.quota import DAY_S, Scope
from hub.rpc.interceptors import caller
from hubspoke.api.keys.v1 import keys_pb2 as pb
from hubspoke.api.keys.v1 import keys_pb2_grpc as rpc
from hubspoke.errors import InvalidRequest
from hubspoke.types import IssuedKey, KeyInfo, KeyPlan, KeyUsage
from hubspoke.wire import keys as wire

if TYPE_CHECKING:
    from collections.abc import Iterable

    import grpc

    from hub.audit import Audit
    from hub.core.quota import ApiKey
    from hub.keys import Keys
    from hub.store.keys import Used

USAGE_DAYS: Final = 31


class KeysService(rpc.KeysServiceServicer):
    """Serves `CreateKey`, `ListKeys` and `RevokeKey`."""

    def __init__(self, keys: Keys, audit: Audit) -> None:
        self._keys = keys
        self._audit = audit

    def add_to(self, server: grpc.aio.Server) -> None:
        """Have *server* serve this."""
        rpc.add_KeysServiceServicer_to_server(self, server)

    async def CreateKey(  # noqa: N802  # the proto names it
        self,
        request: pb.CreateKeyRequest,
        _context: grpc.aio.ServicerContext[pb.CreateKeyRequest, pb.CreateKeyResponse],
    ) -> pb.CreateKeyResponse:
        """Make a key."""
        plan = wire.plan_from_wire(request)
        made = await self._keys.create(
            plan.name,
            models=plan.models,
            requests_per_minute=plan.requests_per_minute,
            tokens_per_day=plan.tokens_per_day,
            priority=plan.priority,
            scopes=_scopes(plan.scopes),
        )
        self._note("key.create", made.key)
        return wire.issued_to_wire(IssuedKey(made.secret, _info(made.key)))

    async def ListKeys(  # noqa: N802  # the proto names it
        self,
        _request: pb.ListKeysRequest,
        _context: grpc.aio.ServicerContext[pb.ListKeysRequest, pb.ListKeysResponse],
    ) -> pb.ListKeysResponse:
        """List the keys and what they have used."""
        used: defaultdict[str, list[Used]] = defaultdict(list)
        for row in await self._keys.used(USAGE_DAYS):
            used[row.key].append(row)
        infos = (_info(key, used[key.id]) for key in self._keys.all)
        return pb.ListKeysResponse(keys=[wire.info_to_wire(info) for info in infos])

    async def RevokeKey(  # noqa: N802  # the proto names it
        self,
        request: pb.RevokeKeyRequest,
        _context: grpc.aio.ServicerContext[pb.RevokeKeyRequest, pb.RevokeKeyResponse],
    ) -> pb.RevokeKeyResponse:
        """End a key for good."""
        revoked = await self._keys.revoke(request.key)
        self._note("key.revoke", revoked)
        return pb.RevokeKeyResponse(key=wire.info_to_wire(_info(revoked)))

    def _note(self, event: str, key: ApiKey) -> None:
        self._audit.note(event, by=caller().identity.name, key=key.id, name=key.name)


def _scopes(named: Iterable[str]) -> frozenset[Scope]:
    try:
        return frozenset(Scope(name) for name in named)
    except ValueError as error:
        raise InvalidRequest(f"{error}; there is {' and '.join(Scope)}") from error


def _info(key: ApiKey, used: Iterable[Used] = ()) -> KeyInfo:
    return KeyInfo(
        id=key.id,
        plan=KeyPlan(
            name=key.name,
            models=key.models,
            requests_per_minute=key.requests_per_minute,
            tokens_per_day=key.tokens_per_day,
            priority=key.priority,
            scopes=frozenset(key.scopes),
        ),
        created_at=_moment(key.created_at),
        revoked_at=None if key.revoked_at is None else _moment(key.revoked_at),
        usage=tuple(
            KeyUsage(_moment(row.day * DAY_S), row.model, row.requests, row.prompt_tokens, row.output_tokens)
            for row in used
        ),
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
