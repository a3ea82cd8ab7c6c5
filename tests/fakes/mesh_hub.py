"""The mesh port of a hub that only listens, and says to spokes what a test tells it to: real server, real certificates."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

import grpc

from hubspoke.api.identity.v1 import identity_pb2 as identity_pb
from hubspoke.api.mesh.v1 import mesh_pb2 as pb
from hubspoke.channel import COMMON_OPTIONS, dial
from hubspoke.credentials import channel_credentials
from hubspoke.errors import MeshError
from hubspoke.wire import times
from hubspoke.wire.requests import request_to_wire
from hubspoke.wire.status import code_of, trailers_of
from pki import pem, policy
from pki.address import parse_address
from pki.authority import create_root
from pki.credential import Credential, StoredIdentity
from pki.files import HubAddresses
from pki.identity import Identity, NodeName, Role
from pki.keys import new_key
from tests.fakes.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from hubspoke.types import Model, Request
    from pki.bundle import Chain
    from pki.files import NodeFiles
    from pki.keys import PublicKey

T = TypeVar("T")

SERVICE = "hubspoke.api.mesh.v1.MeshService"
NOTHING = 1_000_000
"""The number of a directive that asks for nothing."""

DEADLINE_S = 30.0
"""Longest wait for anything that a test expects to happen, a program that starts included."""


async def soon(wait: Awaitable[T]) -> T:
    """What a test waits for comes within half a minute, or the test fails."""
    async with asyncio.timeout(DEADLINE_S):
        return await wait


class MeshSlot:
    """The hub's end of one Work stream."""

    def __init__(self, context: grpc.aio.ServicerContext[pb.WorkRequest, bytes]) -> None:
        self._context = context
        self.heard: asyncio.Queue[pb.WorkRequest] = asyncio.Queue()
        self.ended = asyncio.Event()
        self.opened = pb.Open()
        self.is_over = asyncio.Event()
        self._is_busy = False
        self._is_retired = False

    def retire(self) -> None:
        """End the stream as soon as nothing runs on it, as a hub does when another session goes on with it."""
        self._is_retired = True
        self._end_if_idle()

    def note(self, message: pb.WorkRequest) -> None:
        """Take in what the spoke says."""
        if message.WhichOneof("message") in {"last", "declined"}:
            self._is_busy = False
            self._end_if_idle()
        self.heard.put_nowait(message)

    def _end_if_idle(self) -> None:
        if self._is_retired and not self._is_busy:
            self.is_over.set()

    async def say(self, message: pb.WorkResponse) -> None:
        self._is_busy |= message.HasField("assignment")
        await self._context.write(message.SerializeToString())

    async def say_bytes(self, body: bytes) -> None:
        await self._context.write(body)

    async def assign(
        self, attempt: int, model: Model, request: Request, but: pb.Assignment | None = None
    ) -> None:
        """Assign *request* as a right hub would, but for the fields that are set in *but*."""
        assignment = pb.Assignment(
            attempt=attempt,
            engine=model.engine,
            model=model.name,
            model_digest=model.digest,
            options=pb.ModelOptions(context_tokens=model.plan.context_tokens),
            call=pb.CALL_INFER,
            request=request_to_wire(request).SerializeToString(),
        )
        if but is not None:
            assignment.MergeFrom(but)
        await self.say(pb.WorkResponse(assignment=assignment))

    async def cancel(self, attempt: int) -> None:
        await self.say(pb.WorkResponse(cancel=pb.Cancel(attempt=attempt)))

    async def hear(self) -> pb.WorkRequest:
        return await soon(self.heard.get())

    async def hear_answer(self) -> tuple[list[pb.Chunk], pb.Last]:
        """Everything up to and including Last."""
        chunks = []
        while (message := await self.hear()).WhichOneof("message") == "chunk":
            chunks.append(message.chunk)
        assert message.WhichOneof("message") == "last", message
        return chunks, message.last


