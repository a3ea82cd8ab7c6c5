"""`hub-server run`."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from hub.config import HubConfig
from hub.server import running
from hubspoke import config, logs, loop
from hubspoke.cli import options
from hubspoke.clock import SystemClock
from hubspoke.paths import locate
from pki.files import HubFiles

if TYPE_CHECKING:
    from types import FrameType

CONFIG_FILE = "hubspoke.toml"
PORT = click.IntRange(0, 65_535)


@click.command("run")
@click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="HUBSPOKE_CONFIG",
    help=f"Settings, section [hub]. Default: {CONFIG_FILE} in the state directory, if it is there.",
)
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
    settings = config.load(HubConfig, "hub", config_file or directory.parent / CONFIG_FILE, os.environ)
    given = {"listen": listen, "mesh_port": mesh_port, "enrol_port": enrol_port}
    settings = msgspec.structs.replace(settings, **{k: v for k, v in given.items() if v is not None})
    logs.configure(settings.log_level)
    loop.run(lambda: serve(settings, HubFiles(directory)))


async def serve(settings: HubConfig, files: HubFiles) -> None:
    """Run a hub until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    event_loop = asyncio.get_running_loop()

    def hear(_number: int, _frame: FrameType | None) -> None:
        event_loop.call_soon_threadsafe(stop.set)

    # Not the loop's own handlers: those do not exist on Windows.
    before = {number: signal.signal(number, hear) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        async with running(settings, files, SystemClock(), random.random):
            await stop.wait()
    finally:
        for number, former in before.items():
            signal.signal(number, former)
