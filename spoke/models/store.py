"""The GGUF files of this machine, as models with names and digests."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hubspoke.errors import UnknownModel, Unsupported
from spoke.models import catalogue
from spoke.models.catalogue import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from spoke.models.catalogue import Stamp
    from spoke.models.gguf import Header

SHIPPED: Final = Path(__file__).parent / "shipped"
"""The models that come with Hubspoke."""
FILES_MAX: Final = 1000
PATIENCE_S: Final = 1.0
"""How long a listing waits for files that are new; those that take longer are in a later one."""
NAME_CHARACTERS_MAX: Final = 128
PROJECTOR: Final = "clip"
"""What a file calls its architecture that lets a model see images."""
PROJECTOR_NAMES: Final = ("{}.mmproj.gguf", "mmproj-{}.gguf")
"""How such a file is called beside the model's own, whose name without its ending is put in."""

_SANE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._:-]*")
_STRANGE: Final = re.compile(r"[^a-z0-9._:-]+")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model file; *digest* is "sha256:" and 64 hex digits of the whole file.

    *projector* is the file beside it that lets it see images, if there is one; the size is that of both.
    """

    name: str
    path: Path
    digest: str
    size_bytes: int
    header: Header
    projector: Path | None = None
    projector_digest: str = ""

    @property
    def contents(self) -> tuple[str, str]:
        """What it consists of: whatever has the same contents is the same in memory."""
        return self.digest, self.projector_digest


class ModelStore:
    """The models in *folders*, the first one first. A file is listed from when it has been read whole.

    Files are read in a thread, one after the other. What was found is kept in *catalogue_path* by path, size and
    date, so a file is read again only after it has changed. Files of the folder *own* alone may be deleted: others are
    there by somebody else's will.
    """

    def __init__(self, folders: Sequence[Path], catalogue_path: Path, own: Path | None = None) -> None:
        self._folders = tuple(folders)
        self._own = own
        self._catalogue_path = catalogue_path
        self._entries: dict[Stamp, Entry] | None = None
        self._turn = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None

    async def models(self) -> tuple[StoredModel, ...]:
        """List what is there now; new files are waited for, up to `PATIENCE_S`."""
        entries = await self._known()
        stamps = await asyncio.to_thread(_stamps, self._folders)
        if self._reading is None and any(stamp not in entries for stamp in stamps):
            self._reading = asyncio.create_task(self._read(stamps, entries))
            self._reading.add_done_callback(self._has_read)
        if self._reading is not None:
            await asyncio.wait({self._reading}, timeout=PATIENCE_S)
        return _named(stamps, entries)

    async def own_files(self, name: str) -> tuple[Path, ...]:
        """Give the files that the model *name* consists of, all copies included.

        Raise UnknownModel, or Unsupported unless all of them lie in the own folder.
        """
        entries = await self._known()
        stamps = await asyncio.to_thread(_stamps, self._folders)
        copies = [model for model in _copies(stamps, entries) if model.name == name]
        if not copies:
            raise UnknownModel(f"there is no model {name!r} in this spoke's folders")
        if any(model.path.is_relative_to(SHIPPED) for model in copies):
            raise Unsupported(f"{name!r} came with Hubspoke, and stays as long as that is installed")
        # Who puts a link in the folder's place has pointed to another one, as by a setting.
        if self._own is None or self._own.is_symlink() or {m.path.parent for m in copies} != {self._own}:
            raise Unsupported(
                f"{name!r} lies in a folder that this spoke was pointed to; only whoever did that may delete it there"
            )
        projectors = (model.projector for model in copies if model.projector is not None)
        return *(model.path for model in copies), *projectors

    async def remove(self, files: Iterable[Path]) -> None:
        """Delete *files*; of a link only itself. Raise Unsupported when this machine does not allow that."""
        await asyncio.to_thread(_removed, tuple(files))

    async def aclose(self) -> None:
        """Stop reading; what has been read whole is kept."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})

    async def _known(self) -> dict[Stamp, Entry]:
        """Give the one table of what was read, filled from the disk at the first call."""
        async with self._turn:
            if self._entries is None:
                self._entries = await asyncio.to_thread(catalogue.load, self._catalogue_path)
            return self._entries

    def _has_read(self, reading: asyncio.Task[None]) -> None:
        self._reading = None
        if not reading.cancelled():
            reading.result()  # anything but success is a defect, which the loop reports

    async def _read(self, stamps: Sequence[Stamp], entries: dict[Stamp, Entry]) -> None:
        """Read the files that are new, and forget those that have gone."""
        for gone in entries.keys() - set(stamps):
            del entries[gone]
        stopped = threading.Event()
        try:
            # Small ones first: nobody waits for them behind a large one.
            for stamp in sorted(set(stamps) - entries.keys(), key=lambda new: new.size_bytes):
                entry = await asyncio.to_thread(_examined, stamp, stopped)
                if entry is not None:
                    entries[stamp] = entry
                    await asyncio.to_thread(_saved, self._catalogue_path, dict(entries))
        finally:
            stopped.set()  # a cancelled task leaves its thread behind


