"""The command line as people run it, a process beside a real hub and a real agent; the engine alone is a fake."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hubspoke.cli.failures import Exit
from hubspoke.types import Capability, Delta, PullStep
from pki.files import NodeFiles
from tests.fakes.engine import FakeEngine, Gate, a_model
from tests.fakes.real_agent import an_agent
from tests.fakes.real_hub import WAIT_S, real_hub, started_again

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fakes.real_hub import RealHub

# Up to six processes, one after the other.
pytestmark = pytest.mark.timeout(300)

LAYER = PullStep("pulling layer", 1 << 20, 4 << 20)
HUBSPOKE = (sys.executable, "-c", "from hubspoke.cli import main; main()")
WHOLE_COMMAND_S = 3 * WAIT_S
"""Longest wait for a command to start, ask and end, beside all else that runs here."""

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no Ctrl-C to one process")


@asynccontextmanager
async def started(hub: RealHub, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a command as the mesh's admin."""
    pipe = asyncio.subprocess.PIPE
    place = ("--state-dir", str(hub.directory))
    process = await asyncio.create_subprocess_exec(
        *HUBSPOKE, *arguments, *place, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ran(hub: RealHub, *arguments: str) -> tuple[int | None, str, str]:
    """Run a command to its end, and give its code and what it wrote."""
    async with started(hub, *arguments) as process, asyncio.timeout(WHOLE_COMMAND_S):
        output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


async def in_memory(hub: RealHub) -> list[dict[str, object]]:
    """Say what `hubspoke ps` says."""
    code, output, errors = await ran(hub, "ps", "--json")
    assert code == Exit.DONE, errors
    held: list[dict[str, object]] = json.loads(output)["models"]
    return held


@needs_signals
async def test_a_pull_that_is_stopped_reaches_the_engine_and_can_go_on(hub: RealHub) -> None:
    engine = FakeEngine(a_model())
    engine.pull_steps = (PullStep("pulling manifest"), LAYER, Gate())
    async with an_agent(hub, "den", engine):
        async with started(hub, "pull", "llama3.2:1b", "--json") as pulling, asyncio.timeout(WHOLE_COMMAND_S):
            assert pulling.stdout is not None
            while json.loads(await pulling.stdout.readline())["step"] != LAYER.step:
                pass
            pulling.send_signal(signal.SIGINT)
            _, errors = await pulling.communicate()
            await engine.pulls_closed.acquire()
        assert pulling.returncode == Exit.INTERRUPTED
        assert "the same command goes on from it" in errors.decode()
        engine.pull_steps = (LAYER, replace(LAYER, completed_bytes=LAYER.total_bytes))
        code, output, _ = await ran(hub, "pull", "llama3.2:1b", "--spoke", "den")
    assert (code, output) == (Exit.DONE, "llama3.2:1b is on den (fake); next: `hubspoke ask llama3.2:1b`\n")
    assert engine.pulls == ["llama3.2:1b", "llama3.2:1b"]


async def test_a_model_is_loaded_pinned_shown_and_unloaded(hub: RealHub) -> None:
    engine = FakeEngine(a_model(loaded=False))
    async with an_agent(hub, "den", engine):
        assert await in_memory(hub) == []
        code, output, _ = await ran(hub, "load", "tiny", "--pin")
        assert (code, output.partition(":")[0]) == (Exit.DONE, "tiny is in memory on den (fake)")
        (held,) = await in_memory(hub)
        assert (held["model"], held["spoke"], held["slots"], held["pinned"]) == ("tiny", "den", 2, True)
        assert await ran(hub, "unload", "tiny") == (Exit.DONE, "tiny has left memory on den\n", "")
        assert await in_memory(hub) == []
        assert (await ran(hub, "unload", "tiny"))[1] == "tiny was not in memory\n"


async def test_a_model_that_runs_is_not_unloaded(hub: RealHub) -> None:
    engine = FakeEngine(a_model(), script=["a", gate := Gate()])
    async with an_agent(hub, "den", engine), started(hub, "ask", "tiny", "x") as asking:
        async with asyncio.timeout(WHOLE_COMMAND_S):
            await gate.reached.wait()
        code, _, errors = await ran(hub, "unload", "tiny")
        gate.open()
        assert await asking.wait() == Exit.DONE
    assert code == Exit.FAILED
    assert "A request runs on 'tiny' on den; unload it when that is done" in errors


async def test_what_there_is_not_is_a_sentence_that_says_what_there_is(hub: RealHub) -> None:
    async with an_agent(hub, "den", FakeEngine(a_model())):
        for command in ("ask", "load", "unload", "embed"):
            words = ("x",) if command in {"ask", "embed"} else ()
            code, _, errors = await ran(hub, command, "tinny", *words)
            assert code == Exit.FAILED
            assert "did you mean" in errors
        code, _, errors = await ran(hub, "pull", "tinny")
        assert (code, "that takes an Ollama" in errors) == (Exit.FAILED, True)


async def test_texts_become_vectors(hub: RealHub) -> None:
    able = replace(a_model(), capabilities=frozenset({Capability.EMBED}))
    async with an_agent(hub, "den", FakeEngine(able)):
        code, output, errors = await ran(hub, "embed", "tiny", "one", "three", "--json")
    assert code == Exit.DONE, errors
    assert [vector[0] for vector in json.loads(output)["vectors"]] == [3.0, 5.0]


@needs_signals
async def test_a_conversation_outlives_a_restart_of_the_hub(tmp_path: Path) -> None:
    from tests.fakes.terminal import hubspoke_at  # noqa: PLC0415  # there are none on Windows

    async with AsyncExitStack() as stack:
        async with real_hub(tmp_path) as hub, hub.spoke("den", slots=1) as spoke:
            terminal = stack.enter_context(hubspoke_at("chat", "tiny", "--state-dir", str(tmp_path)))
            await asyncio.to_thread(terminal.until, "tiny> ")
            terminal.enter("hello")
            await spoke.slots[0].answer("Hi")
            await asyncio.to_thread(terminal.until, "tiny> ")
        terminal.enter("anybody?")
        assert "Error: " in await asyncio.to_thread(terminal.until, "tiny> ")
        async with started_again(hub), hub.connected(NodeFiles(tmp_path / "den"), slots=1) as spoke:
            terminal.enter("and now?")
            await spoke.slots[0].answer("Here again")
            assert "Here again" in await asyncio.to_thread(terminal.until, "tiny> ")


@needs_signals
async def test_people_talk_at_a_terminal(hub: RealHub) -> None:
    engine = FakeEngine(a_model(loaded=False), script=[Delta(thinking="Hm. "), "Hello", " **world**"])
    async with an_agent(hub, "den", engine):
        await asyncio.to_thread(talk, hub)
        async with asyncio.timeout(WAIT_S):
            await engine.closed.acquire()
            await engine.closed.acquire()
    first, second = engine.requests
    assert [turn.text for turn in first.messages] == ["hello"]
    assert [turn.text for turn in second.messages] == ["hello", "Hello **world**", "again"]
    assert second.messages[1].thinking == "Hm. "


def talk(hub: RealHub) -> None:
    """Say two things, and leave."""
    from tests.fakes.terminal import CTRL_D, hubspoke_at  # noqa: PLC0415  # there are none on Windows

    with hubspoke_at("chat", "--state-dir", str(hub.directory)) as terminal:
        terminal.until("tiny> ")
        terminal.enter("hello")
        shown = terminal.until("tiny> ")
        assert "Hm." in shown
        assert "Hello world" in shown
        assert "tiny on den: 3 tokens" in shown
        terminal.enter("again")
        terminal.until("tiny on den")
        terminal.until("tiny> ")
        terminal.type(CTRL_D)
        assert terminal.end() == Exit.DONE
