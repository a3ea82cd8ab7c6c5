"""What a service manager is told: systemd's protocol, over the datagram socket that it names in the environment.

Where no manager listens, as in a terminal or on another system, nothing happens. See sd_notify(3) and
sd_watchdog_enabled(3).
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET_VARIABLE: Final = "NOTIFY_SOCKET"
WATCHDOG_VARIABLE: Final = "WATCHDOG_USEC"
WATCHDOG_PID_VARIABLE: Final = "WATCHDOG_PID"

log = logging.getLogger(__name__)


def ready(status: str) -> None:
    """Say that this service does its work, and in a few words how."""
    _tell("READY=1", f"STATUS={status}")


def stopping(status: str) -> None:
    """Say that this service is about to end, and what it still waits for."""
    _tell("STOPPING=1", f"STATUS={status}")


async def keep_alive() -> None:
    """Say again and again that the running loop is not stuck; end at once where nobody wants to know."""
    limit_s = watchdog_s(os.environ, os.getpid())
    if limit_s is None:
        return
    while True:
        _tell("WATCHDOG=1")
        await asyncio.sleep(limit_s / 2)


def watchdog_s(environ: Mapping[str, str], pid: int) -> float | None:
    """Give the silence after which the manager takes the process *pid* for stuck; None when it does not watch it."""
    text = environ.get(WATCHDOG_VARIABLE, "")
    is_for_us = environ.get(WATCHDOG_PID_VARIABLE, str(pid)) == str(pid)
    if not (is_for_us and text.isascii() and text.isdigit()):
        return None
    return int(text) / 1_000_000 or None


def _tell(*lines: str) -> None:
    address = os.environ.get(SOCKET_VARIABLE, "")
    if not address or sys.platform == "win32":
        return
    if address.startswith("@"):  # a socket of Linux's abstract namespace, which has no file
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.settimeout(0)  # a manager that does not listen must not hold the loop up
            manager.sendto("\n".join(lines).encode(), address)
    except OSError as error:
        log.warning("service manager not reached", extra={"why": str(error)})
