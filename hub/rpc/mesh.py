"""Spokes: their sessions, heartbeats and slots. Unwraps what stands in the streams for the relay."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar, assert_never

import grpc

from hub.core.registry import HEARTBEAT_S, LEASE_S
from hub.relay.orders import DeleteOrder, LoadOrder, PullOrder, StopPullOrder, UnloadOrder
from hub.relay.work import Assignment, Ended
from hub.rpc.interceptors import caller
from hubspoke.api.mesh.v1 import mesh_pb2 as pb
from hubspoke.api.mesh.v1 import mesh_pb2_grpc as rpc
from hubspoke.errors import InvalidRequest, MeshError, ProtocolViolation
from hubspoke.types import SpokeId
from hubspoke.wire import answers, enums, inventory, status, tasks, times, upkeep

if TYPE_CHECKING:
    from hub.audit import Audit
    from hub.dispatch.journey import Dispatch
    from hub.identities import Identities
    from hub.relay.held import HeldTasks
    from hub.relay.orders import Order, Reply
    from hub.relay.outbox import Outbox
    from hub.relay.sessions import Sessions
    from hub.relay.work import Cancel, WorkStream
    from hub.store.mesh import Store
    from hubspoke.clock import Clock

    HeartbeatContext = grpc.aio.ServicerContext[pb.HeartbeatRequest, pb.HeartbeatResponse]
    WorkContext = grpc.aio.ServicerContext[pb.WorkRequest, pb.WorkResponse]

Said = TypeVar("Said", pb.HeartbeatRequest, pb.WorkRequest)

OPENING_TIMEOUT_S: Final = 10.0
"""For the first message of a stream."""

SKEW_S_MAX: Final = 30
"""How far a spoke's clock may be off before that is noted; certificates begin five minutes early."""

WORK_STREAMS_MAX: Final = 256
AGENT_VERSION_CHARS_MAX: Final = 100


