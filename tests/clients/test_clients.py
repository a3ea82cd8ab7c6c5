"""Apps in other languages and without the SDK: each example asks a real mesh."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from tests.fakes.engine import FakeEngine, Gate, a_model
from tests.fakes.home import ROOT, RUN_S_MAX, Home, joined
from tests.fakes.real_agent import an_agent
from tests.fakes.real_hub import real_hub

pytestmark = [pytest.mark.clients, pytest.mark.asyncio(loop_scope="module")]

ASK_SYNC = (sys.executable, str(ROOT / "examples" / "ask_sync.py"))


async def test_a_client_prints_the_answer(mesh, client):
    ran = await mesh.run(*client, "tiny", "capital of france")
    assert (ran.status, ran.output.strip()) == (0, "Paris"), ran.errors


async def test_a_client_without_a_loop_prints_the_answer(mesh):
    ran = await mesh.run(*ASK_SYNC, "capital of france")
    assert (ran.status, ran.output, ran.errors) == (0, "tiny on den: Paris\n", "")


async def test_a_model_that_nobody_has_is_a_sentence_and_a_failure(mesh, client):
    ran = await mesh.run(*client, "nope", "capital of france")
    assert (ran.status, ran.output) == (1, "")
    (line,) = ran.errors.splitlines()
    assert "no spoke has 'nope'" in line


async def test_node_says_who_answered_and_reads_the_reason_of_an_error(mesh, node):
    ask = (node, str(ROOT / "build" / "node" / "ask.mjs"))
    answered = await mesh.run(*ask, "tiny", "capital of france")
    refused = await mesh.run(*ask, "nope", "capital of france")
    assert answered.errors.startswith("[den answers]\n")
    assert refused.errors.startswith("unknown_model: ")


@pytest.mark.parametrize("client", ["ask.py", "ask.mjs"], indirect=True)
async def test_without_an_identity_a_client_says_how_to_get_one(tmp_path, client):
    ran = await Home(tmp_path).run(*client, "tiny", "capital of france")
    (line,) = ran.errors.splitlines()
    assert ran.status == 1
    assert "join" in line


async def test_a_client_prints_while_the_answer_is_made(tmp_path, client):
    engine = FakeEngine(a_model(), script=["one ", gate := Gate(), "two"])
    async with real_hub(tmp_path) as hub, an_agent(hub, "den", engine):
        home = await joined(hub, tmp_path / "home")
        async with home.started(*client, "tiny", "hello") as process, asyncio.timeout(RUN_S_MAX):
            assert await process.stdout.readexactly(4) == b"one "
            gate.open()
            rest, errors = await process.communicate()
    assert (process.returncode, rest.decode().strip()) == (0, "two"), errors


async def test_ctrl_c_ends_a_client_and_frees_the_slot(tmp_path, client):
    engine = FakeEngine(a_model(slots=1), script=["one ", Gate()])
    async with real_hub(tmp_path) as hub, an_agent(hub, "den", engine, slots=1):
        home = await joined(hub, tmp_path / "home")
        async with home.started(*client, "tiny", "count to 60") as process, asyncio.timeout(RUN_S_MAX):
            assert await process.stdout.readexactly(4) == b"one "
            process.send_signal(signal.SIGINT)
            await engine.closed.acquire()
            await hub.is_listed("den", 1)
            await process.communicate()
    assert engine.running == 0
    assert process.returncode not in {0, 1}
