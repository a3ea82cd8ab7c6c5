"""A real hub in the test's own loop, and a spoke that says just what the test wants."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

import msgspec

from hub.config import Configuration, GatewayConfig, HubConfig, RolesConfig
from hub.ports import Ports
from hub.server import running
from hubspoke import enrol
from hubspoke.admin import AdminClient
from hubspoke.api.mesh.v1 import mesh_pb2 as pb
from hubspoke.api.mesh.v1.mesh_pb2_grpc import MeshServiceStub
from hubspoke.channel import dial
from hubspoke.client import MeshClient
from hubspoke.clock import SystemClock
from hubspoke.credentials import channel_credentials
from hubspoke.types import (
    Delta,
    Embeddings,
    EngineInfo,
    Finished,
    FinishReason,
    HostMemory,
    Inventory,
    Loaded,
    LoadPlan,
    Model,
    ModelState,
    Started,
    Usage,
    Waiting,
)
from hubspoke.wire import answers, enums, inventory, times
from pki.address import Host
from pki.files import HubAddresses, NodeFiles
from pki.identity import Role
from tests.fakes.hub import make_mesh
from tests.fakes.pauses import pause
from tests.fakes.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime
    from pathlib import Path

    import grpc

    from hubspoke.clock import Clock
    from hubspoke.types import EmbedEvent, Event, SpokeState, SpokeStatus
    from tests.fakes.hub import MeshOnDisk

WAIT_S = 30.0
"""Longest wait for anything that a test expects to happen."""

POLL_S = 0.01
FREE_PORTS = Ports(mesh=0, enrol=0)
NO_GATEWAY = GatewayConfig(enabled=False)
NO_ROLES = RolesConfig()
GIB = 1024**3
DIGEST = "sha256:" + "ab" * 32
OTHER_DIGEST = "sha256:" + "cd" * 32


def a_model(
    name: str = "tiny",
    *,
    digest: str = DIGEST,
    slots: int = 2,
    loaded: bool = True,
    size_bytes: int = 1_000_000,
) -> Model:
    """A model of the engine `fake`."""
    return Model(
        engine="fake",
        name=name,
        digest=digest,
        size_bytes=size_bytes,
        context_tokens_max=4096,
        kv_bytes_per_token=1024,
        plan=LoadPlan(slots=slots, context_tokens=2048),
        state=ModelState.LOADED if loaded else ModelState.COLD,
        loaded=Loaded(slots, 2048) if loaded else None,
    )


def an_inventory(*models: Model, free_bytes: int = 8 * GIB) -> Inventory:
    """A machine without a graphics card that has *models*."""
    return Inventory(HostMemory(16 * GIB, free_bytes), engines=(EngineInfo("fake"),), models=models)


class RealHub:
    """A hub that runs, and the directory that its nodes keep their identities in."""

    def __init__(self, directory: Path, made: MeshOnDisk, ports: Ports) -> None:
        self.directory = directory
        self.made = made
        self.admin = made.admin
        self.ports = ports
        self.mesh = f"127.0.0.1:{ports.mesh}"
        self.enrol = f"127.0.0.1:{ports.enrol}"

    async def join(self, name: str, role: Role, *, directory: str = "") -> NodeFiles:
        """Let *name* in through a real token; its identity lies in a directory of its name, or of another one."""
        async with AdminClient(self.admin.directory) as admin:
            token = await admin.create_join_token(name, role)
        files = NodeFiles(self.directory / (directory or name))
        await enrol.join(token.text, files.directory, roles=[role], clock=SystemClock())
        return files

    async def channel(self, files: NodeFiles) -> grpc.aio.Channel:
        """Connect with the identity in *files*; the caller closes it."""
        now = SystemClock().now()
        credentials = channel_credentials(files.load_identity(), files.load_anchors(now=now))
        return await dial([self.mesh], credentials)

    async def has_state(self, name: str, state: SpokeState) -> SpokeStatus:
        """Wait until the hub says that *name* is in *state*. Asking again is all that an admin can do."""
        return await self.has_spoke(lambda spoke: (spoke.name, spoke.state) == (name, state))

    async def is_listed(self, name: str, slots: int) -> SpokeStatus:
        """Wait until *name* has all its streams open and idle."""
        return await self.has_spoke(lambda spoke: (spoke.name, spoke.slots, spoke.busy) == (name, slots, 0))

    async def has_model(self, name: str, model: str) -> SpokeStatus:
        """Wait until *name* lists *model*: one that takes long for its first look registers without."""
        return await self.has_spoke(
            lambda spoke: spoke.name == name and model in {one.name for one in spoke.inventory.models}
        )

    async def has_spoke(self, is_so: Callable[[SpokeStatus], bool], wait_s: float = WAIT_S) -> SpokeStatus:
        """Wait until the hub lists a spoke of which *is_so* is true."""
        async with AdminClient(self.admin.directory) as admin, asyncio.timeout(wait_s):
            while True:
                for spoke in await admin.spokes():
                    if is_so(spoke):
                        return spoke
                await pause(POLL_S)

    @asynccontextmanager
    async def app(self, name: str = "laptop") -> AsyncIterator[MeshClient]:
        """Connect as an app."""
        files = await self.join(name, Role.APP)
        async with MeshClient(files.directory) as client:
            yield client

    @asynccontextmanager
    async def spoke(
        self, name: str, *models: Model, slots: int = 2, offer: bool = True
    ) -> AsyncIterator[ScriptedSpoke]:
        """Let a spoke in that has *models*, and connect it with every slot open, and offered unless not."""
        files = await self.join(name, Role.SPOKE)
        async with self.connected(files, *models, slots=slots, offer=offer) as spoke:
            yield spoke

    @asynccontextmanager
    async def connected_again(self, name: str) -> AsyncIterator[ScriptedSpoke]:
        """Open another connection of a spoke, and do nothing on it yet."""
        async with ScriptedSpoke(await self.channel(NodeFiles(self.directory / name))) as again:
            yield again

    @asynccontextmanager
    async def connected(
        self, files: NodeFiles, *models: Model, slots: int = 2, offer: bool = True
    ) -> AsyncIterator[ScriptedSpoke]:
        """Connect a spoke that has joined before."""
        name = files.load_identity().identity.name
        async with ScriptedSpoke(await self.channel(files)) as spoke:
            await spoke.register(an_inventory(*(models or (a_model(),))), max(slots, 1))
            await spoke.beat()
            for number in range(slots):
                await spoke.open(number, offer=offer)
            await self.has_spoke(lambda listed: (listed.name, listed.slots) == (name, slots))
            yield spoke


@asynccontextmanager
async def real_hub(
    directory: Path,
    clock: Clock | None = None,
    gateway: GatewayConfig = NO_GATEWAY,
    roles: RolesConfig = NO_ROLES,
    *,
    approve: bool = False,
) -> AsyncIterator[RealHub]:
    """Make a mesh in *directory*, and run its hub on free ports of the loopback."""
    async with hub_of(
        make_mesh(directory),
        directory,
        Ports(*free_ports(2)),
        clock or SystemClock(),
        gateway=gateway,
        roles=roles,
        approve=approve,
    ) as hub:
        yield hub


@asynccontextmanager
async def started_again(before: RealHub, *, roles: RolesConfig = NO_ROLES) -> AsyncIterator[RealHub]:
    """Run a hub with the state and the ports that *before* had, which has ended."""
    async with hub_of(before.made, before.directory, before.ports, SystemClock(), roles=roles) as hub:
        yield hub


@asynccontextmanager
async def hub_of(
    made: MeshOnDisk,
    directory: Path,
    ports: Ports,
    clock: Clock,
    *,
    gateway: GatewayConfig = NO_GATEWAY,
    roles: RolesConfig = NO_ROLES,
    approve: bool = False,
) -> AsyncIterator[RealHub]:
    """Run the hub of a mesh that was made before; its nodes go to *directory*."""
    settings = HubConfig(
        listen="127.0.0.1",
        mesh_port=ports.mesh,
        enrol_port=ports.enrol,
        advertise=(Host("127.0.0.1"),),
        approve=approve,
    )
    gateway = msgspec.structs.replace(gateway, port=ports.gateway[0] if ports.gateway else 0)
    told = Configuration(hub=settings, gateway=gateway, roles=roles)
    async with running(told, made.hub, clock, random.random) as ports_in_use:
        hub = RealHub(directory, made, ports_in_use)
        made.admin.save_addresses(HubAddresses(mesh=(hub.mesh,), enrol=(hub.enrol,)))  # type: ignore[arg-type]
        yield hub


class ScriptedSlot:
    """One Work stream, from the spoke's end."""

    def __init__(self, call: grpc.aio.StreamStreamCall[pb.WorkRequest, pb.WorkResponse]) -> None:
        self.call = call
        self._reading: asyncio.Task[object] | None = None

    def reading(self) -> asyncio.Task[object]:
        """Give the one read that is under way: to give one up would end the stream."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self.call.read())
        return self._reading

    async def read(self) -> object:
        """Wait for the next message, or for the end of the stream."""
        reading = self.reading()
        try:
            return await asyncio.shield(reading)
        finally:
            if reading.done():
                self._reading = None

    async def say(self, **message: object) -> None:
        """Send one message, named as in the contract."""
        await self.call.write(pb.WorkRequest(**message))  # type: ignore[arg-type]

    async def assignment(self) -> pb.Assignment:
        """Wait for work."""
        return (await self._next("assignment")).assignment

    async def cancel(self) -> pb.Cancel:
        """Wait for work to be called off."""
        return (await self._next("cancel")).cancel

    async def delta(self, attempt: int, text: str) -> None:
        """Send some of an answer."""
        await self.say(chunk=pb.Chunk(attempt=attempt, body=answers.delta_bytes(Delta(text)), tokens=1))

    async def vectors(self, attempt: int, embeddings: Embeddings) -> None:
        """Send some vectors."""
        body = answers.embeddings_bytes(embeddings)
        await self.say(chunk=pb.Chunk(attempt=attempt, body=body, tokens=len(embeddings.vectors)))

    async def last(self, attempt: int, reason: FinishReason = FinishReason.STOP) -> None:
        """Send the end of an answer."""
        usage = Usage(prompt_tokens=3, output_tokens=9, decode_s=0.09, prompt_s=0.01)
        await self.say(
            last=pb.Last(
                attempt=attempt,
                body=answers.finished_bytes(Finished(reason, usage)),
                usage=answers.usage_to_wire(usage),
                finish=enums.FINISH_REASON.to_wire(reason),
            )
        )

    async def answer(self, *texts: str) -> pb.Assignment:
        """Wait for work, and do it."""
        assignment = await self.assignment()
        for text in texts:
            await self.delta(assignment.attempt, text)
        await self.last(assignment.attempt)
        return assignment

    async def _next(self, what: str) -> pb.WorkResponse:
        async with asyncio.timeout(WAIT_S):
            message = await self.read()
        assert isinstance(message, pb.WorkResponse), "the stream has ended"
        assert message.WhichOneof("message") == what
        return message


class ScriptedSpoke:
    """A spoke as a context. It does nothing by itself but what keeps its session alive."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.stub = MeshServiceStub(channel)
        self.session = 0
        self.slots: list[ScriptedSlot] = []
        self.beats: grpc.aio.StreamStreamCall[pb.HeartbeatRequest, pb.HeartbeatResponse]
        self._sequence = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()

    async def register(self, has: Inventory, slots: int = 2, *, replaces: int = 0) -> None:
        """Begin a session, and its heartbeat stream; it may go on with the one that it *replaces*."""
        request = pb.RegisterRequest(
            inventory=inventory.to_wire(has), slots=slots, agent_version="test", replaces=replaces
        )
        self.session = (await self.stub.Register(request, timeout=WAIT_S)).session
        self.beats = self.stub.Heartbeat()

    async def beat(self, has: Inventory | None = None, **more: object) -> pb.HeartbeatResponse:
        """Send a beat, and wait for its answer."""
        self._sequence += 1
        message = pb.HeartbeatRequest(
            session=self.session,
            sequence=self._sequence,
            sent_at=times.timestamp(_now()),
            inventory=None if has is None else inventory.to_wire(has),
            **more,  # type: ignore[arg-type]
        )
        await self.beats.write(message)
        response = await self.directives()
        while response.sequence < self._sequence:
            response = await self.directives()
        return response

    async def directives(self) -> pb.HeartbeatResponse:
        """Wait for the next thing that the hub says."""
        async with asyncio.timeout(WAIT_S):
            response = await self.beats.read()
        assert isinstance(response, pb.HeartbeatResponse), "the stream has ended"
        return response

    async def assigned(self) -> tuple[ScriptedSlot, pb.Assignment]:
        """Wait for work on any slot: which of them gets it is the hub's affair."""
        readings = {slot.reading(): slot for slot in self.slots}
        done, _ = await asyncio.wait(readings, timeout=WAIT_S, return_when=asyncio.FIRST_COMPLETED)
        assert done, "no slot was given work"
        slot = readings[done.pop()]
        return slot, await slot.assignment()

    async def open(self, number: int, *, offer: bool = True) -> ScriptedSlot:
        """Open a slot."""
        slot = ScriptedSlot(self.stub.Work())
        await slot.say(open=pb.Open(session=self.session, slot=number))
        if offer:
            await slot.say(offer=pb.Offer())
        self.slots.append(slot)
        return slot


def _now() -> datetime:
    return SystemClock().now()


def text_of(events: list[object]) -> str:
    """Give the text of an answer."""
    return "".join(event.text for event in events if isinstance(event, Delta))


async def begins(events: AsyncIterator[Event] | AsyncIterator[EmbedEvent]) -> None:
    """Read until the answer has begun: an app may be told to wait when the hub has yet to hear of a slot that was opened."""
    while not isinstance(event := await anext(events), Started):
        assert isinstance(event, Waiting)
