"""`spoke-agent` with nothing set up at all, in front of somebody at a terminal and in front of nobody."""

from __future__ import annotations

import asyncio
import codecs
import os
import signal
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from hubspoke.admin import AdminClient
from hubspoke.cli.failures import Exit
from hubspoke.types import SpokeState
from pki.identity import Role
from tests.fakes.mesh_hub import soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

if sys.platform == "win32":
    pytest.skip("Windows has no pseudo-terminals", allow_module_level=True)

CHUNK_BYTES = 4096
INSIST_S = 5.0


class Terminal:
    """A program, the terminal that it runs in, and what it has written there."""

    def __init__(self, process: asyncio.subprocess.Process, keyboard: int) -> None:
        self.process = process
        self._keyboard = keyboard
        self.screen = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()  # a read may end within a sign

    async def shows(self, sign: str) -> None:
        """Wait until the screen has *sign*."""
        while sign not in self.screen:
            data = await soon(asyncio.to_thread(os.read, self._keyboard, CHUNK_BYTES))
            self.screen += self._decoder.decode(data)

    def type(self, text: str) -> None:
        os.write(self._keyboard, text.encode())

    async def interrupt(self) -> int:
        """Send Ctrl-C until it has ended, as people do, and give its exit code.

        Python takes a signal that comes just before it waits for a key for the next key's affair.
        """
        while self.process.returncode is None:
            self.process.send_signal(signal.SIGINT)
            with suppress(TimeoutError):
                async with asyncio.timeout(INSIST_S):
                    await self.process.wait()
        return self.process.returncode


@asynccontextmanager
async def a_newcomer(state: Path, *arguments: str) -> AsyncIterator[Terminal]:
    """Start the agent at a terminal; it has ended when the block has."""
    keyboard, screen = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "spoke", *arguments, "--state-dir", str(state)),
        stdin=screen,
        stdout=screen,
        stderr=screen,
        start_new_session=True,
    )
    os.close(screen)
    try:
        yield Terminal(process, keyboard)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        os.close(keyboard)


async def test_whoever_sits_there_pastes_the_token_and_the_agent_goes_on(hub, tmp_path):
    async with AdminClient(hub.admin.directory) as admin:
        token = await admin.create_join_token("den", Role.SPOKE)
    state = tmp_path / "state"
    async with a_newcomer(state, "--model", "tiny") as terminal:
        await terminal.shows("not shown")
        assert "hubspoke token create NAME --role spoke" in terminal.screen
        terminal.type(token.text + "\n")
        await terminal.shows("ready")
        await hub.has_state("den", SpokeState.READY)
        terminal.process.send_signal(signal.SIGTERM)
        assert await soon(terminal.process.wait()) == 0
    assert token.text not in terminal.screen
    assert str(state / "spoke" / "models") in terminal.screen
    assert (state / "spoke" / "models").is_dir()


async def test_a_token_that_is_damaged_is_a_sentence(tmp_path):
    async with a_newcomer(tmp_path) as terminal:
        await terminal.shows("not shown")
        terminal.type("hs1.nothing\n")
        await terminal.shows("copy the whole line again")
        assert await soon(terminal.process.wait()) == Exit.IDENTITY
    assert not (tmp_path / "spoke").exists()


async def test_ctrl_c_at_the_prompt_leaves_everything_as_it_is(tmp_path):
    async with a_newcomer(tmp_path) as terminal:
        await terminal.shows("not shown")
        assert await soon(terminal.interrupt()) == Exit.INTERRUPTED
    assert not (tmp_path / "spoke").exists()


async def test_a_terminal_that_only_reads_is_not_asked(tmp_path):
    keyboard, screen = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "spoke", "--state-dir", str(tmp_path)),
        stdin=screen,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await soon(process.communicate())
    os.close(screen)
    os.close(keyboard)
    assert b"spoke-agent join" in errors
    assert process.returncode == Exit.IDENTITY