class MeshHub:
    """Welcomes every spoke, unless `refusal` is set, and hands the test everything that they say."""

    def __init__(self, *, heartbeat_s: float = 0.2, lease_s: float = 10.0) -> None:
        self.heartbeat_s = heartbeat_s
        self.lease_s = lease_s
        self.flush_s = 0.015
        self.answers_beats = True
        self.refusal: MeshError | None = None
        self.refused = asyncio.Event()
        self.registered: asyncio.Queue[pb.RegisterRequest] = asyncio.Queue()
        self.beats: asyncio.Queue[pb.HeartbeatRequest] = asyncio.Queue()
        self.slots: asyncio.Queue[MeshSlot] = asyncio.Queue()
        self.sessions = 0
        self._open: set[MeshSlot] = set()
        self.serials: list[str] = []  # of the certificates that registered, in their order
        self.renewals = 0
        self._directives: list[pb.Directive] = []
        self._settled: list[str] = []

    async def slot(self) -> MeshSlot:
        """The next slot that was offered."""
        return await soon(self.slots.get())

    async def beat_with(self, test: Callable[[pb.HeartbeatRequest], bool]) -> pb.HeartbeatRequest:
        """The next beat that *test* is true of."""
        async with asyncio.timeout(DEADLINE_S):
            while not test(beat := await self.beats.get()):
                pass
        return beat

    def direct(self, *directives: pb.Directive) -> None:
        """Say these with the answer to the next beat."""
        self._directives.extend(directives)

    async def is_heard(self) -> None:
        """Wait until the spoke has taken in an answer to a beat, and what was to be said by now with it.

        The next beat proves nothing: it is sent when it is time, whether an answer has come or not. A stop of a pull that there
        never was is acknowledged as soon as it is heard.
        """
        self.direct(pb.Directive(id=NOTHING, stop_pull=pb.StopPull(directive=NOTHING)))
        await self.beat_with(lambda beat: any(result.id == NOTHING for result in beat.results))

    def settle(self, *keys: str) -> None:
        """Say with the answer to the next beat that these tasks are settled."""
        self._settled.extend(keys)

    def handler(self) -> grpc.GenericRpcHandler[object, object]:
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Register": grpc.unary_unary_rpc_method_handler(
                    self._register, pb.RegisterRequest.FromString, pb.RegisterResponse.SerializeToString
                ),
                "Heartbeat": grpc.stream_stream_rpc_method_handler(
                    self._heartbeat, pb.HeartbeatRequest.FromString, pb.HeartbeatResponse.SerializeToString
                ),
                # Bytes, so that a test can say what is no message.
                "Work": grpc.stream_stream_rpc_method_handler(self._work, pb.WorkRequest.FromString),
            },
        )

    async def _register(
        self, request: pb.RegisterRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> pb.RegisterResponse:
        if self.refusal is not None:
            self.refused.set()
            await context.abort(code_of(self.refusal), self.refusal.message, trailers_of(self.refusal))
        self.sessions += 1
        (peer,) = context.auth_context()["x509_pem_cert"]
        self.serials.append(policy.serial_hex(pem.certificates(pem.split(peer))[0]))
        self.registered.put_nowait(request)
        for slot in self._open:
            if slot.opened.session == request.replaces:
                slot.retire()
        return pb.RegisterResponse(
            session=self.sessions,
            heartbeat_interval=times.duration(self.heartbeat_s),
            lease=times.duration(self.lease_s),
            hub="double",
        )

    async def _heartbeat(
        self, _: object, context: grpc.aio.ServicerContext[pb.HeartbeatRequest, pb.HeartbeatResponse]
    ) -> None:
        while isinstance(beat := await context.read(), pb.HeartbeatRequest):
            self.beats.put_nowait(beat)
            if not self.answers_beats:
                continue
            directives, self._directives = self._directives, []
            settled, self._settled = self._settled, []
            await context.write(
                pb.HeartbeatResponse(
                    sequence=beat.sequence,
                    directives=directives,
                    settled_tasks=settled,
                    flush_interval=times.duration(self.flush_s),
                )
            )

    async def _work(self, _: object, context: grpc.aio.ServicerContext[pb.WorkRequest, bytes]) -> None:
        slot = MeshSlot(context)
        self._open.add(slot)
        reading = asyncio.create_task(self._read(context, slot))
        over = asyncio.create_task(slot.is_over.wait())
        try:
            await asyncio.wait({reading, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            reading.cancel()
            over.cancel()
            self._open.discard(slot)
            slot.ended.set()

    async def _read(self, context: grpc.aio.ServicerContext[pb.WorkRequest, bytes], slot: MeshSlot) -> None:
        while isinstance(message := await context.read(), pb.WorkRequest):
            match message.WhichOneof("message"):
                case "open":
                    slot.opened = message.open
                case "offer":
                    self.slots.put_nowait(slot)
                case _:
                    slot.note(message)


class Mesh:
    """The keys of a mesh with one spoke, `den`, and an address at which hubs come and go."""

    def __init__(self, *, spoke_issued_ago: timedelta = timedelta(0)) -> None:
        now = datetime.now(UTC)
        root = create_root(now=now - timedelta(days=1))
        hub_issuer = root.create_hub_issuer(now=now)
        hub_key = new_key()
        hub = Credential(hub_key, hub_issuer.issue_hub(hub_key.public_key(), NodeName("h1"), now=now))
        self.node_issuer = root.create_node_issuer(now=now - timedelta(days=1))
        self.anchors = pem.write((root.certificate,))
        key = new_key()
        self.spoke = Credential(key, self._certify(key.public_key(), now=now - spoke_issued_ago))
        (port,) = free_ports(1)  # one that nobody is given while no hub is there
        self.address = f"127.0.0.1:{port}"
        self._server_credentials = grpc.ssl_server_credentials(
            [(hub.key_pem, hub.chain_pem)],
            pem.write((self.node_issuer.certificate,)),
            require_client_auth=True,
        )
        self._channel_credentials = channel_credentials(StoredIdentity.of(self.spoke), (root.certificate,))

    @asynccontextmanager
    async def serving(self, hub: MeshHub) -> AsyncIterator[MeshHub]:
        """Let *hub* serve; always at the same address."""
        server = grpc.aio.server(options=(*COMMON_OPTIONS, ("grpc.so_reuseport", 0)))
        server.add_generic_rpc_handlers((hub.handler(), self._identity_handler(hub)))
        server.add_secure_port(self.address, self._server_credentials)
        await server.start()
        try:
            yield hub
        finally:
            await server.stop(None)

    async def connect(self) -> grpc.aio.Channel:
        """Dial as the spoke does."""
        return await dial([self.address], self._channel_credentials, timeout_s=1.0)

    def enrol(self, files: NodeFiles) -> NodeFiles:
        """Put the spoke's identity where the agent looks for it."""
        files.save(self.spoke, self.anchors)
        address = parse_address(self.address)
        files.save_addresses(HubAddresses(mesh=(address,), enrol=(address,)))
        return files

    def _identity_handler(self, hub: MeshHub) -> grpc.GenericRpcHandler[object, object]:
        async def renew(request: identity_pb.RenewRequest, _: object) -> identity_pb.RenewResponse:
            hub.renewals += 1
            chain = self._certify(policy.check_csr(request.certificate_request), now=datetime.now(UTC))
            return identity_pb.RenewResponse(certificate_chain=chain.pem, anchors=self.anchors)

        return grpc.method_handlers_generic_handler(
            "hubspoke.api.identity.v1.IdentityService",
            {
                "Renew": grpc.unary_unary_rpc_method_handler(
                    renew, identity_pb.RenewRequest.FromString, identity_pb.RenewResponse.SerializeToString
                )
            },
        )

    def _certify(self, key: PublicKey, *, now: datetime) -> Chain:
        den = Identity(Role.SPOKE, NodeName("den"))
        return self.node_issuer.issue_node(key, den, now=now, lifetime=timedelta(days=1))
