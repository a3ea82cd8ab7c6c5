"""The main memory that this machine has for the agent and its engines."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import psutil

from hubspoke.types import HostMemory
from spoke.gpu.cgroup import within_groups

ROOT: Final = Path("/")


def host_memory() -> HostMemory:
    """Say how much memory there is, and how much a new process could have without swapping.

    In a container or a service with a limit, that is what the limit leaves.
    """
    memory = psutil.virtual_memory()
    return within_groups(HostMemory(total_bytes=memory.total, available_bytes=memory.available), ROOT)
