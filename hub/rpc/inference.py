"""Apps: what they ask, and the streams that their answers go to. Answers pass through as bytes, unread."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import grpc

from hub.core.catalogue import models
from hub.dispatch.journey import REQUEST_BYTES_MAX, Call
from hubspoke.api.inference.v1 import inference_pb2 as pb
from hubspoke.clock import time_of_day
from hubspoke.errors import DeadlineExceeded, RequestTooLarge
from hubspoke.types import Started, Waiting
from hubspoke.wire import answers, fleet, requests

if TYPE_CHECKING:
    from datetime import datetime

    from hub.core.needs import Asked
    from hub.dispatch.journey import Dispatch
    from hub.relay.sessions import Sessions
    from hubspoke.clock import Clock

    StreamContext = grpc.aio.ServicerContext[bytes, bytes]

SERVICE: Final = "hubspoke.api.inference.v1.InferenceService"


class InferenceService:
    """Serves `Infer`, `Embed` and `ListModels`. Not the generated base: it parses what only passes through here."""

    def __init__(self, dispatch: Dispatch, sessions: Sessions, clock: Clock) -> None:
        self._dispatch = dispatch
        self._sessions = sessions
        self._clock = clock

    def add_to(self, server: grpc.aio.Server) -> None:
        """Have *server* serve this."""
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Infer": grpc.unary_stream_rpc_method_handler(self.infer),
            "Embed": grpc.unary_stream_rpc_method_handler(self.embed),
            "ListModels": grpc.unary_unary_rpc_method_handler(
                self.list_models,
                request_deserializer=pb.ListModelsRequest.FromString,
                response_serializer=pb.ListModelsResponse.SerializeToString,
            ),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    async def infer(self, body: bytes, context: StreamContext) -> None:
        """Ask a model, and stream its answer."""
        request, deadline = requests.request_from_bytes(_small_enough(body))
        await self._answer(request, body, deadline, context)

    async def embed(self, body: bytes, context: StreamContext) -> None:
        """Turn texts into vectors, and stream them."""
        request, deadline = requests.embed_from_bytes(_small_enough(body))
        await self._answer(request, body, deadline, context)

    async def list_models(
        self,
        _request: pb.ListModelsRequest,
        _context: grpc.aio.ServicerContext[pb.ListModelsRequest, pb.ListModelsResponse],
    ) -> pb.ListModelsResponse:
        """List what can be asked, and where it runs."""
        found = models(self._sessions.registry, self._sessions.traffic(), partial(time_of_day, self._clock))
        return pb.ListModelsResponse(models=[fleet.summary_to_wire(summary) for summary in found])

    async def _answer(
        self, request: Asked, body: bytes, deadline: datetime | None, context: StreamContext
    ) -> None:
        timeout_s = self._timeout_s(deadline, context)
        await self._dispatch.answer(Call(request, body, StreamClient(context), timeout_s))

    def _timeout_s(self, deadline: datetime | None, context: StreamContext) -> float | None:
        """Give what is left of the request's time, by its own deadline or the call's, whichever comes first."""
        left_s = [] if deadline is None else [(deadline - self._clock.now()).total_seconds()]
        remaining_s = context.time_remaining()
        if remaining_s is not None:
            left_s.append(remaining_s)
        if not left_s:
            return None
        if min(left_s) <= 0:
            raise DeadlineExceeded(
                f"the deadline had passed by {-min(left_s):.3f} s when the request came in; is the clock right?"
            )
        return min(left_s)


def _small_enough(body: bytes) -> bytes:
    if len(body) > REQUEST_BYTES_MAX:
        raise RequestTooLarge(f"the request has {len(body)} bytes; at most {REQUEST_BYTES_MAX} are taken")
    return body


class StreamClient:
    """A client that reads a gRPC stream."""

    def __init__(self, context: StreamContext) -> None:
        self.write = context.write

    async def tell(self, event: Waiting | Started) -> None:
        """Say why nothing runs yet, or where the answer is made."""
        if isinstance(event, Started):
            await self.write(answers.started_bytes(event))
        else:
            await self.write(answers.waiting_bytes(event))
