"""How hub and spoke hear that they are to stop, on whichever event loop."""

import asyncio
import signal
import sys

import pytest

from hubspoke import loop
from hubspoke.signals import stop_signals

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="sends itself a POSIX signal")


@posix_only
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_each_signal_to_stop_is_heard_in_the_loop(number, kind, monkeypatch):
    monkeypatch.setenv(loop.LOOP_VARIABLE, kind)

    async def hear_twice() -> None:
        heard = asyncio.Semaphore(0)
        with stop_signals(heard.release):
            for _ in range(2):
                signal.raise_signal(number)
                async with asyncio.timeout(5):
                    await heard.acquire()

    loop.run(hear_twice)


async def test_the_old_answer_to_a_signal_is_back_afterwards():
    before = signal.getsignal(signal.SIGINT)

    with stop_signals(lambda: None):
        assert signal.getsignal(signal.SIGINT) is not before

    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(sys.platform != "win32", reason="only Windows has it")
async def test_ctrl_break_is_a_wish_to_stop_too():
    before = signal.getsignal(signal.SIGBREAK)

    with stop_signals(lambda: None):
        assert signal.getsignal(signal.SIGBREAK) is not before