class MeshService(rpc.MeshServiceServicer):
    """Serves `Register`, `Heartbeat` and `Work` to spokes, each for itself."""

    def __init__(
        self,
        sessions: Sessions,
        dispatch: Dispatch,
        held: HeldTasks,
        *,
        store: Store,
        identities: Identities,
        clock: Clock,
        audit: Audit,
        hub_name: str,
    ) -> None:
        self._sessions = sessions
        self._held = held
        self._dispatch = dispatch
        self._store = store
        self._identities = identities
        self._clock = clock
        self._hub_name = hub_name
        self._audit = audit

    def add_to(self, server: grpc.aio.Server) -> None:
        """Have *server* serve this."""
        rpc.add_MeshServiceServicer_to_server(self, server)

    async def Register(  # noqa: N802  # the proto names it
        self,
        request: pb.RegisterRequest,
        _context: grpc.aio.ServicerContext[pb.RegisterRequest, pb.RegisterResponse],
    ) -> pb.RegisterResponse:
        """Start a session."""
        if not 1 <= request.slots <= WORK_STREAMS_MAX:
            raise InvalidRequest(f"slots is {request.slots}; a spoke can have 1 to {WORK_STREAMS_MAX}")
        spoke = _spoke()
        session = self._sessions.register(
            spoke,
            inventory=inventory.from_wire(request.inventory),
            slots=request.slots,
            agent_version=request.agent_version[:AGENT_VERSION_CHARS_MAX],
            speeds=await self._store.speeds(spoke),
            pinned=await self._store.pins(spoke),
            replaces=request.replaces,
        )
        return pb.RegisterResponse(
            session=session,
            heartbeat_interval=times.duration(HEARTBEAT_S),
            lease=times.duration(LEASE_S),
            hub=self._hub_name,
        )

    async def Heartbeat(  # type: ignore[override]  # noqa: N802  # gRPC takes a coroutine that reads and writes, too
        self, _requests: object, context: HeartbeatContext
    ) -> None:
        """Take beats, and give answers and orders, until either side ends it."""
        spoke = _spoke()
        first = await _opening(context)
        session = first.session
        outbox = self._sessions.heartbeat(spoke, session)
        try:
            async with asyncio.TaskGroup() as group:
                reader = group.create_task(self._read_beats(context, spoke, session, first, outbox))
                await self._write_replies(context, outbox)
                reader.cancel()
        finally:
            self._sessions.lose(spoke, session)
        if outbox.error is not None:
            raise outbox.error

    async def Work(  # type: ignore[override]  # noqa: N802  # gRPC takes a coroutine that reads and writes, too
        self, _requests: object, context: WorkContext
    ) -> None:
        """Carry one slot for as long as the spoke lives."""
        first = await _opening(context)
        if first.WhichOneof("message") != "open":
            raise ProtocolViolation("a Work stream begins with Open")
        stream = self._sessions.open_work(_spoke(), first.open.session, first.open.slot)
        try:
            async with asyncio.TaskGroup() as group:
                reader = group.create_task(self._read_work(context, stream))
                stream.read_by(reader)
                await _write_work(context, stream)
                reader.cancel()
        finally:
            self._sessions.close_work(stream)
        if stream.outbox.error is not None:
            raise stream.outbox.error

    async def _read_beats(
        self,
        context: HeartbeatContext,
        spoke: SpokeId,
        session: int,
        first: pb.HeartbeatRequest,
        outbox: Outbox[Reply],
    ) -> None:
        message: pb.HeartbeatRequest | object = first
        try:
            while isinstance(message, pb.HeartbeatRequest):
                self._beat(spoke, session, message)
                if message.HasField("goodbye"):
                    self._sessions.leave(spoke, session)
                    break
                message = await context.read()
        except MeshError as error:
            outbox.close(error)
        except grpc.aio.BaseError:
            pass  # the connection is gone
        outbox.close()

    def _beat(self, spoke: SpokeId, session: int, message: pb.HeartbeatRequest) -> None:
        self._compare_clocks(spoke, message)
        has_inventory = message.HasField("inventory")
        self._sessions.beat(
            spoke,
            session,
            message.sequence,
            inventory=inventory.from_wire(message.inventory) if has_inventory else None,
            draining=message.draining,
        )
        if message.sequence == 1:
            self._held.brought(spoke, session, tasks.held_from_wire(message.held_tasks))
        for progress in message.progress:
            self._sessions.order_progressed(spoke, session, progress.id, upkeep.step_from_wire(progress))
        # After the inventory: the memory that a load was promised is in use by then, and never counted as free.
        for result in message.results:
            error = status.failure_from_wire(result.failure) if result.HasField("failure") else None
            took_s = max(0.0, times.seconds(result.took))
            loaded = self._sessions.order_ended(spoke, session, result.id, error, took_s)
            if loaded is not None:
                self._dispatch.note_speed(spoke, *loaded)

    def _compare_clocks(self, spoke: SpokeId, message: pb.HeartbeatRequest) -> None:
        """Note a spoke whose clock is off: its certificate will seem to begin too late, or to be over too soon."""
        if not message.HasField("sent_at"):
            return
        ahead_s = message.sent_at.seconds - round(self._clock.now().timestamp())
        if abs(ahead_s) > SKEW_S_MAX:
            reason = "ahead" if ahead_s > 0 else "behind"
            self._audit.note_often("clock.skew", peer=spoke, reason=reason, seconds=abs(ahead_s))

    async def _write_replies(self, context: HeartbeatContext, outbox: Outbox[Reply]) -> None:
        try:
            async for reply in outbox:
                await context.write(
                    pb.HeartbeatResponse(
                        sequence=reply.sequence,
                        directives=[_directive(order) for order in reply.orders],
                        settled_tasks=reply.settled,
                        flush_interval=times.duration(self._sessions.flush_s()),
                        bundle_generation=self._identities.generation,
                        catch_up_within=times.duration(self._identities.catch_up_within_s),
                    )
                )
        except grpc.aio.BaseError:
            outbox.close()  # the connection is gone

    async def _read_work(self, context: WorkContext, stream: WorkStream) -> None:
        read = context.read
        try:
            while isinstance(message := await read(), pb.WorkRequest):  # else it is EOF
                await self._take(stream, message)
        except MeshError as error:
            stream.close(error)
        except grpc.aio.BaseError:
            pass  # the connection is gone
        stream.close()

    async def _take(self, stream: WorkStream, message: pb.WorkRequest) -> None:
        match message.WhichOneof("message"):
            case "chunk":
                chunk = message.chunk
                await stream.chunk(chunk.attempt, chunk.body, chunk.tokens, self._clock.monotonic())
            case "last" if message.last.HasField("failure"):
                stream.failed(message.last.attempt, status.failure_from_wire(message.last.failure))
            case "last":
                last = message.last
                if not last.body:
                    raise ProtocolViolation("a Last has neither a body nor a failure")
                finish = enums.FINISH_REASON.from_wire(last.finish)
                ended = Ended(finish, answers.usage_from_wire(last.usage))
                await stream.last(last.attempt, last.body, ended, self._clock.monotonic())
            case "declined":
                stream.declined(message.declined.attempt, status.failure_from_wire(message.declined.failure))
            case "offer":
                stream.offer()
            case "withdraw":
                stream.withdraw()
            case "open":
                raise ProtocolViolation("Open comes once")
            case None:
                raise ProtocolViolation("a message of a Work stream says nothing that this version knows")


