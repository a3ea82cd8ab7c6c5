"""Events on standard error."""

import io
import json
import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from hubspoke.logs import JsonFormatter


@pytest.fixture(params=["Asia/Tokyo", "America/New_York"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine somewhere else."""
    if not hasattr(time, "tzset"):
        pytest.skip("this system cannot change the zone of a process")
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def an_event(message: str, **fields: object) -> dict[str, object]:
    """What a program gets to read of an event."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    record = logging.makeLogRecord({"name": "hub", "levelname": "INFO", "msg": message, **fields})
    handler.handle(record)
    line = json.loads(stream.getvalue())
    assert isinstance(line, dict)
    return line


def test_an_event_is_one_object_with_its_own_fields():
    event = an_event("spoke lost", spoke="den", after_s=15)
    assert (event["event"], event["logger"], event["level"]) == ("spoke lost", "hub", "info")
    assert (event["spoke"], event["after_s"]) == ("den", 15)


@pytest.mark.usefixtures("zone")
def test_the_time_of_an_event_is_the_same_on_every_machine():
    when = datetime(2026, 11, 24, 3, 47, 16, 250_000, UTC)
    assert an_event("hub ready", created=when.timestamp(), msecs=250.0)["ts"] == "2026-11-24T03:47:16.250Z"
