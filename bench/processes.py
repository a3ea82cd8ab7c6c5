"""A throw-away mesh on loopback: every part in a process of its own, all of them gone at the end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from bench import nginx
from bench.metronome import BRISK, Tally
from hubspoke import grpc_settings
from hubspoke.admin import AdminClient
from hubspoke.client import MeshClient
from hubspoke.clock import SystemClock
from hubspoke.enrol import join
from hubspoke.types import KeyPlan, SpokeState
from pki import disk, pem
from pki.address import Host, address
from pki.credential import Credential
from pki.files import HubAddresses, HubFiles, NodeFiles
from pki.identity import Identity, NodeName, Role
from pki.keys import new_key
from pki.setup import Plan, add_hub, initialise

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Mapping
    from contextlib import AbstractAsyncContextManager


ROOT: Final = Path(__file__).parent.parent
HOST: Final = Host("127.0.0.1")
READY_S_MAX: Final = 20.0
STOP_S_MAX: Final = 5.0
LOOK_EVERY_S: Final = 0.02
REPORT_BYTES_MAX: Final = 1 << 20
CLIENT_S_MAX: Final = 120.0
APP: Final = NodeName("app")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub that runs."""

    pid: int
    address: str


@dataclass(frozen=True, slots=True)
class Standby:
    """A hub that stands by, and the port on which it will serve the mesh."""

    process: Process
    port: int

    async def listens(self) -> None:
        """Wait until it does."""
        await listening(self.process, self.port)


@dataclass(frozen=True, slots=True)
class Spoke:
    """A spoke that is registered, with all its slots on offer."""

    pid: int
    tally: Tally


