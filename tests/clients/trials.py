"""Runs a client's program against a mesh, and says what has worked."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hubspoke.types import KeyPlan
from pki.identity import Role
from tests.clients import doomed_spoke
from tests.fakes.home import ROOT
from tests.fakes.real_hub import WAIT_S
from tests.fakes.skilled_engine import ENDLESS
from tools import vendors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from tests.clients.roster import Client
    from tests.fakes.real_hub import RealHub
    from tests.fakes.skilled_engine import SkilledEngine
    from tests.gateway.conftest import Gateway

RESULTS = vendors.BUILD / "results"
PROGRAMS = vendors.CLIENTS / "programs"
FEATURE_S_MAX = 60.0
START_S_MAX = 40.0
"""How long a spoke may take to start, or to end, as a process."""
TINY = "tiny"
SKILLS = frozenset({"tools", "json_schema", "embed"})
AT_HOME = {
    "ANONYMIZED_TELEMETRY": "False",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
    "NO_PROXY": "127.0.0.1,localhost",
    "PYTHONUNBUFFERED": "1",
}
"""Keeps clients from asking anybody else than the mesh."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one feature."""

    feature: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Ground:
    """The mesh that clients are tried on: a real spoke with `tiny`, and one with a skilled engine."""

    gateway: Gateway
    engine: SkilledEngine
    slots: int
    home: Path
    doomed: Path
    """The identity of the spokes that are killed."""
    skilled: str
    """The model for tools, schemas and vectors: `tiny` where the embedded engine can do all of it, else the stand-in."""

    @property
    def hub(self) -> RealHub:
        return self.gateway.hub

    @asynccontextmanager
    async def doomed_spoke(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a spoke that may be killed."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", doomed_spoke.__name__, str(self.doomed), self.hub.mesh), cwd=ROOT
        )
        try:
            await self.hub.has_spoke(
                lambda spoke: (spoke.name, spoke.slots) == (doomed_spoke.NAME, 1), START_S_MAX
            )
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def environment(self, name: str, dialect: str = "") -> dict[str, str]:
        """Give the variables that the program of client *name* gets, with a key of its own that is soon used up."""
        narrow = await self.gateway.new_key(KeyPlan(name, tokens_per_day=1))
        return {
            **{name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "TMPDIR") if name in os.environ},
            **AT_HOME,
            "HOME": str(self.home),
            "MESH_URL": self.gateway.url,
            "MESH_KEY": self.gateway.key,
            "MESH_NARROW_KEY": narrow,
            "MESH_DIALECT": dialect,
            "MESH_MODEL": TINY,
            "MESH_SKILLED_MODEL": self.skilled,
            "MESH_ENDLESS_MODEL": ENDLESS,
            "MESH_DOOMED_MODEL": doomed_spoke.NAME,
        }


async def capabilities_of_tiny(gateway: Gateway) -> set[str]:
    """Say what the real engine says that it can do with `tiny`."""
    described = (await gateway.http.get(f"/v1/models/{TINY}")).json()
    return set(described["capabilities"])


async def identity_of_the_doomed(hub: RealHub) -> Path:
    """Let the spokes that are killed join; they share an identity, since there is one at a time."""
    return (await hub.join(doomed_spoke.NAME, Role.SPOKE)).directory


async def tried(ground: Ground, client: Client, start: Sequence[str]) -> dict[str, Result]:
    """Run *client*, which the words *start* do, until every feature has worked or failed. Keep what came of it."""
    results: dict[str, Result] = {}
    left = list(client.features)
    async with ground.doomed_spoke() as doomed:
        while left:
            environment = await ground.environment(f"{client.id}-{len(left)}", client.dialect)
            for result in await _attempt(ground, [*start, *left], environment, left, doomed):
                results[result.feature] = result
            left = [feature for feature in left if feature not in results]
    RESULTS.mkdir(parents=True, exist_ok=True)
    kept = {
        "version": client.version,
        "skilled": ground.skilled,
        "results": [asdict(result) for result in results.values()],
    }
    (RESULTS / f"{client.id}.json").write_text(json.dumps(kept, indent=1), encoding="utf-8")
    return results


async def _attempt(
    ground: Ground,
    command: list[str],
    environment: dict[str, str],
    features: Sequence[str],
    doomed: asyncio.subprocess.Process,
) -> list[Result]:
    """Run a program until it ends; give what has worked, and what has ended it too early."""
    results: list[Result] = []
    errors = ground.home / "errors.txt"
    with errors.open("wb") as printed:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ground.home,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=printed,
        )
    assert process.stdin is not None
    try:
        async with asyncio.timeout(FEATURE_S_MAX) as limit:
            while told := await _told(process):
                if "began" in told:
                    doomed.kill()
                    continue
                results.append(await _checked(ground, told))
                process.stdin.write(b"\n")
                limit.reschedule(asyncio.get_running_loop().time() + FEATURE_S_MAX)
            await process.wait()
    except TimeoutError:
        errors.write_text(f"nothing happened for {FEATURE_S_MAX:g} s", encoding="utf-8")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    if len(results) < len(features):
        said = errors.read_text(encoding="utf-8", errors="replace").strip()
        results.append(Result(features[len(results)], ok=False, detail=said[-3000:]))
    return results


async def _told(process: asyncio.subprocess.Process) -> dict[str, Any] | None:
    """Read until a program tells something of its own; what its packages print is passed over."""
    assert process.stdout is not None
    while line := await process.stdout.readline():
        if line.startswith(b'{"feature"'):
            told: dict[str, Any] = json.loads(line)
            return told
    return None


async def _checked(ground: Ground, told: dict[str, Any]) -> Result:
    """Believe a program, but for a slot that it says it has freed: ask the hub for that, while the program still runs."""
    if told["feature"] == "cancel":
        try:
            async with asyncio.timeout(WAIT_S):
                await ground.hub.is_listed("attic", ground.slots)
        except TimeoutError:
            return Result("cancel", ok=False, detail="the slot is still taken")
        if ground.engine.running:
            return Result("cancel", ok=False, detail="the engine still works")
    return Result(told["feature"], ok=told["ok"], detail=str(told["detail"]))
