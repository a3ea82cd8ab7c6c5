"""What is known of each model file, kept on disk so that 40 GB are read once and not at every start."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from hubspoke.errors import LoadFailed
from spoke.models.gguf import Header, read_header

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping
    from pathlib import Path

VERSION: Final = 2
"""Raised when the reading of headers changes, so that everything is read again."""
CATALOGUE_BYTES_MAX: Final = 16 * 1024 * 1024
CHUNK_BYTES: Final = 4 * 1024 * 1024


class Stamp(msgspec.Struct, frozen=True):
    """What tells one state of a file from another, without reading it."""

    path: str
    size_bytes: int
    modified_ns: int


class Entry(msgspec.Struct, frozen=True):
    """What a file says of itself and what it hashes to; a *fault* says why it is no model."""

    digest: str = ""
    header: Header | None = None
    fault: str = ""


class _Line(msgspec.Struct, frozen=True):
    stamp: Stamp
    entry: Entry


class _Catalogue(msgspec.Struct, frozen=True):
    version: int
    files: list[_Line]


def stamp(path: Path) -> Stamp:
    """Look at a file's size and date; raise OSError."""
    found = path.stat()
    return Stamp(str(path), found.st_size, found.st_mtime_ns)


def examine(path: Path, stopped: threading.Event) -> Entry | None:
    """Read the whole file, which takes seconds per gigabyte; None when *stopped* came first. Raise OSError."""
    with path.open("rb") as file:
        try:
            header = read_header(file)
        except LoadFailed as error:
            return Entry(fault=error.message)
        file.seek(0)
        digest = hashlib.sha256()
        while chunk := file.read(CHUNK_BYTES):
            if stopped.is_set():
                return None
            digest.update(chunk)
    return Entry(f"sha256:{digest.hexdigest()}", header)


def load(path: Path) -> dict[Stamp, Entry]:
    """Read the catalogue; one that is missing, damaged or of another version is empty."""
    try:
        with path.open("rb") as file:
            catalogue = msgspec.json.decode(file.read(CATALOGUE_BYTES_MAX), type=_Catalogue)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return {line.stamp: line.entry for line in catalogue.files} if catalogue.version == VERSION else {}


def save(path: Path, entries: Mapping[Stamp, Entry]) -> None:
    """Write the catalogue, whole or not at all; raise OSError. Faults are looked at again after the next start."""
    lines = [_Line(stamp, entry) for stamp, entry in entries.items() if not entry.fault]
    catalogue = _Catalogue(VERSION, lines)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.write_bytes(msgspec.json.encode(catalogue))
    draft.replace(path)