class Mesh:
    """The keys, ports and identities of one mesh; its parts run as long as the blocks that start them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._hub_files = HubFiles(directory / "hub")
        self._admin = directory / "client"
        self._mesh_port, self._enrol_port = free_port(), free_port()
        self._clock = SystemClock()
        plan = Plan(
            hub_id=NodeName("hub"),
            admin_name=NodeName("admin"),
            hosts=(HOST,),
            addresses=HubAddresses((address(HOST, self._mesh_port),), (address(HOST, self._enrol_port),)),
        )
        initialise(self._hub_files, NodeFiles(self._admin), plan, passphrase=None, now=self._clock.now())

    @property
    def app(self) -> Path:
        """Where the identity of the app lies that asks; it exists from the first hub on."""
        return self._directory / APP

    @property
    def files(self) -> HubFiles:
        """The hub's own."""
        return self._hub_files

    @property
    def admin(self) -> NodeFiles:
        """The identity of the admin."""
        return NodeFiles(self._admin)

    async def node(self, name: str, role: Role) -> NodeFiles:
        """Get *name* an identity."""
        await self._enrol(NodeName(name), role)
        return NodeFiles(self._directory / name)

    @asynccontextmanager
    async def hub(
        self,
        flush_ms: int | None = None,
        gateway: Mapping[str, str] | None = None,
        database_url: str = "",
    ) -> AsyncIterator[Hub]:
        """Run the hub as users run it.

        *flush_ms* is how long it lets spokes gather tokens, *gateway* its settings, *database_url* where it keeps what it keeps.
        """
        settings = {
            **({} if flush_ms is None else {"HUB_FLUSH_MS": str(flush_ms)}),
            **{f"GATEWAY_{name}": value for name, value in (gateway or {"ENABLED": "false"}).items()},
        }
        ports = self._mesh_port, self._enrol_port
        async with self._hub("hub", self._directory, ports, database_url, settings) as process:
            await listening(process, self._mesh_port)
            await self._enrol(APP, Role.APP)
            yield Hub(process.pid, address(HOST, self._mesh_port))

    @asynccontextmanager
    async def standby(self, name: str, database_url: str) -> AsyncIterator[Standby]:
        """Run one more hub beside the one that runs, once every app that asks that one is told of it."""
        place = self._directory / name
        add_hub(self._hub_files, HubFiles(place / "hub"), NodeName(name), (HOST,), now=self._clock.now())
        ports = free_port(), free_port()
        async with self._hub(name, place, ports, database_url, {"GATEWAY_ENABLED": "false"}) as process:
            there = address(HOST, ports[0])
            async with asyncio.timeout(READY_S_MAX):
                while there not in NodeFiles(self.app).load_addresses().mesh:
                    require_alive(process)
                    async with MeshClient(self.app) as client:
                        await client.models()
                    await asyncio.sleep(LOOK_EVERY_S)
            yield Standby(process, ports[0])

    def _hub(
        self,
        name: str,
        place: Path,
        ports: tuple[int, int],
        database_url: str,
        settings: Mapping[str, str],
    ) -> AbstractAsyncContextManager[Process]:
        settings = {
            "HUB_LISTEN": HOST,
            "HUB_ADVERTISE": HOST,
            "DATABASE_URL": database_url,
            "ROLES_ORCHESTRATOR": BRISK,
            **settings,
        }
        env = {f"HUBSPOKE_{key}": value for key, value in settings.items()}
        where = ("--mesh-port", str(ports[0]), "--enrol-port", str(ports[1]))
        return self.running(
            name, (sys.executable, "-m", "hub", "run", "--state-dir", str(place), *where), env
        )

    @asynccontextmanager
    async def spoke(self, name: str, slots: int) -> AsyncIterator[Spoke]:
        """Run a spoke with the metronome for an engine."""
        await self._enrol(NodeName(name), Role.SPOKE)
        tally = self._directory / f"{name}.tally"
        place = str(self._directory / name)
        command = self._node("spoke", place, "--slots", str(slots), "--tally", str(tally))
        async with self.running(name, command, grpc_settings.SETTINGS) as process:  # as spoke-agent has them
            await self._offering(process, name, slots)
            yield Spoke(process.pid, Tally(tally))

    @asynccontextmanager
    async def agent(self, name: str, slots: int) -> AsyncIterator[int]:
        """Run a spoke as users run it, without any Ollama, and give its process."""
        await self._enrol(NodeName(name), Role.SPOKE, self.state(name) / "spoke")
        env = {"HUBSPOKE_SPOKE_OLLAMA": "off", "HUBSPOKE_SPOKE_SLOTS": str(slots)}
        command = (sys.executable, "-m", "spoke", "run", "--state-dir", str(self.state(name)))
        async with self.running(name, command, env) as process:
            await self._offering(process, name, slots)
            yield process.pid

    @asynccontextmanager
    async def direct(self) -> AsyncIterator[str]:
        """Run a bare gRPC server around the metronome, and give its address."""
        port = free_port()
        credential, callers = self._server_files("direct")
        tally = str(self._directory / "direct.tally")
        command = self._node("direct", str(credential), "--callers", str(callers), "--port", str(port))
        async with self.running("direct", (*command, "--tally", tally)) as process:
            await listening(process, port)
            yield address(HOST, port)

    @asynccontextmanager
    async def nginx(self, upstream: str) -> AsyncIterator[str | None]:
        """Run nginx in front of *upstream*, with mutual TLS on both legs; None where it is not installed."""
        program = nginx.program()
        if program is None:
            yield None
            return
        port, (server, callers) = free_port(), self._server_files("nginx")
        issuer, key = self._hub_files.authorities.load_node_issuer(), new_key()
        identity = Identity(Role.APP, NodeName("nginx"))
        chain = issuer.issue_node(key.public_key(), identity, now=self._clock.now())
        legs = nginx.Legs(server, callers, self._write("nginx-client", Credential(key, chain)), self.anchors)
        place = self._directory / "nginx"
        nginx.prepare(place, port, upstream, legs)
        command = (program, "-p", str(place), "-c", str(place / "nginx.conf"))
        async with self.running("nginx", command) as process:
            await listening(process, port)
            yield address(HOST, port)

    async def key(self, name: str) -> str:
        """Make an API key of the gateway."""
        async with AdminClient(self._admin) as admin:
            return (await admin.create_key(KeyPlan(name))).secret

    def state(self, name: str) -> Path:
        """Give the folder of the spoke *name*, which may hold its `hubspoke.toml` before it runs."""
        return self._directory / name

    def logs(self) -> Mapping[str, str]:
        """Give the end of what each process has said, by its name."""
        return {path.stem: path.read_text()[-2_000:] for path in self._directory.glob("*.log")}

    @property
    def anchors(self) -> Path:
        """The PEM file with the mesh's root."""
        return self._hub_files.anchors

    @staticmethod
    def _node(*arguments: str) -> tuple[str, ...]:
        return (sys.executable, "-m", "bench.nodes", *arguments)

    @asynccontextmanager
    async def running(
        self, name: str, command: tuple[str, ...], env: Mapping[str, str] | None = None
    ) -> AsyncIterator[Process]:
        """Run *command*, and keep what it says as the log of *name*."""
        with (self._directory / f"{name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=ROOT,
                env=os.environ | (env or {}),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            await stop(process)

    async def _enrol(self, name: NodeName, role: Role, place: Path | None = None) -> None:
        """Get *name* an identity through a join token, as people do, unless it has one."""
        directory = place or self._directory / name
        if not NodeFiles(directory).identity.exists():
            async with AdminClient(self._admin) as admin:
                token = await admin.create_join_token(name, role)
            await join(token.text, directory, roles=(role,), clock=self._clock)

    async def _offering(self, process: Process, name: str, slots: int) -> None:
        async with asyncio.timeout(READY_S_MAX), AdminClient(self._admin) as admin:
            while True:
                require_alive(process)
                spokes = {spoke.name: spoke for spoke in await admin.spokes()}
                spoke = spokes.get(name)  # type: ignore[call-overload]  # SpokeId is a str
                if spoke is not None and spoke.state is SpokeState.READY and spoke.slots == slots:
                    return
                await asyncio.sleep(LOOK_EVERY_S)

    def _server_files(self, name: str) -> tuple[Path, Path]:
        """Give key and chain of a server that clients take for the hub, and the authority of its callers."""
        authorities, key = self._hub_files.authorities, new_key()
        chain = authorities.load_hub_issuer().issue_hub(
            key.public_key(), NodeName(name), now=self._clock.now()
        )
        callers = self._directory / f"{name}-callers.pem"
        anchors = self._hub_files.load_anchors(now=self._clock.now())
        callers.write_bytes(pem.write((authorities.load_node_issuer().certificate, *anchors)))
        return self._write(name, Credential(key, chain)), callers

    def _write(self, name: str, credential: Credential) -> Path:
        path = self._directory / f"{name}.pem"
        disk.replace(path, credential.pem, mode=disk.SECRET_MODE)
        return path


@asynccontextmanager
async def client(job: object, kind: type[T], program: str = "bench.load") -> AsyncIterator[T]:
    """Have clients in a process of their own do *job*; give what they report while they may go on."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", program),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=REPORT_BYTES_MAX,
        start_new_session=True,
    )
    try:
        assert process.stdin is not None  # a pipe was asked for
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(job) + b"\n")
        async with asyncio.timeout(CLIENT_S_MAX):
            line = await process.stdout.readline()
        if not line:
            raise RuntimeError("the clients ended without a report; what they said is above")
        yield msgspec.json.decode(line, type=kind)
    finally:
        await stop(process)


async def seen(job: object, kind: type[T], program: str = "bench.load") -> T:
    """Have clients in a process of their own do *job*, and give what they saw."""
    async with client(job, kind, program) as report:
        return report


async def stop(process: Process) -> None:
    """End *process* and whatever it has started: politely, and if that takes too long, at once."""
    with suppress(ProcessLookupError):
        process.terminate()
    with suppress(TimeoutError):
        async with asyncio.timeout(STOP_S_MAX):
            await process.wait()
    with suppress(ProcessLookupError):  # the group is empty, as it should be
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def listening(process: Process, port: int) -> None:
    """Wait until *process* takes connections on *port*."""
    async with asyncio.timeout(READY_S_MAX):
        while True:
            require_alive(process)
            with suppress(ConnectionRefusedError):
                _, writer = await asyncio.open_connection(HOST, port)
                writer.close()
                return
            await asyncio.sleep(LOOK_EVERY_S)


def require_alive(process: Process) -> None:
    """Raise RuntimeError if *process* has ended."""
    if process.returncode is not None:
        raise RuntimeError(f"process {process.pid} ended with status {process.returncode}")


def free_port() -> int:
    """Give a port that nobody listens on; nothing keeps it, but the system does not soon hand it out again."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
