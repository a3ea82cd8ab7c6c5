"""Batches: the command in a process of its own, a real hub and real spokes, with engines that reply as the test wants."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from hubspoke.errors import InvalidRequest
from hubspoke.types import Message, Priority, Request, Speaker
from pki.identity import Role
from tests.fakes.delegating import a_mesh
from tests.fakes.engine import Gate
from tests.fakes.real_agent import an_agent
from tests.fakes.real_hub import real_hub, started_again
from tests.fakes.replying_engine import ReplyingEngine, a_skilled_model

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fakes.real_hub import RealHub

HUBSPOKE = (sys.executable, "-c", "from hubspoke.cli import main; main()")
COMMAND_S = 60.0
"""Longest wait for a command to start, ask and end, beside all else that runs here."""

pytestmark = pytest.mark.timeout(180)  # each command loads its modules anew

SLOTS = 2
"""What a spoke of `a_mesh` has."""

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no Ctrl-C to one process")


@asynccontextmanager
async def started(directory: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a command with the app's identity in *directory*."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *HUBSPOKE, "batch", *arguments, "--state-dir", str(directory),
        stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ran(directory: Path, *arguments: str) -> tuple[int | None, str, str]:
    """Run a command to its end, and give its code and what it wrote."""
    async with started(directory, *arguments) as process, asyncio.timeout(COMMAND_S):
        output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


async def told(process: asyncio.subprocess.Process, event: str) -> dict[str, object]:
    """Wait until a command tells of an event."""
    assert process.stdout is not None
    while True:
        line = json.loads(await process.stdout.readline())
        if line["event"] == event:
            return line


async def an_app(hub: RealHub, name: str = "laptop") -> Path:
    """Let an app in, and give the state directory of its commands."""
    directory = hub.directory / f"{name}-state"
    await hub.join(name, Role.APP, directory=f"{name}-state/client")
    return directory


def prompts(directory: Path, *texts: str) -> str:
    """Write a file of prompts, and give its path."""
    path = directory / "night.jsonl"
    path.write_text("".join(json.dumps({"id": f"q-{text}", "prompt": text}) + "\n" for text in texts))
    return str(path)


def answers(directory: Path) -> dict[str, str | None]:
    """Read the results: outputs by id, reasons for what failed."""
    found = {}
    for line in (directory / "night.jsonl.results.jsonl").read_text().splitlines():
        result = json.loads(line)
        assert result["custom_id"] not in found, "it is there twice"
        if result["error"]:
            found[result["custom_id"]] = result["error"]["code"]
        else:
            found[result["custom_id"]] = result["response"]["body"]["choices"][0]["message"]["content"]
    return found


def finishes(results: str) -> dict[str, str | None]:
    """Read why each answer ended."""
    lines = map(json.loads, results.splitlines())
    return {line["custom_id"]: line["response"]["body"]["choices"][0]["finish_reason"] for line in lines}


async def test_each_line_is_answered_and_failures_stay_with_their_line(tmp_path: Path):
    engine = ReplyingEngine(
        replies=lambda prompt: InvalidRequest("no") if prompt == "bad" else prompt.upper()
    )
    async with a_mesh(tmp_path, den=engine) as hub:
        app = await an_app(hub)
        file = prompts(tmp_path, "one", "bad", "two")
        code, output, errors = await ran(app, "run", file, "--model", "small", "--json")
    assert code == 1, errors
    assert answers(tmp_path) == {"q-one": "ONE", "q-bad": "invalid_request", "q-two": "TWO"}
    events = [json.loads(line) for line in output.splitlines()]
    assert (events[0]["event"], events[0]["lines"], events[0]["chunks"]) == ("accepted", 3, 1)
    assert {"event": "failed", "id": "q-bad", "reason": "invalid_request", "message": "no"} in events
    last = events[-1]
    assert (last["event"], last["total"], last["done"], last["failed"]) == ("ended", 3, 2, 1)
    assert last["tokens"] == 20
    assert {request.priority for request in engine.requests} == {Priority.BATCH}


async def test_a_killed_client_goes_on_where_it_was_and_nothing_is_done_twice(tmp_path: Path):
    texts = [f"text {number}" for number in range(300)]
    gate = Gate()
    engine = ReplyingEngine(
        a_skilled_model(slots=8), replies=lambda prompt: (gate, prompt) if prompt == "text 100" else prompt
    )
    async with a_mesh(tmp_path, den=engine) as hub:
        app = await an_app(hub)
        command = ("run", prompts(tmp_path, *texts), "--model", "small", "--parallel", "8", "--json")
        async with started(app, *command) as process, asyncio.timeout(COMMAND_S):
            accepted = await told(process, "accepted")
            await gate.reached.wait()
            while (await told(process, "progress"))["done"] == 0:
                pass
            process.kill()
            await process.wait()
        assert accepted["chunks"] == 2
        gate.open()
        code, _, errors = await ran(app, *command)
        assert code == 0, errors
        before = (tmp_path / "night.jsonl.results.jsonl").read_bytes()
        assert answers(tmp_path) == {f"q-{text}": text for text in texts}
        assert (await ran(app, *command))[0] == 0
        assert (tmp_path / "night.jsonl.results.jsonl").read_bytes() == before
    assert set(engine.begun.values()) == {1}


async def test_a_batch_outlives_a_restart_of_the_hub(tmp_path: Path):
    gate = Gate()
    engine = ReplyingEngine(replies=lambda prompt: prompt if prompt == "first" else (gate, prompt))
    async with AsyncExitStack() as stack:
        async with AsyncExitStack() as first:
            hub = await first.enter_async_context(real_hub(tmp_path))
            await stack.enter_async_context(an_agent(hub, "den", engine))
            app = await an_app(hub)
            file = prompts(tmp_path, "first", "second", "third", "fourth")
            process = await stack.enter_async_context(started(app, "run", file, "--model", "small"))
            await gate.reached.wait()
        gate.open()
        await stack.enter_async_context(started_again(hub))
        async with asyncio.timeout(COMMAND_S):
            _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert answers(tmp_path) == {f"q-{text}": text for text in ("first", "second", "third", "fourth")}
    assert set(engine.begun.values()) == {1}


async def test_an_answer_that_was_cut_off_says_so_in_its_file_and_after_a_restart_to_another_machine(
    tmp_path: Path,
):
    gate = Gate()
    engine = ReplyingEngine(
        cut={"one", "three"}, replies=lambda prompt: (gate, prompt) if prompt == "three" else prompt
    )
    async with AsyncExitStack() as stack:
        async with AsyncExitStack() as first:
            hub = await first.enter_async_context(real_hub(tmp_path))
            await stack.enter_async_context(an_agent(hub, "den", engine))
            app = await an_app(hub)
            file = prompts(tmp_path, "one", "two", "three")
            command = ("run", file, "--model", "small", "--parallel", "1", "--json")
            process = await stack.enter_async_context(started(app, *command))
            job = (await told(process, "accepted"))["job"]
            await gate.reached.wait()
        gate.open()
        await stack.enter_async_context(started_again(hub))
        async with asyncio.timeout(COMMAND_S):
            await process.communicate()
        _, kept, _ = await ran(hub.directory, "results", str(job), "--json")
    written = (tmp_path / "night.jsonl.results.jsonl").read_text()
    wanted = {"q-one": "length", "q-two": "stop", "q-three": "length"}
    assert finishes(written) == finishes(kept) == wanted


@needs_signals
async def test_ctrl_c_leaves_it_going_and_another_machine_has_its_results(tmp_path: Path):
    gate = Gate()
    engine = ReplyingEngine(replies=lambda prompt: (gate, prompt))
    async with a_mesh(tmp_path, den=engine) as hub:
        app = await an_app(hub)
        file = prompts(tmp_path, "one", "two")
        async with started(app, "run", file, "--model", "small", "--json") as process:
            job = (await told(process, "accepted"))["job"]
            await gate.reached.wait()
            process.send_signal(signal.SIGINT)
            async with asyncio.timeout(COMMAND_S):
                _, errors = await process.communicate()
        assert process.returncode == 130
        assert f"hubspoke batch cancel {job}" in errors.decode()
        listed = json.loads((await ran(app, "status", "--json"))[1])["batches"]
        assert listed == [{"job": job, "file": "night.jsonl", "lines": 2, "state": "running"}]
        gate.open()
        code, _, errors = await ran(await an_app(hub, "phone"), "status", job)
        assert (code, f"no batch {job}" in errors) == (1, True)
        state = ""
        async with asyncio.timeout(COMMAND_S):
            while state != "ended":
                standing = json.loads((await ran(hub.directory, "status", job, "--json"))[1])
                state = standing["state"]
        assert (standing["done"], standing["total"]) == (2, 2)
        lines = (await ran(hub.directory, "results", job))[1].splitlines()
        assert [json.loads(line)["custom_id"] for line in lines] == ["q-one", "q-two"]


async def test_a_detached_batch_can_be_ended_and_forgotten(tmp_path: Path):
    gate = Gate()
    engine = ReplyingEngine(replies=lambda prompt: (gate, prompt))
    async with a_mesh(tmp_path, den=engine) as hub:
        app = await an_app(hub)
        command = ("run", prompts(tmp_path, "one", "two", "three"), "--model", "small")
        code, output, errors = await ran(app, *command, "--detach", "--json")
        assert code == 0, errors
        job = json.loads(output)["job"]
        await gate.reached.wait()
        assert (await ran(app, "cancel", job))[0] == 0
        code, _, errors = await ran(app, *command)
        assert (code, "3 of 3 lines could not be done" in errors) == (1, True)
        assert set(answers(tmp_path).values()) == {"cancelled"}
        assert (await ran(app, "delete", job))[0] == 0
        assert json.loads((await ran(app, "status", "--json"))[1]) == {"batches": []}


async def test_long_answers_are_whole(tmp_path: Path):
    long = "word " * 20_000
    async with a_mesh(tmp_path, den=ReplyingEngine(replies=lambda _: long)) as hub:
        app = await an_app(hub)
        file = prompts(tmp_path, "one")
        code, _, errors = await ran(app, "run", file, "--model", "small")
    assert code == 0, errors
    assert answers(tmp_path) == {"q-one": long}


async def test_a_question_that_somebody_waits_for_goes_first(tmp_path: Path):
    gate = Gate()
    engine = ReplyingEngine(
        a_skilled_model(slots=SLOTS),
        replies=lambda prompt: (gate, prompt) if prompt.startswith("batch") else prompt,
    )
    async with a_mesh(tmp_path, den=engine) as hub, hub.app("phone") as mesh:
        app = await an_app(hub)
        file = prompts(tmp_path, *(f"batch {number}" for number in range(40)))
        async with started(app, "run", file, "--model", "small") as process, asyncio.timeout(COMMAND_S):
            await gate.reached.wait()
            question = mesh.infer(Request("small", (Message(Speaker.USER, "now"),)))
            await anext(question)  # it waits, or has a slot that no line of the batch has
            gate.open()
            async for _ in question:
                pass
            await process.communicate()
    asked_at = [request.messages[-1].text for request in engine.requests].index("now")
    assert asked_at < 2 * SLOTS  # what had a slot, and who was given one at the same moment
