"""What systemd is told, over a real socket."""

from __future__ import annotations

import asyncio
import secrets
import sys

import pytest

from hubspoke import notify
from tests.fakes.service_manager import service_manager

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such sockets")


@pytest.fixture(autouse=True)
def nobody(monkeypatch):
    """Take away what the service manager of the tests themselves may have set."""
    for name in (notify.SOCKET_VARIABLE, notify.WATCHDOG_VARIABLE, notify.WATCHDOG_PID_VARIABLE):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def manager(tmp_path, monkeypatch):
    with service_manager(str(tmp_path / "notify")) as listening:
        monkeypatch.setenv(notify.SOCKET_VARIABLE, str(tmp_path / "notify"))
        yield listening


async def test_being_ready_is_told_with_a_status(manager):
    notify.ready("as it should be")
    assert await manager.next() == "READY=1\nSTATUS=as it should be"


async def test_stopping_is_told_with_a_status(manager):
    notify.stopping("almost")
    assert await manager.next() == "STOPPING=1\nSTATUS=almost"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has them")
async def test_a_socket_without_a_file_is_found(monkeypatch):
    address = f"@hubspoke-test-{secrets.token_hex(4)}"
    with service_manager(address) as manager:
        monkeypatch.setenv(notify.SOCKET_VARIABLE, address)
        notify.ready("fine")
        assert await manager.hears("READY=1")


def test_without_a_manager_nothing_happens(caplog):
    notify.ready("fine")
    assert caplog.records == []


def test_a_manager_that_is_gone_is_a_warning_and_no_more(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv(notify.SOCKET_VARIABLE, str(tmp_path / "gone"))
    notify.ready("fine")
    (record,) = caplog.records
    assert (record.levelname, record.message) == ("WARNING", "service manager not reached")


async def test_the_watchdog_is_told_again_and_again(manager, monkeypatch):
    monkeypatch.setenv(notify.WATCHDOG_VARIABLE, "20000")
    pinging = asyncio.create_task(notify.keep_alive())
    assert [await manager.next() for _ in range(3)] == ["WATCHDOG=1"] * 3
    pinging.cancel()


async def test_without_a_watchdog_there_is_nothing_to_keep_alive():
    async with asyncio.timeout(5):
        await notify.keep_alive()


@pytest.mark.parametrize(
    ("environ", "limit_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_manager_says_how_long_silence_may_last(environ, limit_s):
    assert notify.watchdog_s(environ, pid=7) == limit_s


def test_a_manager_that_does_not_read_holds_nobody_up(manager, caplog):
    while not caplog.records:
        notify.stopping("almost")
    assert caplog.messages == ["service manager not reached"]
