"""Operators: models into memory, out of it, onto disks and off them, by hand."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from hub.rpc.interceptors import caller
from hubspoke.api.models.v1 import models_pb2 as pb
from hubspoke.api.models.v1 import models_pb2_grpc as rpc
from hubspoke.errors import InvalidRequest
from hubspoke.types import SpokeId
from hubspoke.wire import upkeep
from hubspoke.wire.allowed import MODEL_BYTES_MAX
from hubspoke.wire.checks import short

if TYPE_CHECKING:
    import grpc

    from hub.audit import Audit
    from hub.dispatch.upkeep import Upkeep


class ModelsService(rpc.ModelsServiceServicer):
    """Serves `LoadModel`, `UnloadModel`, `PullModel` and `DeleteModel`."""

    def __init__(self, upkeep: Upkeep, audit: Audit) -> None:
        self._upkeep = upkeep
        self._audit = audit

    def add_to(self, server: grpc.aio.Server) -> None:
        """Have *server* serve this."""
        rpc.add_ModelsServiceServicer_to_server(self, server)

    async def LoadModel(  # type: ignore[override]  # noqa: N802  # the proto names it; gRPC takes a coroutine that writes, too
        self,
        request: pb.LoadModelRequest,
        context: grpc.aio.ServicerContext[pb.LoadModelRequest, pb.LoadModelResponse],
    ) -> None:
        """Bring a model into memory, and say how that goes."""
        self._note("model.load", request.model, request.spoke)
        events = self._upkeep.load(_model(request.model), _spoke(request.spoke), pin=request.pin)
        async with aclosing(events):
            async for event in events:
                await context.write(upkeep.load_event_to_wire(event))

    async def UnloadModel(  # noqa: N802  # the proto names it
        self,
        request: pb.UnloadModelRequest,
        _context: grpc.aio.ServicerContext[pb.UnloadModelRequest, pb.UnloadModelResponse],
    ) -> pb.UnloadModelResponse:
        """Take a model out of memory."""
        self._note("model.unload", request.model, request.spoke)
        spokes = await self._upkeep.unload(_model(request.model), _spoke(request.spoke))
        return pb.UnloadModelResponse(spokes=spokes)

    async def PullModel(  # type: ignore[override]  # noqa: N802  # as LoadModel
        self,
        request: pb.PullModelRequest,
        context: grpc.aio.ServicerContext[pb.PullModelRequest, pb.PullModelResponse],
    ) -> None:
        """Get a model onto a spoke's disk, and say how that goes."""
        self._note("model.pull", request.model, request.spoke)
        events = self._upkeep.pull(_model(request.model), _spoke(request.spoke))
        async with aclosing(events):
            async for event in events:
                await context.write(upkeep.pull_event_to_wire(event))

    async def DeleteModel(  # noqa: N802  # the proto names it
        self,
        request: pb.DeleteModelRequest,
        _context: grpc.aio.ServicerContext[pb.DeleteModelRequest, pb.DeleteModelResponse],
    ) -> pb.DeleteModelResponse:
        """Delete a model from disks."""
        self._note("model.delete", request.model, request.spoke)
        spokes = await self._upkeep.delete(_model(request.model), _spoke(request.spoke))
        return pb.DeleteModelResponse(spokes=spokes)

    def _note(self, event: str, model: str, spoke: str) -> None:
        self._audit.note(event, by=caller().identity.name, model=model, spoke=spoke)


def _model(name: str) -> str:
    if not name:
        raise InvalidRequest("model is missing; `hubspoke models` lists what there is")
    if not name.isprintable():
        raise InvalidRequest("model holds characters that cannot be printed")
    return short("model", name, MODEL_BYTES_MAX)


def _spoke(name: str) -> SpokeId | None:
    return SpokeId(name) if name else None
