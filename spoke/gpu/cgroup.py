"""What a container or a service may have of main memory, as Linux's control groups tell it.

A group has what its own limit and those of the groups around it leave. Nothing here raises: a file that is not there, or
not for us, says nothing. The file formats: cgroup-v2.rst and cgroup-v1/memory.rst in the kernel's documentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from hubspoke.types import HostMemory

if TYPE_CHECKING:
    from collections.abc import Iterator

PROCESS_GROUPS: Final = "proc/self/cgroup"
MOUNT: Final = "sys/fs/cgroup"
CONTROLLER: Final = "memory"


@dataclass(frozen=True, slots=True)
class _Files:
    """What the files of a version are called."""

    limit: str
    used: str
    reclaimable: str
    """The line of `memory.stat` that tells of files which are in memory and would make room."""


V1: Final = _Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2: Final = _Files("memory.max", "memory.current", "inactive_file")


def within_groups(machine: HostMemory, root: Path) -> HostMemory:
    """Give what this process may have of a *machine*'s memory, by the groups that it is in, with files below *root*."""
    memory = machine
    for folder, files in _groups(root):
        limit_bytes = _number(folder / files.limit)
        # Without a limit, version 1 gives a number beyond any machine, and version 2 a word.
        if limit_bytes is None or limit_bytes >= machine.total_bytes:
            continue
        used_bytes = (_number(folder / files.used) or 0) - _reclaimable_bytes(folder, files)
        memory = HostMemory(
            total_bytes=min(memory.total_bytes, limit_bytes),
            available_bytes=max(0, min(memory.available_bytes, limit_bytes - max(0, used_bytes))),
        )
    return memory


def _groups(root: Path) -> Iterator[tuple[Path, _Files]]:
    """Give the folder of every group that holds this process, from the inside out.

    In a container the path is often that outside of it; then only the outermost folder is there, and it is the container's.
    """
    for line in _text(root / PROCESS_GROUPS).splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0" and not controllers:
            mount, files = root / MOUNT, V2
        elif CONTROLLER in controllers.split(","):
            mount, files = root / MOUNT / CONTROLLER, V1
        else:
            continue
        inner = PurePosixPath(*(part for part in PurePosixPath(path).parts if part not in {"/", ".."}))
        yield from ((mount / group, files) for group in (inner, *inner.parents))


def _reclaimable_bytes(folder: Path, files: _Files) -> int:
    for line in _text(folder / "memory.stat").splitlines():
        name, _, number = line.partition(" ")
        if name == files.reclaimable and number.isdecimal():
            return int(number)
    return 0


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
