"""Results of tasks on disk, until whoever wanted them has stored them."""

from __future__ import annotations

import hashlib
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from hubspoke.types import Delta, Finished, Task, TaskKey
from pki import disk

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

RESULTS_MAX: Final = 1_024
"""Results that are kept; of more the oldest goes, and is made again should it still be wanted."""
RESULT_BYTES_MAX: Final = 16 * 1024 * 1024
"""The largest result that is kept: no message of the mesh is larger."""
KEPT_S: Final = 7 * 86_400.0
"""How long a result is kept that nobody settles: its hub may have been reinstalled."""

SUFFIX: Final = ".task"

log = logging.getLogger(__name__)


class Result(msgspec.Struct, frozen=True):
    """What a task came to."""

    key: str
    epoch: int
    request_digest: bytes
    made_at: float
    pieces: tuple[Delta, ...]
    ending: Finished

    @property
    def task(self) -> Task:
        """The task itself."""
        return Task(TaskKey(self.key), self.epoch, self.request_digest)


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Result)


class Results:
    """A directory with a file for each result. Everything that touches the disk blocks: call it in a thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def load(self, now: float) -> dict[TaskKey, Result]:
        """Read what is there at Unix time *now*; what is too old, damaged, too much or half written is deleted."""
        self._sweep()
        kept: dict[TaskKey, Result] = {}
        found = [result for path in self._paths() if (result := _read(path)) is not None]
        for result in sorted(found, key=lambda result: -result.made_at):
            if now - result.made_at > KEPT_S or len(kept) >= RESULTS_MAX:
                self.forget(result.task.key)
            else:
                kept[result.task.key] = result
        return kept

    def save(self, result: Result) -> bool:
        """Put *result* onto the disk; False for one that is too large to be kept, or where there is no room."""
        data = _ENCODER.encode(result)
        if len(data) > RESULT_BYTES_MAX:
            return False
        try:
            disk.make_directory(self._directory)
            disk.replace(self._path(result.task.key), data, mode=disk.SECRET_MODE)
        except OSError as error:
            log.warning("result not kept", extra={"task": result.key, "why": error.strerror})
            return False
        return True

    def forget(self, key: TaskKey) -> None:
        """Delete a result, if there is one."""
        with suppress(OSError):
            self._path(key).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Delete what a crash has left between the writing of a result and its place."""
        for path in self._directory.glob(f".*{SUFFIX}.*"):
            with suppress(OSError):
                path.unlink()

    def _paths(self) -> Iterable[Path]:
        return self._directory.glob(f"*{SUFFIX}") if self._directory.is_dir() else ()

    def _path(self, key: TaskKey) -> Path:
        return self._directory / f"{hashlib.sha256(key.encode()).hexdigest()}{SUFFIX}"


def _read(path: Path) -> Result | None:
    try:
        return _DECODER.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        log.warning("result cannot be read", extra={"path": str(path), "why": str(error)})
        with suppress(OSError):
            path.unlink()
        return None
