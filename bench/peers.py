"""Other programs that stand between apps and engines, each in a virtual environment of its own below build/."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from bench import upstream
from bench.http_client import Target, answering
from bench.pieces import OLLAMA, OPENAI
from bench.processes import ROOT, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from bench.processes import Mesh

PLACE: Final = ROOT / "build" / "bench" / "peers"
LITELLM: Final = "litellm"
HERD: Final = "herd"
PACKAGES: Final = {LITELLM: "litellm[proxy]", HERD: "ollama-herd"}
KEY: Final = "sk-bench"

_LITELLM_CONFIGURATION: Final = """\
model_list:
  - model_name: {model}
    litellm_params:
      model: openai/{model}
      api_base: http://127.0.0.1:{port}/v1
      api_key: none
general_settings:
  master_key: {key}
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer that runs: where it is asked, and its processes by name."""

    id: str
    name: str
    version: str
    target: Target
    pids: dict[str, int]


Runner: TypeAlias = "Callable[[Mesh, int], AbstractAsyncContextManager[Peer]]"


def install(name: str) -> str:
    """Get the peer, unless it is there already. Give why that is not possible, or nothing."""
    python = _bin(name) / "python"
    done = PLACE / f"{name}.installed"
    if done.exists():
        return ""
    uv = shutil.which("uv")
    if uv is None:
        return "needs uv; `./justw bench gateway` brings it"
    steps = (
        (uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(PLACE / name)),
        (uv, "pip", "install", "--quiet", "--python", str(python), PACKAGES[name]),
    )
    for step in steps:
        if subprocess.run(step, check=False).returncode != 0:
            return f"{PACKAGES[name]} does not install here"
    done.touch()
    return ""


@asynccontextmanager
async def litellm(mesh: Mesh, engine_port: int) -> AsyncIterator[Peer]:
    """Run the LiteLLM proxy with its defaults, one worker, and a key, in front of the engine."""
    port, place = free_port(), _place(mesh, LITELLM)
    configuration = _LITELLM_CONFIGURATION.format(model=upstream.MODEL, port=engine_port, key=KEY)
    (place / "config.yaml").write_text(configuration)
    options = ("--config", str(place / "config.yaml"), "--host", "127.0.0.1", "--port", str(port))
    # It would look for the newest prices of every model elsewhere.
    env = {"HOME": str(place), "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
    async with mesh.running(LITELLM, (str(_bin(LITELLM) / "litellm"), *options), env) as process:
        await answering(process, f"http://127.0.0.1:{port}/health/liveliness")
        target = Target(port=port, path="/v1/chat/completions", dialect=OPENAI, model=upstream.MODEL, key=KEY)
        yield Peer(LITELLM, "LiteLLM", _version(LITELLM, "litellm"), target, {LITELLM: process.pid})


@asynccontextmanager
async def herd(mesh: Mesh, engine_port: int) -> AsyncIterator[Peer]:
    """Run Ollama Herd's router and its node beside the engine, without what reports to its makers."""
    port, place = free_port(), _place(mesh, HERD)
    router, engine = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{engine_port}"
    env = {"HOME": str(place), "FLEET_NODE_TELEMETRY": "false", "FLEET_AUTO_PULL": "false"}
    serve = (str(_bin(HERD) / "herd"), "--host", "127.0.0.1", "--port", str(port))
    join = (
        str(_bin(HERD) / "herd-node"),
        "--node-id",
        "den",
        "--ollama-host",
        engine,
        "--router-url",
        router,
    )
    async with mesh.running(HERD, serve, env) as process:
        await answering(process, f"{router}/api/tags")
        async with mesh.running("herd-node", join, env) as node:
            await answering(node, f"{router}/api/tags", upstream.MODEL)
            target = Target(port=port, path="/api/chat", dialect=OLLAMA, model=f"{upstream.MODEL}:latest")
            pids = {HERD: process.pid, "herd_node": node.pid}
            yield Peer(HERD, "Herd", _version(HERD, "ollama-herd"), target, pids)


def _bin(name: str) -> Path:
    return PLACE / name / "bin"


def _place(mesh: Mesh, name: str) -> Path:
    place = mesh.state(name)
    place.mkdir(exist_ok=True)
    return place


def _version(name: str, package: str) -> str:
    code = f"from importlib.metadata import version; print(version({package!r}))"
    found = subprocess.run(
        (str(_bin(name) / "python"), "-c", code), check=True, capture_output=True, text=True
    )
    return found.stdout.strip()


PEERS: Final[dict[str, Runner]] = {LITELLM: litellm, HERD: herd}