async def _opening(context: grpc.aio.ServicerContext[Said, Any]) -> Said:
    """Read the first message of a stream. Nothing is lost when the timeout ends the read: it ends the stream too."""
    try:
        async with asyncio.timeout(OPENING_TIMEOUT_S):
            message = await context.read()
    except TimeoutError as error:
        raise ProtocolViolation(f"nothing came on the stream within {OPENING_TIMEOUT_S:g} s") from error
    if not isinstance(message, pb.HeartbeatRequest | pb.WorkRequest):
        raise ProtocolViolation("the stream ended before it began")
    return message


async def _write_work(context: WorkContext, stream: WorkStream) -> None:
    try:
        async for item in stream.outbox:
            await context.write(_work_response(item))
    except grpc.aio.BaseError:
        stream.close()  # the connection is gone


def _work_response(item: Assignment | Cancel) -> pb.WorkResponse:
    if not isinstance(item, Assignment):
        return pb.WorkResponse(cancel=pb.Cancel(attempt=item.attempt))
    target = item.target
    return pb.WorkResponse(
        assignment=pb.Assignment(
            attempt=item.attempt,
            engine=target.place.engine,
            model=target.place.model,
            model_digest=target.digest,
            options=pb.ModelOptions(context_tokens=target.context_tokens),
            timeout=None if item.timeout_s is None else times.duration(item.timeout_s),
            call=enums.CALL.to_wire(item.kind),
            request=item.request,
            task=None if item.task is None else tasks.to_wire(item.task),
        )
    )


def _directive(order: Order) -> pb.Directive:
    match order:
        case LoadOrder(place=place):
            load = pb.LoadModel(engine=place.engine, model=place.model, context_tokens=order.context_tokens)
            return pb.Directive(id=order.id, load=load)
        case UnloadOrder(place=place):
            return pb.Directive(id=order.id, unload=pb.UnloadModel(engine=place.engine, model=place.model))
        case PullOrder(place=place):
            return pb.Directive(id=order.id, pull=pb.PullModel(engine=place.engine, model=place.model))
        case DeleteOrder(place=place):
            return pb.Directive(id=order.id, delete=pb.DeleteModel(engine=place.engine, model=place.model))
        case StopPullOrder():
            return pb.Directive(id=order.id, stop_pull=pb.StopPull(directive=order.pull))
        case _:
            assert_never(order)


def _spoke() -> SpokeId:
    return SpokeId(caller().identity.name)
