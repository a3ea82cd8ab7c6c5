"""The mesh for programs: ask a model and read its answer as it is made.

    async with MeshClient() as mesh:
        async for event in mesh.infer(Request("tiny", messages=(Message(Speaker.USER, "Hello"),))):
            ...

Whatever goes wrong is a `hubspoke.errors.MeshError`; files that cannot be used are a `pki.errors.PkiError`.
"""

from __future__ import annotations

import random
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from hubspoke.api.inference.v1 import inference_pb2 as pb
from hubspoke.api.inference.v1.inference_pb2_grpc import InferenceServiceStub
from hubspoke.clock import SystemClock
from hubspoke.connection import Connection, whole
from hubspoke.delegate import Delegations
from hubspoke.gathered import Answer, Gathered, GatheredVectors, Vectors
from hubspoke.paths import locate
from hubspoke.types import EmbedRequest, Finished
from hubspoke.wire import answers, fleet, requests
from pki.files import NodeFiles

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from datetime import datetime
    from pathlib import Path
    from typing import Self

    import grpc

    from hubspoke.clock import Clock
    from hubspoke.types import DelegationEvent, EmbedEvent, Event, ModelSummary, Request, Work

__all__ = ["CALL_TIMEOUT_S", "Answer", "MeshClient", "Vectors"]

CALL_TIMEOUT_S: Final = 10.0
"""Deadline of every call that no model works for."""

DEADLINE_GRACE_S: Final = 1.0
"""How long after the request's deadline the call itself ends: the hub's own word on it is the better one."""


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
        self.delegations = Delegations(self._connection, clock, chance)
        """Work that was handed over: hand over, watch, get, list, cancel, resolve, delete."""

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
        message = requests.request_to_wire(request, deadline)
        timeout_s = self._seconds_until(deadline)

        def ask(channel: grpc.aio.Channel) -> AsyncGenerator[Event, None]:
            call = InferenceServiceStub(channel).Infer(message, timeout=timeout_s)
            return whole(call, answers.event_from_wire, Finished)

        async with aclosing(self._connection.stream(ask)) as events:
            async for event in events:
                yield event

    async def answer(self, request: Request, *, deadline: datetime | None = None) -> Answer:
        """Ask, and give the whole answer. *deadline* as with `infer`."""
        gathered = Gathered()
        async with aclosing(self.infer(request, deadline=deadline)) as events:
            async for event in events:
                gathered.add(event)
        return gathered.answer()

    async def embed_stream(
        self, request: EmbedRequest, *, deadline: datetime | None = None
    ) -> AsyncGenerator[EmbedEvent, None]:
        """Turn texts into vectors, and give what happens: Waiting, Started, Embeddings, and at last Finished.

        Closing the generator stops the work. *deadline* as with `infer`.
        """
        message = requests.embed_to_wire(request, deadline)
        timeout_s = self._seconds_until(deadline)

        def ask(channel: grpc.aio.Channel) -> AsyncGenerator[EmbedEvent, None]:
            call = InferenceServiceStub(channel).Embed(message, timeout=timeout_s)
            return whole(call, answers.embed_event_from_wire, Finished)

        async with aclosing(self._connection.stream(ask)) as events:
            async for event in events:
                yield event

    async def embed(
        self, model: str, inputs: Sequence[str], *, dimensions: int = 0, deadline: datetime | None = None
    ) -> Vectors:
        """Turn texts into vectors of *dimensions* numbers, of all that the model makes when that is 0.

        *deadline* as with `infer`.
        """
        gathered = GatheredVectors(len(inputs))
        request = EmbedRequest(model, tuple(inputs), dimensions)
        async with aclosing(self.embed_stream(request, deadline=deadline)) as events:
            async for event in events:
                gathered.add(event)
        return gathered.vectors()

    async def delegate(self, work: Work) -> AsyncGenerator[DelegationEvent, None]:
        """Hand *work* over, and give what happens until it has ended: the last event has the result.

        Closing the generator, and the end of this program, end no work: `delegations.watch` goes on, `cancel` ends it.
        """
        info = await self.delegations.hand_over(work)
        async with aclosing(self.delegations.watch(info.id)) as events:
            async for event in events:
                yield event

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


def _list_models(channel: grpc.aio.Channel) -> Awaitable[pb.ListModelsResponse]:
    return InferenceServiceStub(channel).ListModels(pb.ListModelsRequest(), timeout=CALL_TIMEOUT_S)
