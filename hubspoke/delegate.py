"""Work that is handed over to the mesh: it goes on, and ends, whether or not anybody watches."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final

import grpc

from hubspoke.api.delegation.v1 import delegation_pb2 as pb
from hubspoke.api.delegation.v1.delegation_pb2_grpc import DelegationServiceStub
from hubspoke.backoff import Backoff
from hubspoke.errors import EngineProtocol, InvalidRequest, StoreFailed, Unreachable
from hubspoke.types import ENDED, StateChanged
from hubspoke.wire import delegated, delegations, enums, status

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

    from hubspoke.clock import Clock
    from hubspoke.connection import Connection
    from hubspoke.types import DelegationEvent, DelegationId, DelegationInfo, DelegationState, Verb, Work

CALL_TIMEOUT_S: Final = 30.0
"""Deadline of every call but the watching: the hub has to write to its disk for some."""

WATCH_RETRY: Final = Backoff(base_s=0.2, cap_s=5.0)
WATCH_PATIENCE_S: Final = 600.0
"""How long whoever watches waits for a hub to come back."""

PAGE_SIZE: Final = 1_000

log = logging.getLogger(__name__)


class Delegations:
    """The delegations of one identity; of everybody for an admin."""

    def __init__(self, connection: Connection, clock: Clock, chance: Callable[[], float]) -> None:
        self._connection = connection
        self._clock = clock
        self._chance = chance

    async def hand_over(self, work: Work) -> DelegationInfo:
        """Hand *work* over, and return once the mesh keeps it. The same work again is the same delegation.

        Raise RequestIdTaken when its request_id came with other content before, InvalidRequest that names the field,
        NoOrchestrator when no model may plan, and StoreFailed when nothing was kept: hand it over again.
        """
        message = delegations.work_to_wire(work)
        response = await self._connection.call(
            lambda channel: DelegationServiceStub(channel).Delegate(message, timeout=CALL_TIMEOUT_S)
        )
        return delegated.info_from_wire(response.delegation)

    async def watch(self, id_: DelegationId, from_seq: int = 1) -> AsyncGenerator[DelegationEvent, None]:
        """Give what happened from number *from_seq* on, and then what happens, until the delegation has ended.

        A hub that goes away is waited for, for 10 minutes; nothing that is kept is left out or comes twice. Closing the
        generator ends no work.
        """
        wanted, failures, since = from_seq, 0, self._clock.monotonic()
        while True:
            try:
                async with aclosing(self._once(id_, wanted)) as events:
                    async for event in events:
                        failures, since = 0, self._clock.monotonic()
                        if event.seq:
                            wanted = event.seq + 1
                        yield event
                        if _is_last(event):
                            return
            except (Unreachable, StoreFailed) as error:
                if self._clock.monotonic() - since > WATCH_PATIENCE_S:
                    raise Unreachable(
                        f"{error.message}; the work goes on: `hubspoke delegations show {id_} --watch`"
                    ) from error
                failures += 1
                log.info(
                    "watching again", extra={"delegation": id_, "from_seq": wanted, "why": error.message}
                )
                await asyncio.sleep(WATCH_RETRY.delay_s(failures, self._chance))

    async def get(self, id_: DelegationId) -> DelegationInfo:
        """Say how a delegation stands, with its subtasks and its result; raise UnknownDelegation."""
        message = pb.GetDelegationRequest(id=id_)
        response = await self._connection.call(
            lambda channel: DelegationServiceStub(channel).GetDelegation(message, timeout=CALL_TIMEOUT_S)
        )
        return delegated.info_from_wire(response.delegation)

    async def list(
        self, states: Sequence[DelegationState] = (), labels: Mapping[str, str] | None = None
    ) -> AsyncGenerator[DelegationInfo, None]:
        """Give delegations, the newest first, without subtasks and results."""
        token = ""
        while True:
            message = pb.ListDelegationsRequest(
                states=[enums.DELEGATION_STATE.to_wire(state) for state in states],
                labels=dict(labels or {}),
                page_size=PAGE_SIZE,
                page_token=token,
            )
            page = await self._connection.call(partial(_page, message))
            for info in page.delegations:
                yield delegated.info_from_wire(info)
            if not (token := page.next_page_token):
                return

    async def cancel(self, id_: DelegationId) -> DelegationInfo:
        """End a delegation, whatever it is doing; one that has ended stays as it is. Raise UnknownDelegation."""
        message = pb.CancelDelegationRequest(id=id_)
        response = await self._connection.call(
            lambda channel: DelegationServiceStub(channel).CancelDelegation(message, timeout=CALL_TIMEOUT_S)
        )
        return delegated.info_from_wire(response.delegation)

    async def resolve(
        self, id_: DelegationId, verb: Verb, *, subtask: str = "", output: str = ""
    ) -> DelegationInfo:
        """Say what becomes of what is parked: of *subtask*, or of the whole delegation when that is empty.

        *output* is for `Verb.SUPPLY`. Raise UnknownDelegation, or WrongState when nothing is parked there.
        """
        message = pb.ResolveParkedRequest(
            id=id_, subtask_id=subtask, verb=enums.VERB.to_wire(verb), output=output
        )
        response = await self._connection.call(
            lambda channel: DelegationServiceStub(channel).ResolveParked(message, timeout=CALL_TIMEOUT_S)
        )
        return delegated.info_from_wire(response.delegation)

    async def delete(self, id_: DelegationId) -> None:
        """Forget a delegation that has ended, with all that it holds; raise UnknownDelegation or WrongState."""
        message = pb.DeleteDelegationRequest(id=id_)
        await self._connection.call(
            lambda channel: DelegationServiceStub(channel).DeleteDelegation(message, timeout=CALL_TIMEOUT_S)
        )

    async def _once(self, id_: DelegationId, from_seq: int) -> AsyncGenerator[DelegationEvent, None]:
        """Watch over one call; raise Unreachable when it ends before the delegation has."""
        message = pb.WatchDelegationRequest(id=id_, from_seq=from_seq)

        async def watch(channel: grpc.aio.Channel) -> AsyncGenerator[DelegationEvent, None]:
            call = DelegationServiceStub(channel).WatchDelegation(message)
            try:
                async for response in call:
                    if (event := _read(response)) is not None:
                        yield event
            except grpc.aio.AioRpcError as failure:
                raise status.error_of(failure) from failure
            finally:
                call.cancel()
            raise Unreachable("the hub has ended the watching before the work has ended")

        async with aclosing(self._connection.stream(watch)) as events:
            async for event in events:
                yield event


def _page(
    message: pb.ListDelegationsRequest, channel: grpc.aio.Channel
) -> Awaitable[pb.ListDelegationsResponse]:
    return DelegationServiceStub(channel).ListDelegations(message, timeout=CALL_TIMEOUT_S)


def _read(response: pb.WatchDelegationResponse | None) -> DelegationEvent | None:
    """Read an event; None for what only a newer version knows."""
    if response is None:  # what gRPC gives for a message that it cannot decode
        raise EngineProtocol("the hub has sent what cannot be read; is its version ours?")
    try:
        return delegated.event_from_wire(response.event)
    except InvalidRequest:
        return None


def _is_last(event: DelegationEvent) -> bool:
    return isinstance(event.happening, StateChanged) and event.happening.state in ENDED
