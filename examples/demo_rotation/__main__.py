"""Run it: `just demo-rotation`, or `python -m examples.demo_rotation`."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from examples.demo.events import Step
from examples.demo.mesh import ATTIC, CLOCK, DEN, running
from examples.demo.programs import Failure, Programs, last_lines
from examples.demo_rotation.load import Load
from hubspoke import enrol
from hubspoke.admin import AdminClient
from hubspoke.client import MeshClient
from hubspoke.errors import MeshError, Unreachable
from hubspoke.paths import STATE_DIR_VARIABLE, locate
from pki.identity import Role

if TYPE_CHECKING:
    from examples.demo.events import Event
    from examples.demo.mesh import DemoMesh
    from hubspoke.types import AuthoritiesInfo

APPS: Final = ("laptop", "phone", "editor", "script")
READY_S: Final = 40.0
"""Longest wait for all nodes to be ready for a phase."""
LOOK_S: Final = 0.3


def main() -> int:
    """Play it, and give the exit code: 0 when no call has failed and the old generation is refused."""
    with tempfile.TemporaryDirectory(prefix="hubspoke-rotation-", ignore_cleanup_errors=True) as directory:
        state = Path(directory)
        try:
            with Programs(state) as programs:
                return asyncio.run(_play(state, programs))
        except (Failure, MeshError) as error:
            log = getattr(error, "log", None)
            print(f"Failed: {error}", *(last_lines(log) if log else ()), sep="\n", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nInterrupted; all of it is gone.", file=sys.stderr)
            return 130


async def _play(state: Path, programs: Programs) -> int:
    load = Load()
    async with running(state, programs, _tell) as mesh:
        for plan in (DEN, ATTIC):
            await mesh.join(plan)
            await mesh.start(plan)
        homes = [await _app(mesh, state, name) for name in APPS]
        old = state / "old"
        shutil.copytree(homes[0], old)
        async with asyncio.TaskGroup() as group:
            for home in homes:
                group.create_task(load.ask(home))
            try:
                await _exchange(state, programs, load)
            finally:
                load.end()
        is_refused = await _is_refused(old)
    for error in load.errors:
        _say(f"  {error}")
    _say(
        f"{load}. {len(load.errors)} errors, old generation {'refused' if is_refused else 'STILL ACCEPTED'}."
    )
    return 0 if is_refused and not load.errors else 1


async def _exchange(state: Path, programs: Programs, load: Load) -> None:
    """Exchange the root, step by step, with the command that an operator types."""
    began_s = CLOCK.monotonic()
    said = await _rotate(state, programs, "begin", "--no-passphrase")
    while said["rotation"] is not None:
        rotation = said["rotation"]
        await _all_are_ready(state)
        _say(
            f"{CLOCK.monotonic() - began_s:5.1f} s  phase {rotation['phase']}: generation {said['generation']}, all nodes ready; {load}"
        )
        said = await _rotate(state, programs, "finish" if rotation["next"] == "steady" else "advance")
    _say(f"{CLOCK.monotonic() - began_s:5.1f} s  finished: generation {said['generation']}; {load}")


async def _rotate(state: Path, programs: Programs, step: str, *options: str) -> dict[str, object]:
    command = ("hubspoke", "pki", "rotate", "root", step, *options)
    _say(f"         $ {' '.join(command)}")
    output = await programs.run(f"rotate {step}", (*command, "--json"), {STATE_DIR_VARIABLE: str(state)})
    said: dict[str, object] = json.loads(output)
    return said


async def _all_are_ready(state: Path) -> AuthoritiesInfo:
    async with asyncio.timeout(READY_S):
        while True:
            async with AdminClient(locate(state).client) as admin:
                info = await admin.authorities()
            if not info.waits_for:
                return info
            await asyncio.sleep(LOOK_S)


async def _app(mesh: DemoMesh, state: Path, name: str) -> Path:
    """Let an app in, unless it is the one that the mesh has from the beginning, and say where its identity is."""
    directory = locate(state / name).client
    if not directory.exists():
        token = await mesh.admin.create_join_token(name, Role.APP)
        await enrol.join(token.text, directory, roles=(Role.APP,), clock=CLOCK)
    return directory


async def _is_refused(home: Path) -> bool:
    try:
        async with MeshClient(home) as mesh:
            await mesh.models()
    except Unreachable:
        return True
    return False


def _tell(event: Event) -> None:
    if isinstance(event, Step):
        _say(f"{event.took_s:5.1f} s  {event.what}")


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
