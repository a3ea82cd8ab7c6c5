"""Apps: work that they hand over, and what becomes of it."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from hub.rpc.interceptors import caller
from hubspoke.api.delegation.v1 import delegation_pb2 as pb
from hubspoke.api.delegation.v1 import delegation_pb2_grpc as rpc
from hubspoke.errors import InvalidRequest
from hubspoke.types import DelegationId, SubtaskId, Verb
from hubspoke.wire import delegated, delegations, enums
from hubspoke.wire.checks import short
from hubspoke.wire.delegations import INPUT_BYTES_MAX
from pki.identity import Role

if TYPE_CHECKING:
    import grpc

    from hub.delegations.delegations import Delegations
    from hubspoke.types import DelegationInfo

PAGE_SIZE: Final = 100
PAGE_SIZE_MAX: Final = 1_000


class DelegationService(rpc.DelegationServiceServicer):
    """Serves work that is handed over. An app sees its own, an admin everybody's."""

    def __init__(self, delegations: Delegations) -> None:
        self._delegations = delegations

    def add_to(self, server: grpc.aio.Server) -> None:
        """Have *server* serve this."""
        rpc.add_DelegationServiceServicer_to_server(self, server)

    async def Delegate(  # noqa: N802  # the proto names it
        self,
        request: pb.DelegateRequest,
        _context: grpc.aio.ServicerContext[pb.DelegateRequest, pb.DelegateResponse],
    ) -> pb.DelegateResponse:
        """Take work, and answer once it is kept."""
        work = delegations.work_from_wire(request)
        info, existing = await self._delegations.delegate(work, _me())
        return pb.DelegateResponse(delegation=delegated.info_to_wire(info), existing=existing)

    async def WatchDelegation(  # type: ignore[override]  # noqa: N802  # the proto names it; gRPC takes a coroutine that writes, too
        self,
        request: pb.WatchDelegationRequest,
        context: grpc.aio.ServicerContext[pb.WatchDelegationRequest, pb.WatchDelegationResponse],
    ) -> None:
        """Stream what happened and what happens, to the end."""
        events = self._delegations.watch(DelegationId(request.id), _seen(), request.from_seq)
        async with aclosing(events):
            async for event in events:
                await context.write(pb.WatchDelegationResponse(event=delegated.event_to_wire(event)))

    async def GetDelegation(  # noqa: N802  # the proto names it
        self,
        request: pb.GetDelegationRequest,
        _context: grpc.aio.ServicerContext[pb.GetDelegationRequest, pb.GetDelegationResponse],
    ) -> pb.GetDelegationResponse:
        """Say how a delegation stands."""
        info = await self._delegations.get(DelegationId(request.id), _seen())
        return pb.GetDelegationResponse(delegation=delegated.info_to_wire(info))

    async def ListDelegations(  # noqa: N802  # the proto names it
        self,
        request: pb.ListDelegationsRequest,
        _context: grpc.aio.ServicerContext[pb.ListDelegationsRequest, pb.ListDelegationsResponse],
    ) -> pb.ListDelegationsResponse:
        """List delegations, the newest first."""
        if request.page_size > PAGE_SIZE_MAX:
            raise InvalidRequest(f"page_size is more than {PAGE_SIZE_MAX}")
        size = request.page_size or PAGE_SIZE
        found = await self._delegations.listed(
            _seen(),
            [enums.DELEGATION_STATE.from_wire(state) for state in request.states],
            delegations.labels_from_wire(request.labels),
            size,
            _after(request.page_token),
        )
        return pb.ListDelegationsResponse(
            delegations=[delegated.info_to_wire(info) for info in found],
            next_page_token=_token(found[-1]) if len(found) == size else "",
        )

    async def CancelDelegation(  # noqa: N802  # the proto names it
        self,
        request: pb.CancelDelegationRequest,
        _context: grpc.aio.ServicerContext[pb.CancelDelegationRequest, pb.CancelDelegationResponse],
    ) -> pb.CancelDelegationResponse:
        """End a delegation."""
        info = await self._delegations.cancel(DelegationId(request.id), _seen())
        return pb.CancelDelegationResponse(delegation=delegated.info_to_wire(info))

    async def ResolveParked(  # noqa: N802  # the proto names it
        self,
        request: pb.ResolveParkedRequest,
        _context: grpc.aio.ServicerContext[pb.ResolveParkedRequest, pb.ResolveParkedResponse],
    ) -> pb.ResolveParkedResponse:
        """Say what becomes of what is parked."""
        verb = enums.VERB.from_wire(request.verb)
        if (verb is Verb.SUPPLY) != bool(request.output):
            raise InvalidRequest("output goes with SUPPLY, and SUPPLY with an output")
        info = await self._delegations.resolve(
            DelegationId(request.id),
            _seen(),
            SubtaskId(request.subtask_id) if request.subtask_id else None,
            verb,
            short("output", request.output, INPUT_BYTES_MAX),
        )
        return pb.ResolveParkedResponse(delegation=delegated.info_to_wire(info))

    async def DeleteDelegation(  # noqa: N802  # the proto names it
        self,
        request: pb.DeleteDelegationRequest,
        _context: grpc.aio.ServicerContext[pb.DeleteDelegationRequest, pb.DeleteDelegationResponse],
    ) -> pb.DeleteDelegationResponse:
        """Forget a delegation that has ended."""
        await self._delegations.delete(DelegationId(request.id), _seen())
        return pb.DeleteDelegationResponse()


def _me() -> str:
    return caller().identity.uri


def _seen() -> str | None:
    """Give whose delegations the caller may see; `None` for everybody's."""
    return None if caller().identity.role is Role.ADMIN else _me()


def _token(info: DelegationInfo) -> str:
    return f"{info.accepted_at.timestamp()!r} {info.id}"


def _after(token: str) -> tuple[float, str] | None:
    if not token:
        return None
    at, _, last = token.partition(" ")
    try:
        return float(at), last
    except ValueError as error:
        raise InvalidRequest("page_token is none; take next_page_token of the page before") from error
