"""A whole mesh of processes, each of which can be killed at any moment."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hubspoke import enrol
from hubspoke.admin import AdminClient
from hubspoke.client import MeshClient
from hubspoke.clock import SystemClock
from hubspoke.errors import NoOrchestrator, UnknownModel, Unreachable
from hubspoke.types import Message, Request, Speaker, SpokeState, StateChanged
from pki.files import HubAddresses
from pki.identity import Role
from tests.chaos import checks
from tests.chaos.engine import BOSS, DIARY, SLOTS, WORKER
from tests.chaos.points import DIRECTORY, order
from tests.chaos.processes import POLL_S, WAIT_S, Program, listening, until
from tests.chaos.works import MIDDLE
from tests.fakes.hub import make_mesh
from tests.fakes.pauses import pause
from tests.fakes.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hubspoke.types import DelegationEvent, DelegationId, DelegationInfo, DelegationState, Work

GRACE = "CHAOS_GRACE_S"
"""Tells hubs how long they wait for a spoke that was lost with a task."""

SPOKES = ("den", "attic")
APP = "laptop"
GRACE_S = 20.0
"""How long hubs of these tests wait for a spoke that was lost with a task; longer than a spoke needs to start, anywhere."""


@dataclass
class ChaosMesh:
    """One hub, two spokes and an app. *url* is that of the journal's database; "" is a file."""

    directory: Path
    url: str = ""
    ports: tuple[int, ...] = field(default_factory=lambda: free_ports(2))
    wiped: bool = False
    """Whether results were lost on purpose in this test, so that finishing something twice is right."""

    def __post_init__(self) -> None:
        self.run = self.directory / "run"
        self.run.mkdir()
        self.hub = self._hub()
        self.spokes = {name: self._spoke(name) for name in SPOKES}

    @property
    def address(self) -> str:
        """Where the hub is."""
        return f"127.0.0.1:{self.ports[0]}"

    @property
    def moments(self) -> list[checks.Moment]:
        """What the engines have written down since the last `heal`."""
        return checks.read(self.run / DIARY)

    @property
    def killed(self) -> set[int]:
        """The processes of spokes that were killed."""
        return {pid for spoke in self.spokes.values() for pid in spoke.killed}

    @property
    def programs(self) -> tuple[Program, ...]:
        """All that may run."""
        return (self.hub, *self.spokes.values())

    @property
    def results(self) -> list[Path]:
        """The results that spokes keep."""
        return [path for name in SPOKES for path in (self.directory / name / "spoke" / "tasks").glob("*")]

    @property
    def journals(self) -> list[Path]:
        """The files of the journal."""
        return [self.directory / "hub" / name for name in ("delegations.db", "steps.db")]

    def second_hub(self) -> Program:
        """Give a program that would be a hub beside this one, with the same state and other ports."""
        ports = map(str, free_ports(2))
        arguments = ("run", "--state-dir", str(self.directory), *_ports(*ports))
        log = self.directory / "second.log"
        return Program("tests.chaos.hub_to_kill", arguments, log, dict(self.hub.environment))

    async def heal(self) -> None:
        """Let all run again, with nothing left of what was ordered before."""
        self.wiped = False
        for path in self.run.iterdir():
            path.unlink()
        await self.start_hub()
        for spoke in self.spokes.values():
            if not spoke.is_alive:
                spoke.start()
        await self.is_ready()

    async def start_hub(self) -> None:
        """Start the hub unless it runs, and wait until it listens."""
        if not self.hub.is_alive:
            self.hub.start()
        await listening(self.ports[0])

    def end(self) -> None:
        """End all of it."""
        for program in self.programs:
            if program.is_alive:
                program.kill()

    def open(self, gate: str) -> None:
        """Let pass who waits at *gate*."""
        (self.run / gate).touch()

    def dies(self, who: str, point: str) -> None:
        """Let *who* die the next time that it comes to *point*."""
        order(self.run, who, point).touch()

    def lives(self, who: str, point: str) -> None:
        """Take back that *who* is to die."""
        order(self.run, who, point).unlink(missing_ok=True)

    async def one_died(self) -> Program:
        """Wait until one of the spokes has killed itself, and give it."""
        await until(lambda: not all(spoke.is_alive for spoke in self.spokes.values()), "the death of a spoke")
        dead = next(spoke for spoke in self.spokes.values() if not spoke.is_alive)
        await dead.died()
        return dead

    async def began_on(self, who: str) -> None:
        """Wait until the spoke *who* has begun something."""
        await until(lambda: any(one.who == who for one in self.moments), f"work of {who}")

    async def has_begun(self, *names: str, times: int = 1) -> None:
        """Wait until each of *names* was begun so often."""
        await until(
            lambda: all(checks.begun(self.moments, name) >= times for name in names),
            f"{names} begun {times} times",
        )

    async def has_finished(self, *names: str) -> None:
        """Wait until the results of *names* are on a spoke's disk."""

        def are_kept() -> bool:
            moments = self.moments
            keys = {one.key for one in moments if one.what == "kept"}
            return set(names) <= {one.name for one in moments if one.key in keys}

        await until(are_kept, f"{names} finished")

    def has(self, name: str) -> Program:
        """Give the spoke that has begun *name* last."""
        return self.spokes[[one.who for one in self.moments if one.name == name][-1]]

    @asynccontextmanager
    async def app(self) -> AsyncIterator[MeshClient]:
        """Connect as the app, while the hub is there."""
        async with MeshClient(self.directory / APP, (self.address,)) as client:
            yield client

    async def is_ready(self, *names: str) -> None:
        """Wait until the spokes *names*, all by default, take work."""
        async with AdminClient(self.directory / "client", (self.address,)) as admin, asyncio.timeout(WAIT_S):
            while True:
                ready = {
                    one.name
                    for one in await admin.spokes()
                    if one.state is SpokeState.READY and one.slots == SLOTS
                }
                if ready >= set(names or SPOKES):
                    return
                await pause(POLL_S)

    def _hub(self) -> Program:
        mesh, enrolment = self.ports
        journal = f'[database]\nurl = "{self.url}"\n' if self.url else ""
        (self.directory / "hubspoke.toml").write_text(
            f'[hub]\nlisten = "127.0.0.1"\nadvertise = ["127.0.0.1"]\n'
            f'[gateway]\nenabled = false\n[roles]\norchestrator = ["{BOSS}"]\n{journal}'
        )
        arguments = ("run", "--state-dir", str(self.directory), *_ports(str(mesh), str(enrolment)))
        environment = {DIRECTORY: str(self.run), GRACE: str(GRACE_S)}
        return Program("tests.chaos.hub_to_kill", arguments, self.directory / "hub.log", environment)

    def _spoke(self, name: str) -> Program:
        arguments = (str(self.directory / name / "spoke"), self.address)
        log = self.directory / f"{name}.log"
        return Program("tests.chaos.spoke_to_kill", arguments, log, {DIRECTORY: str(self.run)})


