"""What is asked of identity. Each question gets a hub that runs, and gives figures and rows of a table."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import grpc

from bench.figures import percentile
from bench.report import Row, Section, at_most
from hub.audit import Audit
from hub.identities import Identities
from hub.rpc.identity import IdentityService
from hub.rpc.interceptors import mesh_gate
from hub.rpc.limits import NodeLimits
from hub.rpc.live import Live
from hub.store.database import Database
from hub.store.lead import Alone
from hub.store.nodes import NodeStore
from hub.trust import trust_of
from hub.whereabouts import Whereabouts
from hubspoke import enrol
from hubspoke.admin import AdminClient
from hubspoke.api.identity.v1 import identity_pb2 as identity_pb
from hubspoke.api.identity.v1.identity_pb2_grpc import IdentityServiceStub
from hubspoke.api.mesh.v1 import mesh_pb2 as mesh_pb
from hubspoke.api.mesh.v1.mesh_pb2_grpc import MeshServiceStub
from hubspoke.channel import dial
from hubspoke.clock import SystemClock
from hubspoke.credentials import channel_credentials
from hubspoke.rejoin import valid_identity
from hubspoke.types import HostMemory, Inventory
from hubspoke.wire import inventory
from pki.identity import Role
from pki.keys import certificate_request
from pki.profiles import LEAF_LIFETIME

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from types import TracebackType

    from bench.processes import Hub, Mesh
    from bench.report import Figure
    from pki.files import NodeFiles

    Context = grpc.aio.ServicerContext[Any, Any]
    Guard = Callable[[Context], AbstractContextManager[Context]]

AUTHORISATION_US_MAX: Final = 60
REVOCATION_S_MAX: Final = 1.0
RENEWALS_OF_A_NODE: Final = 10
"""Fewer than one node may make in a row."""
TOGETHER: Final = 16
"""Nodes that join, or connect, at a time."""
BEAT_S: Final = 2.0
WHO: Final = identity_pb.WhoAmIRequest()


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    joins: int
    renewals: int
    rejoins: int
    handshakes: int
    calls: int
    nodes: int
    revoked: int
    exchanged: int


@dataclass(frozen=True, slots=True)
class Bed:
    """What there is to measure with."""

    mesh: Mesh
    hub: Hub
    scale: Scale


async def join(bed: Bed) -> Section:
    """How long does it take from a token to an identity on the disk?"""
    took_s = []
    async with AdminClient(bed.mesh.admin.directory) as admin:
        for number in range(bed.scale.joins):
            name = f"joins-{number}"
            token = await admin.create_join_token(name, Role.APP)
            directory = bed.mesh.state(name)
            began = perf_counter()
            await enrol.join(token.text, directory, roles=(Role.APP,), clock=SystemClock())
            took_s.append(perf_counter() - began)
    return _section("join", "join: key, request, TLS, certificate, files", took_s)


async def renew(bed: Bed) -> Section:
    """How long does the hub take for the next certificate?"""
    took_s = []
    for number in range(-(-bed.scale.renewals // RENEWALS_OF_A_NODE)):
        files = await bed.mesh.node(f"renews-{number}", Role.APP)
        for _ in range(RENEWALS_OF_A_NODE):
            async with await _connected(files, bed.hub.address) as channel:
                request = identity_pb.RenewRequest(
                    certificate_request=certificate_request(files.request_key())
                )
                began = perf_counter()
                answer = await IdentityServiceStub(channel).Renew(request)
                took_s.append(perf_counter() - began)
            files.adopt(answer.certificate_chain, answer.anchors, now=SystemClock().now())
    return _section("renew", "renew, on a connection that is there", took_s)


async def rejoin(bed: Bed) -> Section:
    """How long does it take a node that was away for too long to be back?"""
    took_s = []
    for number in range(bed.scale.rejoins):
        files = await bed.mesh.node(f"rejoins-{number}", Role.APP)
        clock = WokenLate()
        began = perf_counter()
        await valid_identity(files, clock)
        took_s.append(perf_counter() - began)
    return _section("rejoin", "rejoin: challenge, proof, certificate, files", took_s)


class WokenLate(SystemClock):
    """A clock by which every certificate of a node has ended, at the first look; the real time afterwards."""

    def __init__(self) -> None:
        self._ahead = LEAF_LIFETIME

    def now(self) -> datetime:
        """Give the time."""
        ahead, self._ahead = self._ahead, timedelta(0)
        return super().now() + ahead


async def handshake(bed: Bed) -> Section:
    """How long does it take to connect with mutual TLS and to make a first call?"""
    took_s = []
    files = await bed.mesh.node("connects", Role.APP)
    for _ in range(bed.scale.handshakes):
        began = perf_counter()
        async with await _connected(files, bed.hub.address) as channel:
            await IdentityServiceStub(channel).WhoAmI(WHO)
            took_s.append(perf_counter() - began)
    return _section("handshake", "connection with mutual TLS, and a first call", took_s)


async def authorisation(bed: Bed) -> Section:
    """How much of a call goes into knowing whose it is, whether they may make it, and that it can be cut?"""
    took_s: list[float] = []
    async with _timed_server(bed, took_s) as address, await _connected(bed.mesh.admin, address) as channel:
        whoami = IdentityServiceStub(channel).WhoAmI
        for _ in range(bed.scale.calls):
            await whoami(WHO)
    took_us = [one * 1e6 for one in took_s]
    p50, p99 = percentile(took_us, 0.5), percentile(took_us, 0.99)
    figures = {"calls": len(took_us), "p50_us": p50, "p99_us": p99, "mean_us": sum(took_us) / len(took_us)}
    return Section(
        "authorisation",
        figures,
        (
            at_most("every check of a call: p50", p50, AUTHORISATION_US_MAX, "us"),
            Row("every check of a call: p99", f"{p99:.0f} us"),
        ),
    )


async def revocation(bed: Bed) -> Section:
    """How long does a stream of a node that is revoked go on, when many are connected?"""
    took_s: list[float] = []
    async with AsyncExitStack() as stack:
        nodes = [LiveNode(f"den-{number}") for number in range(bed.scale.nodes)]
        await some_at_a_time([partial(node.join, bed) for node in nodes])
        await some_at_a_time([partial(node.connect, bed, stack) for node in nodes])
        beating = asyncio.create_task(_beat(nodes))
        async with AdminClient(bed.mesh.admin.directory) as admin:
            for node in nodes[: bed.scale.revoked]:
                began = perf_counter()
                await admin.revoke(node.name)
                code = await node.beats.code()
                took_s.append(node.ended_at - began)
                if code is not grpc.StatusCode.UNAUTHENTICATED:
                    raise RuntimeError(f"the stream of {node.name} ended with {code.name}")
        beating.cancel()
    figures = _figures(took_s)
    figures["nodes"] = bed.scale.nodes
    p99_s = percentile(took_s, 0.99)
    what = f"from revoking to the end of the stream, of {bed.scale.nodes} nodes: "
    return Section(
        "revocation",
        figures,
        (
            Row(f"{what}p50", f"{percentile(took_s, 0.5) * 1e3:.1f} ms"),
            at_most(f"{what}p99", p99_s, REVOCATION_S_MAX, "s"),
        ),
    )


class LiveNode:
    """A node with a heartbeat stream."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.beats: grpc.aio.StreamStreamCall[mesh_pb.HeartbeatRequest, mesh_pb.HeartbeatResponse]
        self.ended_at = 0.0
        self._session = 0
        self._sequence = 0

    async def join(self, bed: Bed) -> None:
        """Get an identity."""
        await bed.mesh.node(self.name, Role.SPOKE)

    async def connect(self, bed: Bed, stack: AsyncExitStack) -> None:
        """Begin a session, and the stream."""
        files = await bed.mesh.node(self.name, Role.SPOKE)
        channel = await stack.enter_async_context(await _connected(files, bed.hub.address))
        stub = MeshServiceStub(channel)
        nothing = inventory.to_wire(Inventory(HostMemory(1 << 34, 1 << 33)))
        request = mesh_pb.RegisterRequest(inventory=nothing, slots=1, agent_version="bench")
        self._session = (await stub.Register(request)).session
        self.beats = stub.Heartbeat()
        self.beats.add_done_callback(self._note_end)
        await self.beat()
        await self.beats.read()

    async def beat(self) -> None:
        """Stay."""
        self._sequence += 1
        await self.beats.write(mesh_pb.HeartbeatRequest(session=self._session, sequence=self._sequence))

    def _note_end(self, _call: object) -> None:
        self.ended_at = perf_counter()