def _stamps(folders: Iterable[Path]) -> list[Stamp]:
    """Look for files in the order that decides who keeps a name: by folder, then by file name."""
    found: list[Stamp] = []
    for folder in folders:
        for path in sorted(folder.glob("*.gguf"))[: FILES_MAX - len(found)]:
            try:
                found.append(catalogue.stamp(path))
            except OSError:  # gone again, or a link to nowhere
                continue
    return found


def _examined(stamp: Stamp, stopped: threading.Event) -> Entry | None:
    """Read a file; None when it changed meanwhile, so that it is read again."""
    path = Path(stamp.path)
    try:
        entry = catalogue.examine(path, stopped)
        if catalogue.stamp(path) != stamp:
            return None
    except OSError as error:
        entry = Entry(fault=f"not readable: {error}")
    if entry is not None and entry.fault:
        log.warning("model file not usable", extra={"path": stamp.path, "fault": entry.fault})
    return entry


def _saved(path: Path, entries: Mapping[Stamp, Entry]) -> None:
    """Keep the catalogue; without one, files are read again after the next start."""
    try:
        catalogue.save(path, entries)
    except OSError as error:
        log.warning("catalogue not saved", extra={"path": str(path), "error": str(error)})


def _removed(files: Iterable[Path]) -> None:
    try:
        for path in files:
            path.unlink(missing_ok=True)
            log.info("model file deleted", extra={"path": str(path)})
    except OSError as error:
        log.warning("model file not deleted", extra={"path": str(error.filename), "error": str(error)})
        raise Unsupported("this machine does not let the spoke delete the file; its log says why") from error


def _named(stamps: Sequence[Stamp], entries: Mapping[Stamp, Entry]) -> tuple[StoredModel, ...]:
    """List what can be run; copies are listed once."""
    models: dict[str, StoredModel] = {}
    for model in _copies(stamps, entries):
        models.setdefault(model.name, model)
    return tuple(models.values())


def _copies(stamps: Sequence[Stamp], entries: Mapping[Stamp, Entry]) -> Iterator[StoredModel]:
    """List every file that can be run. Different ones that want the same name go by their file's."""
    usable = [
        (stamp, entry.digest, entry.header)
        for stamp in stamps
        if (entry := entries.get(stamp)) is not None and entry.header is not None and _is_whole(entry.header)
    ]
    claims: defaultdict[str, set[str]] = defaultdict(set)
    for stamp, digest, header in usable:
        claims[_own_name(header) or _file_name(stamp)].add(digest)
    projectors = _projectors(stamps, entries)
    for stamp, digest, header in usable:
        own = _own_name(header)
        name = own if own and len(claims[own]) == 1 else _file_name(stamp)
        path = Path(stamp.path)
        model = StoredModel(name, path, digest, stamp.size_bytes, header)
        beside = (path.with_name(form.format(path.stem)) for form in PROJECTOR_NAMES)
        found = next((projectors[each] for each in beside if each in projectors), None)
        yield model if found is None else found.given_to(model)


@dataclass(frozen=True, slots=True)
class _Projector:
    path: Path
    digest: str
    size_bytes: int

    def given_to(self, model: StoredModel) -> StoredModel:
        return replace(
            model,
            size_bytes=model.size_bytes + self.size_bytes,
            projector=self.path,
            projector_digest=self.digest,
        )


def _projectors(stamps: Iterable[Stamp], entries: Mapping[Stamp, Entry]) -> dict[Path, _Projector]:
    """Find the files that let models see."""
    found: dict[Path, _Projector] = {}
    for stamp in stamps:
        entry = entries.get(stamp)
        if entry is not None and entry.header is not None and entry.header.architecture == PROJECTOR:
            path = Path(stamp.path)
            found[path] = _Projector(path, entry.digest, stamp.size_bytes)
    return found


def _is_whole(header: Header) -> bool:
    """Whether the file is a model by itself, and not a part, an adapter or the eyes of another."""
    return header.files == 1 and header.kind in {"", "model"} and header.architecture != PROJECTOR


def _own_name(header: Header) -> str:
    """Give the name that the model gives itself, if that can be typed; "" otherwise."""
    fits = len(header.name) <= NAME_CHARACTERS_MAX and _SANE_NAME.fullmatch(header.name)
    return header.name if fits else ""


def _file_name(stamp: Stamp) -> str:
    name = _STRANGE.sub("-", Path(stamp.path).stem.lower()).strip("-._:")
    return name[:NAME_CHARACTERS_MAX] or "unnamed"
