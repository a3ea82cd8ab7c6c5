"""The mesh for programs: ask a model and read its answer as it is made.

    async with MeshClient() as mesh:
        async for event in mesh.infer(Request("tiny", messages=(Message(Speaker.USER, "Hello"),))):
            ...

Whatever goes wrong is a `hubspoke.errors.MeshError`; files that cannot be used are a `pki.errors.PkiError`.
"""

from __future__ import annotations

import random
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import grpc

from hubspoke.api.inference.v1 import inference_pb2 as pb
from hubspoke.api.inference.v1.inference_pb2_grpc import InferenceServiceStub
from hubspoke.clock import SystemClock
from hubspoke.connection import Connection
from hubspoke.errors import EngineProtocol, EngineTruncated, Unreachable
from hubspoke.paths import locate
from hubspoke.types import Delta, Finished, Started
from hubspoke.wire import fleet, inference, status
from pki.files import NodeFiles

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from datetime import datetime
    from pathlib import Path
    from typing import Self

    from hubspoke.clock import Clock
    from hubspoke.types import Event, ModelSummary, Request

CALL_TIMEOUT_S: Final = 10.0
"""Deadline of every call but `infer`."""

DEADLINE_GRACE_S: Final = 1.0
"""How long after the request's deadline the call itself ends: the hub's own word on it is the better one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: its text, who made it, and what it cost."""

    text: str
    started: Started
    finished: Finished


class MeshClient:
    """A connection to the mesh as one place to ask; use it as a context, on one event loop.

    *identity_dir* is where `hubspoke join` has put the identity, by default this user's own place. *addresses* are
    mesh addresses ("host:port", best first), by default those that came with the identity; whichever answers serves,
    and when it goes away the next call tries the others.
    """

    def __init__(
        self,
        identity_dir: Path | None = None,
        addresses: Sequence[str] = (),
        *,
        clock: Clock = SystemClock(),  # noqa: B008  # has no state
        chance: Callable[[], float] = random.random,
    ) -> None:
        files = NodeFiles(identity_dir or locate().client)
        self._clock = clock
        self._connection = Connection(files, addresses, clock=clock, chance=chance)

    async def __aenter__(self) -> Self:
        """Connect. Raise Unreachable when no hub answers, Unauthenticated when the certificate has ended."""
        await self._connection.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Disconnect; answers that are still being read end."""
        await self._connection.__aexit__(*exc)

    async def infer(
        self, request: Request, *, deadline: datetime | None = None
    ) -> AsyncGenerator[Event, None]:
        """Ask, and give what happens: Waiting, Started, Delta, and at last Finished.

        Closing the generator stops the work on the GPU. After *deadline*, which must know its zone, the answer is of
        no use and ends with DeadlineExceeded; without one it may take as long as it needs.
        """
        message = inference.request_to_wire(request, deadline)
        timeout_s = self._seconds_until(deadline)
        begun = False
        for may_redial in (True, False):
            async with self._connection.lease() as channel:
                try:
                    async with aclosing(_attempt(channel, message, timeout_s)) as events:
                        async for event in events:
                            begun = True
                            yield event
                except Unreachable:
                    if begun or not may_redial:
                        raise
                else:
                    return
            await self._connection.redial(channel)

    async def answer(self, request: Request, *, deadline: datetime | None = None) -> Answer:
        """Ask, and give the whole answer. *deadline* as with `infer`."""
        texts: list[str] = []
        started: Started | None = None
        finished: Finished | None = None
        async with aclosing(self.infer(request, deadline=deadline)) as events:
            async for event in events:
                match event:
                    case Delta():
                        texts.append(event.text)
                    case Started():
                        started = event
                    case Finished():
                        finished = event
        if started is None or finished is None:
            raise EngineTruncated("the answer does not say who made it; update the hub")
        return Answer("".join(texts), started, finished)

    async def models(self) -> tuple[ModelSummary, ...]:
        """List what can be asked, and where it runs."""
        return tuple(
            fleet.summary_from_wire(message) for message in (await self._connection.call(_list_models)).models
        )

    def _seconds_until(self, deadline: datetime | None) -> float | None:
        # Without a deadline the channel's keepalive still ends the call when the hub is gone.
        if deadline is None:
            return None
        return max(0.0, (deadline - self._clock.now()).total_seconds()) + DEADLINE_GRACE_S


async def _attempt(
    channel: grpc.aio.Channel, message: pb.InferRequest, timeout_s: float | None
) -> AsyncGenerator[Event, None]:
    call = InferenceServiceStub(channel).Infer(message, timeout=timeout_s)
    whole = False
    try:
        async for response in call:
            event = inference.event_from_wire(_decoded(response))
            if event is not None:
                whole = isinstance(event, Finished)
                yield event
    except grpc.aio.AioRpcError as failure:
        raise status.error_of(failure) from failure
    finally:
        call.cancel()
    if not whole:
        raise EngineTruncated("the answer broke off without an end; ask again")


def _decoded(response: pb.InferResponse | None) -> pb.InferResponse:
    # gRPC gives None for a message that it cannot decode, and logs why.
    if response is None:
        raise EngineProtocol("the spoke has sent what cannot be read; is its version the hub's?")
    return response


def _list_models(channel: grpc.aio.Channel) -> Awaitable[pb.ListModelsResponse]:
    return InferenceServiceStub(channel).ListModels(pb.ListModelsRequest(), timeout=CALL_TIMEOUT_S)
