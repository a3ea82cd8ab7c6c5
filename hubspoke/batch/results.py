"""The results of a batch on disk: a line for each line that has ended, in the form of OpenAI's batches."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import msgspec

from hubspoke.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path
    from typing import BinaryIO, Self

    from hubspoke.batch.progress import Ended

RESULT_BYTES_MAX: Final = 8 * 1024 * 1024
"""Of one line; longer ones are none that were written here."""


class _Written(msgspec.Struct):
    custom_id: str


class Results:
    """A file that lines are added to, each on disk before it counts. What is there is kept, but for a line that was torn."""

    def __init__(self, file: BinaryIO, there: frozenset[str]) -> None:
        self._file = file
        self._there = set(there)

    @classmethod
    def open(cls, path: Path, ids: Collection[str]) -> Self:
        """Open or make the file of a batch with the lines *ids*; raise InvalidRequest when it holds anything else."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        file = os.fdopen(descriptor, "r+b")
        try:
            return cls(file, _read(file, ids))
        except InvalidRequest as error:
            file.close()
            raise InvalidRequest(f"{path}: {error.message}; give another --output") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __contains__(self, id_: str) -> bool:
        return id_ in self._there

    def add(self, ended: Iterable[Ended]) -> None:
        """Write the lines that are not there yet, and return once they are on disk."""
        new = [one for one in ended if one.id not in self._there]
        if not new:
            return
        self._file.write(b"".join(map(encoded, new)))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._there.update(one.id for one in new)


def encoded(ended: Ended) -> bytes:
    """Give a result as a line of JSON."""
    response, error = None, None
    if ended.problem is None:
        message = {"role": "assistant", "content": ended.output}
        body = {
            "object": "chat.completion",
            "model": ended.model,
            "choices": [{"index": 0, "message": message, "finish_reason": ended.finish}],
            "usage": {"total_tokens": ended.tokens},
            "hubspoke": {"spoke": ended.spoke},
        }
        response = {"status_code": 200, "request_id": ended.task, "body": body}
    else:
        error = {"code": ended.problem.reason, "message": ended.problem.message}
    line = {"id": ended.task, "custom_id": ended.id, "response": response, "error": error}
    return msgspec.json.encode(line) + b"\n"


def _read(file: BinaryIO, ids: Collection[str]) -> frozenset[str]:
    """Read which lines are there, and cut off what a crash has left of the last one."""
    there: set[str] = set()
    whole = 0
    for line in iter(lambda: file.readline(RESULT_BYTES_MAX + 1), b""):
        if not line.endswith(b"\n"):
            if len(line) > RESULT_BYTES_MAX or not line.startswith(b'{"id":"'[: len(line)]):
                raise InvalidRequest("it holds what is no result of a batch")
            break
        try:
            id_ = msgspec.json.decode(line, type=_Written).custom_id
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidRequest("it holds what is no result of a batch") from error
        if id_ not in ids:
            raise InvalidRequest(f"it holds {id_[:64]!r}, which is no line of this batch")
        there.add(id_)
        whole += len(line)
    file.truncate(whole)
    file.seek(whole)
    return frozenset(there)