async def _beat(nodes: Sequence[LiveNode]) -> None:
    while True:
        await asyncio.sleep(BEAT_S)
        for node in nodes:
            if not node.ended_at:
                await node.beat()


async def some_at_a_time(tasks: Sequence[Callable[[], Awaitable[object]]]) -> None:
    """Do all of *tasks*, no more than TOGETHER at a time."""
    free = asyncio.Semaphore(TOGETHER)

    async def held(task: Callable[[], Awaitable[object]]) -> None:
        async with free:
            await task()

    async with asyncio.TaskGroup() as group:
        for task in tasks:
            group.create_task(held(task))


@asynccontextmanager
async def _timed_server(bed: Bed, took_s: list[float]) -> AsyncIterator[str]:
    """Serve in this process with the hub's own gate, and time what it does for each call."""
    clock, place = SystemClock(), bed.mesh.state("timed")
    with Audit.open(place, clock) as audit:
        live, database = Live(audit), await Database.open(place / "state.db")
        identities = Identities(NodeStore(database), trust_of(bed.mesh.files, clock), clock, live, audit)
        await identities.load()
        await identities.adopt(bed.mesh.files.authorities.load_admin())
        gate = mesh_gate(identities, live, NodeLimits(clock), audit)
        gate._guard = _timed(gate._guard, took_s)  # noqa: SLF001  # the part that is measured has no other end to hold
        server = grpc.aio.server(interceptors=(gate,))
        whereabouts = Whereabouts(bed.mesh.admin.load_addresses(), Alone())
        IdentityService(identities, whereabouts, clock).add_to(server)
        own = bed.mesh.files.load_identity()
        credentials = grpc.ssl_server_credentials(
            [(own.key_pem, own.chain_pem)], identities.clients_pem, require_client_auth=True
        )
        port = server.add_secure_port("127.0.0.1:0", credentials)
        await server.start()
        yield f"127.0.0.1:{port}"
        await server.stop(None)
        await database.close()


