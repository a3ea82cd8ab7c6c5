"""The whole agent with an identity on disk, against a hub that says what the test tells it to."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from hubspoke.api.inference.v1 import inference_pb2
from hubspoke.clock import SystemClock
from hubspoke.errors import PermissionDenied
from hubspoke.signals import stop_signals
from hubspoke.types import HostMemory, Request
from pki.credential import Credential
from pki.errors import NotEnrolled
from pki.files import NodeFiles
from pki.identity import Identity, NodeName, Role
from pki.keys import new_key
from spoke.agent import Agent, _models_folder
from spoke.config import SpokeConfig
from spoke.gpu.none import NoGpus
from spoke.link.machine import Machine
from tests.fakes.engine import FakeEngine, Gate, a_model
from tests.fakes.mesh_hub import Mesh, MeshHub, soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TINY = a_model()
ASK = Request(model="tiny", prompt="Say hello")


def an_agent(files: NodeFiles, engine: FakeEngine) -> Agent:
    machine = Machine([engine], NoGpus(), lambda: HostMemory(1 << 34, 1 << 33))
    return Agent(
        files,
        machine,
        hubs=(),
        slots=1,
        version="test",
        clock=SystemClock(),
        chance=lambda: 0.01,
    )


@asynccontextmanager
async def running(agent: Agent) -> AsyncIterator[asyncio.Task[None]]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(agent.run())
        yield task
        task.cancel()


async def test_an_agent_that_is_stopped_finishes_its_answer(tmp_path):
    mesh, engine = Mesh(), FakeEngine(TINY, script=["A", gate := Gate(), "B"])
    async with mesh.serving(MeshHub()) as hub:
        agent = an_agent(mesh.enrol(NodeFiles(tmp_path)), engine)
        async with running(agent) as task:
            slot = await hub.slot()
            await slot.assign(1, TINY, ASK)
            await soon(gate.reached.wait())
            agent.stop()
            await hub.beat_with(lambda beat: beat.draining)
            gate.open()
            chunks, _ = await slot.hear_answer()
            assert [inference_pb2.InferResponse.FromString(c.body).delta.text for c in chunks] == ["A", "B"]
            await hub.beat_with(lambda beat: beat.HasField("goodbye"))
            await soon(task)


@pytest.mark.skipif(os.name != "posix", reason="Windows sends no signals to itself")
async def test_the_first_signal_drains_and_the_second_leaves_at_once(tmp_path):
    mesh, engine = Mesh(), FakeEngine(TINY, script=["A", gate := Gate()])
    async with mesh.serving(MeshHub()) as hub:
        agent = an_agent(mesh.enrol(NodeFiles(tmp_path)), engine)
        with stop_signals(agent.stop):
            async with running(agent) as task:
                slot = await hub.slot()
                await slot.assign(1, TINY, ASK)
                await soon(gate.reached.wait())
                os.kill(os.getpid(), signal.SIGTERM)
                await hub.beat_with(lambda beat: beat.draining)
                os.kill(os.getpid(), signal.SIGINT)
                _, last = await slot.hear_answer()
                assert last.failure.reason == "draining"
                await soon(task)


async def test_a_certificate_at_half_life_is_renewed_and_shown_to_the_hub(tmp_path):
    mesh = Mesh(spoke_issued_ago=timedelta(hours=13))
    files = NodeFiles(tmp_path)
    async with mesh.serving(MeshHub()) as hub, running(an_agent(mesh.enrol(files), FakeEngine(TINY))):
        while (await hub.slot()).opened.session != 2:
            pass
        assert hub.serials[1] == files.load_identity().serial != hub.serials[0]
        assert hub.renewals == 1


async def test_a_machine_without_an_identity_is_no_spoke(tmp_path):
    with pytest.raises(NotEnrolled):
        an_agent(NodeFiles(tmp_path), FakeEngine(TINY))


async def test_the_identity_of_an_app_is_not_taken(tmp_path):
    mesh, files, key = Mesh(), NodeFiles(tmp_path), new_key()
    app = Identity(Role.APP, NodeName("laptop"))
    chain = mesh.node_issuer.issue_node(key.public_key(), app, now=SystemClock().now())
    files.save(Credential(key, chain), mesh.anchors)
    with pytest.raises(PermissionDenied, match="laptop"):
        an_agent(files, FakeEngine(TINY))


async def test_what_keeps_a_machine_from_being_of_use_is_in_its_log(tmp_path, caplog):
    mesh, engine = Mesh(), FakeEngine()
    engine.fault = "no such library"
    async with mesh.serving(MeshHub()) as hub, running(an_agent(mesh.enrol(NodeFiles(tmp_path)), engine)):
        await soon(hub.registered.get())
    assert {"engine not usable", "no model to offer"} <= set(caplog.messages)
    (faulty,) = (record for record in caplog.records if record.message == "engine not usable")
    assert (faulty.engine, faulty.fault) == ("fake", "no such library")


async def test_a_models_folder_that_is_misspelled_is_in_the_log(tmp_path, caplog):
    _models_folder(SpokeConfig(models_dir=str(tmp_path / "modles")), tmp_path)
    (record,) = caplog.records
    assert (record.message, record.path) == ("models folder not found", str(tmp_path / "modles"))
