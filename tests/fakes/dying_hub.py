"""A hub as a program of its own that can be told where to die: python -m tests.fakes.dying_hub SETTINGS.

SETTINGS is JSON: the mesh's directory, its ports, the models that orchestrate, the journal's address, and `dies`:
"module:Class.method:before" (or "after"), with ":N" behind it for the Nth time.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub.config import Configuration, DatabaseConfig, GatewayConfig, HubConfig, RolesConfig
from hub.standing import serve
from hubspoke.clock import SystemClock
from pki.address import Host
from pki.files import HubFiles

if TYPE_CHECKING:
    from collections.abc import Callable


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def doom(place: str) -> None:
    """Replace a function, or a coroutine's, by one that dies before or after it has done what it does."""
    module, path, when, *count = place.split(":")
    left = int(count[0]) if count else 1
    owner: Any = import_module(module)
    *names, last = path.split(".")
    for name in names:
        owner = getattr(owner, name)
    function: Callable[..., Any] = getattr(owner, last)

    def is_now() -> bool:
        nonlocal left
        left -= 1
        return left == 0

    @wraps(function)
    async def doomed(*args: Any, **more: Any) -> Any:
        now = is_now()
        if now and when == "before":
            die()
        given = await function(*args, **more)
        if now:
            die()
        return given

    @wraps(function)
    def doomed_at_once(*args: Any, **more: Any) -> Any:
        now = is_now()
        given = function(*args, **more)
        if now:
            die()
        return given

    setattr(owner, last, doomed if asyncio.iscoroutinefunction(function) else doomed_at_once)


async def main(told: dict[str, Any]) -> None:
    if told["dies"]:
        doom(told["dies"])
    settings = HubConfig(
        listen="127.0.0.1",
        mesh_port=told["mesh"],
        enrol_port=told["enrol"],
        advertise=(Host("127.0.0.1"),),  # type: ignore[arg-type]
    )
    configuration = Configuration(
        hub=settings,
        gateway=GatewayConfig(enabled=bool(told["gateway"]), port=told["gateway"]),
        roles=RolesConfig(orchestrator=tuple(told["orchestrator"])),
        database=DatabaseConfig(url=told["journal"]),
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    files = HubFiles(Path(told["directory"]))
    await serve(configuration, files, stop, clock=SystemClock(), chance=random.random)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
