"""`hub-server run`."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
from typing import TYPE_CHECKING, Final

import click
import msgspec

from hub.config import Configuration, DatabaseConfig, GatewayConfig, HubConfig, RolesConfig
from hub.standing import serve
from hubspoke import config, grpc_settings, logs, loop
from hubspoke.cli import options
from hubspoke.clock import SystemClock
from hubspoke.paths import locate
from hubspoke.signals import stop_signals
from pki.files import HubFiles

if TYPE_CHECKING:
    from pathlib import Path

PORT = click.IntRange(0, 65_535)

OPEN_FILES: Final = 10_240
"""For every connection that the ports take, and then some; macOS allows no more."""

log = logging.getLogger(__name__)


@click.command("run")
@options.config_file("hub")
@click.option("--listen", help="Address to listen on. Default: every address of the machine.")
@click.option("--mesh-port", type=PORT, help="Where spokes and apps connect. Default: 7443.")
@click.option("--enrol-port", type=PORT, help="Where nodes join. Default: 7444.")
@options.state_dir
def command(
    *,
    config_file: Path | None,
    listen: str | None,
    mesh_port: int | None,
    enrol_port: int | None,
    state_dir: Path | None,
) -> None:
    """Be the hub until stopped.

    SIGTERM or Ctrl-C lets running answers end, for at most 10 s.
    """
    directory = locate(state_dir).hub
    file = config_file or directory.parent / options.CONFIG_FILE
    settings = config.load(HubConfig, "hub", file, os.environ)
    given = {"listen": listen, "mesh_port": mesh_port, "enrol_port": enrol_port}
    settings = msgspec.structs.replace(settings, **{k: v for k, v in given.items() if v is not None})
    logs.configure(settings.log_level)
    grpc_settings.tell(log)
    _want_open_files()
    told = Configuration(
        hub=settings,
        gateway=config.load(GatewayConfig, "gateway", file, os.environ),
        roles=config.load(RolesConfig, "roles", file, os.environ),
        database=config.load(DatabaseConfig, "database", file, os.environ),
    )
    loop.run(lambda: _serve(told, HubFiles(directory)))


def _want_open_files() -> None:
    """Allow as many connections as the hub does; what shells and service managers begin with is often a quarter of that."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415  # there is none on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _serve(told: Configuration, files: HubFiles) -> None:
    stop = asyncio.Event()
    with stop_signals(stop.set):
        await serve(told, files, stop, clock=SystemClock(), chance=random.random)