def _ports(mesh: str, enrolment: str) -> tuple[str, ...]:
    return ("--mesh-port", mesh, "--enrol-port", enrolment)


async def join_all(directory: Path) -> None:
    """Make a mesh in *directory* whose spokes and app have joined."""
    made = make_mesh(directory)
    mesh = ChaosMesh(directory)
    addresses = HubAddresses(mesh=(mesh.address,), enrol=(f"127.0.0.1:{mesh.ports[1]}",))  # type: ignore[arg-type]
    made.admin.save_addresses(addresses)
    try:
        await mesh.start_hub()
        async with AdminClient(made.admin.directory) as admin:
            for name, role in ((APP, Role.APP), *((spoke, Role.SPOKE) for spoke in SPOKES)):
                token = await admin.create_join_token(name, role)
                home = directory / name / "spoke" if role is Role.SPOKE else directory / name
                await enrol.join(token.text, home, roles=[role], clock=SystemClock())
    finally:
        mesh.hub.end()
    mesh.run.rmdir()


class Watching:
    """All that an app hears of a delegation, over every death of the hub."""

    def __init__(self, client: MeshClient, delegation: DelegationId) -> None:
        self.events: list[DelegationEvent] = []
        self._client = client
        self.delegation = delegation

    async def to_the_end(self, wait_s: float = 2 * WAIT_S) -> StateChanged:
        """Watch until it has ended, and give how."""
        async with asyncio.timeout(wait_s):
            async for event in self._client.delegations.watch(self.delegation):
                self.events.append(event)
        last = self.events[-1].happening
        assert isinstance(last, StateChanged)
        return last


async def asked(client: MeshClient) -> str:
    """Ask a worker something that is no delegation, and give the answer: `a(b)`."""
    return (await client.answer(Request(WORKER, (Message(Speaker.USER, "«a||b»"),)))).text


async def stands(client: MeshClient, delegation: DelegationId, state: DelegationState) -> None:
    """Wait until a delegation is in *state*."""
    async with asyncio.timeout(WAIT_S):
        async for event in client.delegations.watch(delegation):
            if getattr(event.happening, "state", None) is state:
                return
    raise AssertionError(f"it was never {state}")


async def hand_over(client: MeshClient, work: Work) -> DelegationInfo:
    """Hand *work* over, again and again while no hub is there, or no spoke has found back to it, as an app would."""
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                return await client.delegations.hand_over(work)
            except (Unreachable, UnknownModel, NoOrchestrator):
                await pause(POLL_S)


async def half_done(
    mesh: ChaosMesh, client: MeshClient, work: Work
) -> tuple[Watching, asyncio.Task[StateChanged]]:
    """Hand over *work*, a diamond whose gate is shut, and give who watches it, and its end, once its middle has begun."""
    watching = Watching(client, (await hand_over(client, work)).id)
    ending = asyncio.create_task(watching.to_the_end())
    await mesh.has_begun(*MIDDLE)
    return watching, ending
