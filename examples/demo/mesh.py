"""A mesh of real processes in a throw-away directory: certificates, a hub, spokes, and an app that asks."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from examples.demo.events import Returned, Status, Step
from examples.demo.waiting import POLL_S, WAIT_S
from hubspoke import enrol
from hubspoke.admin import AdminClient
from hubspoke.client import MeshClient
from hubspoke.clock import SystemClock
from hubspoke.errors import Unreachable
from hubspoke.paths import STATE_DIR_VARIABLE, locate
from hubspoke.types import SpokeState
from pki.identity import Role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from examples.demo.events import Tell
    from examples.demo.programs import Program, Programs
    from hubspoke.types import SpokeStatus

HOST: Final = "localhost"
APP: Final = "laptop"
ORCHESTRATOR: Final = "tiny"
CLOCK: Final = SystemClock()
PORTS: Final = range(10_000, 20_000)
"""Where ports are looked for. No system gives these to whoever asks for just any, so a hub that is killed finds its own again."""
PORTS_TRIED: Final = 100


@dataclass(frozen=True, slots=True)
class SpokePlan:
    """A spoke of the demo: its name, which models it offers, and how many requests it runs side by side."""

    name: str
    models: tuple[str, ...]
    slots: int
    has_ollama: bool = False
    """Whether it looks for an Ollama; those that do not have to answer to the letter."""

    @property
    def command(self) -> tuple[str, ...]:
        """What its owner would type."""
        models = (word for model in self.models for word in ("--model", model))
        return ("spoke-agent", "--slots", str(self.slots), *models)


DEN: Final = SpokePlan("den", models=("tiny", "nano"), slots=4)
ATTIC: Final = SpokePlan("attic", models=("tiny",), slots=2)
SPOKES: Final = (DEN, ATTIC)


class DemoMesh:
    """A running mesh: `admin` sees everything, `app` may only ask."""

    def __init__(
        self,
        state: Path,
        programs: Programs,
        tell: Tell,
        *,
        admin: AdminClient,
        app: MeshClient,
        url: str,
        hub: Program,
        start_hub: Callable[[], Program],
    ) -> None:
        self.admin = admin
        self.app = app
        self.url = url
        """Of the HTTP gateway."""
        self._state = state
        self._programs = programs
        self._tell = tell
        self._agents: dict[str, Program] = {}
        self._start_hub = start_hub
        self._hub = hub

    @property
    def environment(self) -> str:
        """What to tell a shell so that the commands find this mesh."""
        return f"export {STATE_DIR_VARIABLE}={self._state}"

    async def join(self, plan: SpokePlan) -> None:
        """Let a spoke in, the way its owner would: with a token that goes through a pipe."""
        with step(self._tell, f"{plan.name} joins with a one-use token", "spoke-agent join"):
            token = await self.admin.create_join_token(plan.name, Role.SPOKE)
            command = ("spoke-agent", "join")
            await self._programs.run(f"join of {plan.name}", command, self._home(plan), stdin=token.text)

    async def start(self, plan: SpokePlan) -> None:
        """Start a spoke that has joined, and wait until it takes work."""
        models = " and ".join(plan.models)
        with step(self._tell, f"{plan.name} offers {models} in {plan.slots} slots", " ".join(plan.command)):
            await self._start(plan)

    async def restart(self, plan: SpokePlan) -> None:
        """Start a spoke again that was killed."""
        await self._agents[plan.name].gone()
        began_s = CLOCK.monotonic()
        await self._start(plan)
        self._tell(Returned(plan.name, CLOCK.monotonic() - began_s))

    def freeze(self, plan: SpokePlan) -> None:
        """Stop a spoke in the middle of everything, as a machine does that hangs."""
        self._agents[plan.name].freeze()

    def kill(self, plan: SpokePlan) -> None:
        """End a spoke without a word, as a power cut does."""
        self._agents[plan.name].kill()

    async def kill_hub(self) -> None:
        """End the hub without a word, and start it again on the same files."""
        self._hub.kill()
        await self._hub.gone()
        self._hub = self._start_hub()

    def log_of(self, plan: SpokePlan) -> Path:
        """Say where the log of a spoke is."""
        return self._agents[plan.name].log

    async def when(self, plan: SpokePlan, awaited: str, is_so: Callable[[SpokeStatus], bool]) -> None:
        """Wait until *is_so* of a spoke as the hub sees it; raise Failure that names what was *awaited*."""
        try:
            async with asyncio.timeout(WAIT_S):
                while True:
                    spokes = await self.admin.spokes()
                    if any(spoke.name == plan.name and is_so(spoke) for spoke in spokes):
                        return
                    await asyncio.sleep(POLL_S)
        except TimeoutError as error:
            raise self._programs.overdue(plan.name, awaited) from error

    async def create_key(self, name: str) -> str:
        """Make an API key, the way an admin would."""
        command = ("hubspoke", "key", "create", name)
        with step(self._tell, f"an API key for {name}", " ".join(command)):
            output = await self._programs.run("key create", command, {STATE_DIR_VARIABLE: str(self._state)})
        return output.strip()

    async def check_command_line(self) -> None:
        """Ask the real `hubspoke status` about this mesh, as somebody beside the demo would."""
        command = ("hubspoke", "status", "--json")
        output = await self._programs.run("status", command, {STATE_DIR_VARIABLE: str(self._state)})
        self._tell(Status(" ".join(command), json.loads(output)["spokes"]))

    async def _start(self, plan: SpokePlan) -> None:
        # As many slots for each model as the spoke has: more would only take memory.
        variables = {**self._home(plan), "HUBSPOKE_SPOKE_MODEL_SLOTS": str(plan.slots)}
        if not plan.has_ollama:
            variables["HUBSPOKE_SPOKE_OLLAMA"] = "off"
        self._agents[plan.name] = self._programs.start(plan.name, plan.command, variables)
        await self.when(
            plan,
            "take work",
            lambda spoke: spoke.state is SpokeState.READY and spoke.slots == plan.slots,
        )

    def _home(self, plan: SpokePlan) -> dict[str, str]:
        return {STATE_DIR_VARIABLE: str(self._state / plan.name)}


@asynccontextmanager
async def running(state: Path, programs: Programs, tell: Tell) -> AsyncIterator[DemoMesh]:
    """Make a mesh in *state* and run its hub; the spokes are still to join."""
    mesh_port, enrol_port, gateway_port = _free_ports()
    home = {STATE_DIR_VARIABLE: str(state)}
    pki_init = ("hubspoke", "pki", "init", "--no-passphrase", "--host", HOST)
    ports = ("--mesh-port", str(mesh_port), "--enrol-port", str(enrol_port))
    with step(tell, "a certificate authority of your own", " ".join(pki_init)):
        await programs.run("pki init", (*pki_init, *ports), home)
    async with AsyncExitStack() as stack:
        with step(tell, f"the hub, mutual TLS on port {mesh_port}", "hub-server"):
            listening = {
                "HUBSPOKE_HUB_LISTEN": "127.0.0.1",
                "HUBSPOKE_HUB_ADVERTISE": HOST,
                "HUBSPOKE_GATEWAY_PORT": str(gateway_port),
                "HUBSPOKE_ROLES_ORCHESTRATOR": ORCHESTRATOR,
            }
            start_hub = partial(programs.start, "hub-server", ("hub-server", *ports), {**home, **listening})
            hub = start_hub()
            admin = await _admin(stack, locate(state).client, programs)
        with step(tell, f"{APP} joins too, and may only ask", "hubspoke join"):
            token = await admin.create_join_token(APP, Role.APP)
            directory = locate(state / APP).client
            await enrol.join(token.text, directory, roles=(Role.APP,), clock=CLOCK)
            app = await stack.enter_async_context(MeshClient(directory))
        url = f"http://127.0.0.1:{gateway_port}"
        yield DemoMesh(state, programs, tell, admin=admin, app=app, url=url, hub=hub, start_hub=start_hub)


@contextmanager
def step(tell: Tell, what: str, command: str = "") -> Iterator[None]:
    """Do a step, and tell of it once it has worked."""
    began_s = CLOCK.monotonic()
    yield
    tell(Step(what, CLOCK.monotonic() - began_s, command))


async def _admin(stack: AsyncExitStack, directory: Path, programs: Programs) -> AdminClient:
    """Connect to the hub as soon as it listens."""
    try:
        async with asyncio.timeout(WAIT_S):
            while True:
                try:
                    return await stack.enter_async_context(AdminClient(directory))
                except Unreachable:
                    await asyncio.sleep(POLL_S)
    except TimeoutError as error:
        raise programs.overdue("hub-server", "answer") from error


def _free_ports() -> tuple[int, int, int]:
    """Find three ports that nobody listens on now, so that a real hub on this machine is not in the way."""
    mesh, enrolment, gateway, *_ = filter(_is_free, random.sample(PORTS, PORTS_TRIED))
    return mesh, enrolment, gateway


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
