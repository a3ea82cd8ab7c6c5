"""Events on standard error: text for a terminal, one JSON object a line for everything else."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing import TextIO

AGAIN_S: Final = 60.0
ALIKE_CHARS: Final = 48
"""Events that begin alike are the same; what follows is where and when."""

ALIKE_MAX: Final = 64

_OWN_FIELDS: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def configure(level: str = "info", stream: TextIO | None = None) -> None:
    """Send the events of our packages to *stream*, standard error by default."""
    target = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(target)
    handler.setFormatter(TextFormatter() if target.isatty() else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)  # other libraries speak up only when something is wrong
    for package in ("hub", "hubspoke", "pki", "spoke"):
        logging.getLogger(package).setLevel(level.upper())


class Seldom(logging.Filter):
    """For what is tried again and again while something is away: lets the same event through once a minute.

    The next one says as `repeats` how many were held back.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether *record* is news."""
        what = f"{record.getMessage()} {getattr(record, 'why', '')}"[:ALIKE_CHARS]
        said_at, repeats = self._said.get(what, (-AGAIN_S, 0))
        if 0 <= record.created - said_at < AGAIN_S:
            self._said[what] = said_at, repeats + 1
            return False
        if len(self._said) >= ALIKE_MAX:
            self._said.clear()
        self._said[what] = record.created, 0
        if repeats:
            record.repeats = repeats
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `ts`, `level`, `logger`, `event`, and the event's own fields.

    `ts` is in UTC, so that the logs of two machines can be put together.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Give the line of an event."""
        line: dict[str, object] = {
            "ts": _utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """A line for people: time, level when it matters, the event, and its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the line of an event."""
        fields = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        level = "" if record.levelno <= logging.INFO else f"{record.levelname} "
        line = f"{self.formatTime(record, '%H:%M:%S')} {level}{record.getMessage()} {fields}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _utc(since_epoch_s: float) -> str:
    text = datetime.fromtimestamp(since_epoch_s, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in record.__dict__.items() if name not in _OWN_FIELDS}
