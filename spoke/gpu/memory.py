"""The machine's main memory."""

from __future__ import annotations

import psutil

from hubspoke.types import HostMemory


def host_memory() -> HostMemory:
    """Say how much memory there is, and how much a new process could have without swapping."""
    memory = psutil.virtual_memory()
    return HostMemory(total_bytes=memory.total, available_bytes=memory.available)
