"""What differs between operating systems. Tests take the other path by handing in the other `Platform`."""

from __future__ import annotations

import platform
import subprocess
import sys
from dataclasses import dataclass
from typing import TypedDict


@dataclass(frozen=True, slots=True)
class Platform:
    """What this machine's system offers. Which event loop it takes is `hubspoke.loop`'s to say."""

    has_unix_sockets: bool
    """Whether a server can listen in the file system, where permissions keep others out."""
    has_apple_gpu: bool
    """Whether the GPU is Apple's own, which computes in main memory."""


def here() -> Platform:
    """Describe the system that this process runs on."""
    return Platform(
        has_unix_sockets=sys.platform != "win32",
        has_apple_gpu=sys.platform == "darwin" and platform.machine() == "arm64",
    )


class Detachment(TypedDict, total=False):
    """Arguments for the start of a process."""

    start_new_session: bool
    creationflags: int


def detached() -> Detachment:
    """Give the arguments that start a process out of reach of the terminal's Ctrl-C."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}
