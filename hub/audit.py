"""The audit log: who came in, who was turned away, and what was changed. Append-only and chained."""

from __future__ import annotations

import logging
import queue
import threading
from contextlib import suppress
from datetime import UTC
from typing import TYPE_CHECKING, Final, Self

from hub.audit_file import AuditFile, Entry
from hub.core.repeats import OTHERS, Repeats
from hubspoke.auditlog.chain import OWN_FIELDS, START
from hubspoke.auditlog.files import LogFiles
from pki.errors import PeerRefused, UnsafeKeyFile

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from hub.core.repeats import Key
    from hubspoke.clock import Clock
    from hubspoke.errors import MeshError

QUEUE_MAX: Final = 4_096
"""Events that wait for the disk; what comes then is counted, and the count noted."""
BATCH_MAX: Final = 512
"""Events that are written and synced at once."""
FACT_CHARS_MAX: Final = 200
LOOK_S: Final = 1.0
"""How often the writer looks for counts that are due, and how soon it tries a disk again that would not take anything."""
CLOSE_S: Final = 5.0
"""How long the end of the hub waits for the disk."""

_WAKE: Final = Entry("", "", {})

log = logging.getLogger(__name__)


class Audit:
    """Takes events from anywhere, and writes them from a thread of its own.

    What was noted is on the disk, synced, some milliseconds later; nobody waits for that. A disk that is full stops the
    log and not the mesh: the hub's own log says so, and what was lost is counted.
    """

    def __init__(self, file: AuditFile, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self.is_new = file.end == START
        """Whether nothing was ever noted before."""
        self._waiting: queue.Queue[Entry] = queue.Queue(QUEUE_MAX)
        self._lock = threading.Lock()
        self._repeats = Repeats()
        self._lost = 0
        self._closing = threading.Event()
        self._writer = threading.Thread(target=self._write, name="audit", daemon=True)
        log.info("audit log open", extra={"entry": file.end.seq, "hash": file.end.hash})
        self._writer.start()

    @classmethod
    def open(cls, directory: Path, clock: Clock) -> Self:
        """Open the log in *directory*, and begin one where there is none; raise UnsafeKeyFile for one that is not ours."""
        return cls(AuditFile(LogFiles(directory)), clock)

    def note(self, event: str, **facts: str | int) -> None:
        """Note that something happened. Never waits; what *facts* say is cut to a length that fits a line."""
        if OWN_FIELDS & facts.keys():
            raise ValueError(f"a fact of an event cannot be called one of {', '.join(sorted(OWN_FIELDS))}")
        entry = Entry(self._ts(), event, {name: _short(value) for name, value in facts.items()})
        try:
            self._waiting.put_nowait(entry)
        except queue.Full:
            with self._lock:
                self._lost += 1

    def note_often(self, event: str, *, peer: str, reason: str, **facts: str | int) -> None:
        """Note what may happen to *peer* again and again for one *reason*: a few times as it is, then counted."""
        with self._lock:
            is_new = self._repeats.is_new((event, peer, reason), self._clock.monotonic())
        if is_new:
            self.note(event, peer=peer, reason=reason, **facts)

    def close(self) -> None:
        """Write what waits, and end."""
        self._closing.set()
        with suppress(queue.Full):
            self._waiting.put_nowait(_WAKE)
        self._writer.join(CLOSE_S)
        if self._writer.is_alive():
            log.error("audit log not written to its end", extra={"lost": self._waiting.qsize()})
            return
        log.info("audit log closed", extra={"entry": self._file.end.seq, "hash": self._file.end.hash})
        self._file.close()

    def __enter__(self) -> Self:
        """Give the log itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def _write(self) -> None:
        is_over = False
        while not is_over:
            batch = self._taken()
            is_over = self._closing.is_set() and self._waiting.empty()
            batch += self._counted(is_end=is_over)
            if batch:
                self._append(batch)

    def _taken(self) -> list[Entry]:
        """Wait for events, though not for ever, and give those that are there."""
        taken: list[Entry] = []
        with suppress(queue.Empty):
            taken.append(self._waiting.get(timeout=LOOK_S))
            while len(taken) < BATCH_MAX:
                taken.append(self._waiting.get_nowait())
        return [entry for entry in taken if entry is not _WAKE]

    def _counted(self, *, is_end: bool) -> list[Entry]:
        """Give what was held back and is due, and how many events were lost."""
        with self._lock:
            summaries = self._repeats.summaries(self._clock.monotonic(), is_end=is_end)
            lost, self._lost = self._lost, 0
        ts = self._ts()
        found = [Entry(ts, *_summary(key, count)) for key, count in summaries]
        return [*found, Entry(ts, "audit.overflow", {"lost": lost})] if lost else found

    def _append(self, batch: list[Entry]) -> None:
        has_failed = False
        while True:
            is_last_try = self._closing.is_set()
            try:
                self._file.append(batch)
            except (OSError, UnsafeKeyFile) as error:
                if not has_failed:
                    log.error("audit log not written", extra={"why": str(error)})  # noqa: TRY400  # no defect of ours
                has_failed = True
                if is_last_try:
                    log.error("audit log not written to its end", extra={"lost": len(batch)})  # noqa: TRY400  # as above
                    return
                self._closing.wait(LOOK_S)
                continue
            if has_failed:
                log.warning("audit log written again")
            return

    def _ts(self) -> str:
        return self._clock.now().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def refusal_of(error: MeshError) -> str:
    """Say why somebody was turned away, in one of a few ways: no stranger's words make a new one."""
    cause = error.__cause__
    return cause.reason.value if isinstance(cause, PeerRefused) else error.reason


def _short(value: str | int) -> str | int:
    """Cut a fact to what a line takes, and make it fit to be shown."""
    if isinstance(value, int):
        return value
    return "".join(sign if sign.isprintable() else "?" for sign in value[:FACT_CHARS_MAX])


def _summary(key: Key, count: int) -> tuple[str, dict[str, str | int]]:
    if key == OTHERS:
        return "audit.held_back", {"repeats": count}
    event, peer, reason = key
    return event, {"peer": peer, "reason": reason, "repeats": count}
