"""What the gateway is measured with: a hub, a spoke with two engines, and whoever else stands between apps and engines."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from bench import upstream
from bench.adapters import llama_server
from bench.http_client import Target, answering
from bench.peers import PEERS
from bench.pieces import OPENAI
from bench.processes import free_port
from spoke.models.store import SHIPPED, ModelStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from bench.bare import Bare
    from bench.peers import Peer
    from bench.processes import Mesh

STREAMS: Final = 16
STEADY_STREAMS: Final = 64
LLAMA: Final = "bench-tiny"
"""The tiny model on a server of its own; the spoke has one called `tiny` besides."""
LLAMA_SLOTS: Final = 4
PATH: Final = "/v1/chat/completions"
SPOKE: Final = "den"

_SPOKE_CONFIGURATION: Final = """\
[[spoke.openai]]
name = "fake"
url = "http://127.0.0.1:{fake}"
slots = {slots}

[[spoke.openai]]
name = "llama"
url = "http://127.0.0.1:{llama}"
key_file = "{key_file}"
slots = {llama_slots}
"""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    rounds: int
    requests: int
    warm_up: int
    bursts: int
    tokens: int
    warm_s: float
    window_s: float


@dataclass(frozen=True, slots=True)
class Bed:
    """What there is to measure with; *gateway* is how the gateway is asked, for no model yet."""

    mesh: Mesh
    scale: Scale
    hub: int
    spoke: int
    gateway: Target
    fake: Target
    llama: Target
    peers: tuple[Peer, ...]
    flush_ms: int | None = None

    def through(self, model: str, *, ticks: bool = True) -> Target:
        """Ask the gateway for *model*."""
        return msgspec.structs.replace(self.gateway, model=model, ticks=ticks)


@dataclass(frozen=True, slots=True)
class Engines:
    """The engines' own servers, asked without any mesh."""

    fake: Target
    llama: Target


@asynccontextmanager
async def engines(mesh: Mesh, directory: Path) -> AsyncIterator[Engines]:
    """Run the engines, and write down for the spoke where they are."""
    store = ModelStore([SHIPPED], directory / "bench-models.json")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(store.aclose)
        llama = await stack.enter_async_context(llama_server(store, LLAMA_SLOTS, None, LLAMA))
        port = free_port()
        command = (sys.executable, "-m", "bench.upstream", str(port))
        process = await stack.enter_async_context(mesh.running("upstream", command))
        await answering(process, f"http://127.0.0.1:{port}/v1/models", upstream.MODEL)
        _configure(mesh.state(SPOKE), port, llama)
        yield Engines(
            Target(port=port, path=PATH, dialect=OPENAI, model=upstream.MODEL),
            Target(port=llama.port, path=PATH, dialect=OPENAI, model=LLAMA, key=llama.key, ticks=False),
        )


@asynccontextmanager
async def bed(
    mesh: Mesh,
    scale: Scale,
    servers: Engines,
    *,
    is_secure: bool = False,
    flush_ms: int | None = None,
    peers: tuple[str, ...] = (),
) -> AsyncIterator[Bed]:
    """Run the hub with its gateway, the spoke beside the engines, and *peers* beside both.

    *flush_ms* is how long spokes gather tokens; what is not set is decided by the hub.
    """
    port = free_port()
    listen = "0.0.0.0" if is_secure else "127.0.0.1"  # nobody else is in the network where it is secure
    settings = {"LISTEN": listen, "PORT": str(port)}
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(mesh.hub(flush_ms, settings))
        spoke = await stack.enter_async_context(mesh.agent(SPOKE, STEADY_STREAMS))
        others = [await stack.enter_async_context(PEERS[name](mesh, servers.fake.port)) for name in peers]
        target = Target(
            port=port,
            path=PATH,
            dialect=OPENAI,
            model="",
            key=await mesh.key(f"app-{port}"),
            anchors=str(mesh.anchors) if is_secure else "",
        )
        yield Bed(mesh, scale, hub.pid, spoke, target, servers.fake, servers.llama, tuple(others), flush_ms)


def _configure(state: Path, fake_port: int, llama: Bare) -> None:
    state.mkdir(exist_ok=True)
    key_file = state / "llama.key"
    key_file.touch(mode=0o600)
    key_file.write_text(llama.key)
    text = _SPOKE_CONFIGURATION.format(
        fake=fake_port, slots=STEADY_STREAMS, llama=llama.port, key_file=key_file, llama_slots=LLAMA_SLOTS
    )
    (state / "hubspoke.toml").write_text(text)