def _timed(guard_of: Callable[[str], Guard], took_s: list[float]) -> Callable[[str], Guard]:
    def guard(method: str) -> Guard:
        check = guard_of(method)

        def timed(context: Context) -> AbstractContextManager[Context]:
            began = perf_counter()
            return _Timed(check(context), began, took_s)

        return timed

    return guard


class _Timed:
    """A block of which entering and leaving is timed, and what came before, but not what happens in it."""

    def __init__(self, block: AbstractContextManager[Context], began: float, took_s: list[float]) -> None:
        self._block = block
        self._began = began
        self._took_s = took_s

    def __enter__(self) -> Context:
        served = self._block.__enter__()
        self._entered_s = perf_counter() - self._began
        return served

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        began = perf_counter()
        self._block.__exit__(kind, error, traceback)
        self._took_s.append(self._entered_s + perf_counter() - began)


async def _connected(files: NodeFiles, address: str) -> grpc.aio.Channel:
    now = SystemClock().now()
    return await dial([address], channel_credentials(files.load_identity(), files.load_anchors(now=now)))


def _figures(took_s: Sequence[float]) -> dict[str, Figure]:
    return {
        "times": len(took_s),
        "p50_ms": percentile(took_s, 0.5) * 1e3,
        "p99_ms": percentile(took_s, 0.99) * 1e3,
        "max_ms": max(took_s) * 1e3,
    }


def _section(name: str, what: str, took_s: Sequence[float]) -> Section:
    p50_ms, p99_ms = percentile(took_s, 0.5) * 1e3, percentile(took_s, 0.99) * 1e3
    return Section(name, _figures(took_s), (Row(f"{what}: p50 / p99", f"{p50_ms:.1f} / {p99_ms:.1f} ms"),))
