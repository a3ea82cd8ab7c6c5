import asyncio
import signal
import sys

import pytest

from spoke.platform import Platform, here, stop_signals

LOOP_SIGNALS = Platform(has_unix_sockets=True, has_loop_signals=True)
NO_LOOP_SIGNALS = Platform(has_unix_sockets=True, has_loop_signals=False)
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="sends itself a POSIX signal")


@posix_only
@pytest.mark.parametrize("platform", [LOOP_SIGNALS, NO_LOOP_SIGNALS])
async def test_a_signal_to_stop_is_heard_in_the_loop(platform: Platform):
    stopped = asyncio.Event()

    with stop_signals(stopped.set, platform):
        signal.raise_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            await stopped.wait()


@posix_only
@pytest.mark.parametrize("platform", [LOOP_SIGNALS, NO_LOOP_SIGNALS])
async def test_the_old_answer_to_a_signal_is_back_afterwards(platform: Platform):
    before = signal.getsignal(signal.SIGTERM)

    with stop_signals(lambda: None, platform):
        pass

    assert signal.getsignal(signal.SIGTERM) == before


def test_only_windows_is_different():
    assert here().has_unix_sockets == (sys.platform != "win32")
