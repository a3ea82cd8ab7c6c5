"""Apps: what they ask, and the streams that their answers go to. Answers pass through as bytes, unread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc

from hub.core.catalogue import models
from hub.dispatch.journey import Call
from hubspoke.api.inference.v1 import inference_pb2 as pb
from hubspoke.channel import MESSAGE_BYTES_MAX
from hubspoke.errors import DeadlineExceeded, RequestTooLarge
from hubspoke.types import Started, Waiting
from hubspoke.wire import fleet, inference

if TYPE_CHECKING:
    from datetime import datetime

    from hub.dispatch.journey import Dispatch
    from hub.relay.sessions import Sessions
    from hubspoke.clock import Clock

    InferContext = grpc.aio.ServicerContext[bytes, bytes]

REQUEST_BYTES_MAX: Final = MESSAGE_BYTES_MAX - 64 * 1024
"""An assignment wraps the request, and has to pass to the spoke as one message too."""

SERVICE: Final = "hubspoke.api.inference.v1.InferenceService"


class InferenceService:
    """Serves `Infer` and `ListModels`. Not the generated base: that one parses what only passes through here."""

    def __init__(self, dispatch: Dispatch, sessions: Sessions, clock: Clock) -> None:
        self._dispatch = dispatch
        self._sessions = sessions
        self._clock = clock

    def add_to(self, server: grpc.aio.Server) -> None:
        """Have *server* serve this."""
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Infer": grpc.unary_stream_rpc_method_handler(self.infer),
            "ListModels": grpc.unary_unary_rpc_method_handler(
                self.list_models,
                request_deserializer=pb.ListModelsRequest.FromString,
                response_serializer=pb.ListModelsResponse.SerializeToString,
            ),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    async def infer(self, body: bytes, context: InferContext) -> None:
        """Ask a model, and stream its answer."""
        if len(body) > REQUEST_BYTES_MAX:
            raise RequestTooLarge(f"the request has {len(body)} bytes; at most {REQUEST_BYTES_MAX} are taken")
        request, deadline = inference.request_from_bytes(body)
        await self._dispatch.infer(
            Call(request, body, StreamClient(context), self._timeout_s(deadline, context))
        )

    async def list_models(
        self,
        _request: pb.ListModelsRequest,
        _context: grpc.aio.ServicerContext[pb.ListModelsRequest, pb.ListModelsResponse],
    ) -> pb.ListModelsResponse:
        """List what can be asked, and where it runs."""
        found = models(self._sessions.registry, self._sessions.traffic())
        return pb.ListModelsResponse(models=[fleet.summary_to_wire(summary) for summary in found])

    def _timeout_s(self, deadline: datetime | None, context: InferContext) -> float | None:
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


class StreamClient:
    """A client that reads a gRPC stream."""

    def __init__(self, context: InferContext) -> None:
        self.write = context.write

    async def tell(self, event: Waiting | Started) -> None:
        """Say why nothing runs yet, or where the answer is made."""
        if isinstance(event, Started):
            await self.write(inference.started_bytes(event))
        else:
            await self.write(inference.waiting_bytes(event))
