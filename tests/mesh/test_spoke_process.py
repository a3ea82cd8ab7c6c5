"""`spoke-agent` as people start it: a process, the embedded engine, the shipped model, signals."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from hubspoke.api.inference.v1 import inference_pb2
from hubspoke.api.mesh.v1 import mesh_pb2 as pb
from hubspoke.api.types.v1 import types_pb2
from hubspoke.types import Message, Request, Speaker
from hubspoke.wire import inventory
from pki.files import NodeFiles
from tests.fakes.mesh_hub import Mesh, MeshHub, soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hubspoke.types import Model

ASK = Request(model="tiny", messages=(Message(Speaker.USER, "What is 2 + 2?"),), max_output_tokens=16)


@asynccontextmanager
async def an_agent(
    state: Path, *arguments: str, **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "spoke",
        *arguments,
        "--state-dir",
        str(state),
        env={**os.environ, **environment},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def offered(hub: MeshHub, registered: pb.RegisterRequest) -> Model:
    """Give the one model of a spoke, which it tells with a beat where its engine took longer for the first look than it waits."""
    told = registered.inventory
    if not told.models:
        told = (await hub.beat_with(lambda beat: bool(beat.inventory.models))).inventory
    (model,) = inventory.from_wire(told).models
    return model


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_an_agent_serves_the_shipped_model_and_leaves_on_a_signal(tmp_path, loop):
    mesh = Mesh()
    async with mesh.serving(MeshHub()) as hub:
        mesh.enrol(NodeFiles(tmp_path / "spoke"))
        async with an_agent(
            tmp_path, "run", "--model", "tiny", "--slots", "2", HUBSPOKE_LOOP=loop
        ) as process:
            registered = await soon(hub.registered.get())
            model = await offered(hub, registered)
            assert (model.name, registered.slots) == ("tiny", 2)
            load = pb.LoadModel(engine=model.engine, model="tiny", context_tokens=model.plan.context_tokens)
            hub.direct(pb.Directive(id=1, load=load))
            beat = await hub.beat_with(lambda beat: bool(beat.results))
            assert not beat.results[0].HasField("failure"), beat.results[0].failure
            slot = await hub.slot()
            await slot.assign(1, model, ASK)
            chunks, last = await slot.hear_answer()
            text = "".join(inference_pb2.InferResponse.FromString(chunk.body).delta.text for chunk in chunks)
            assert text
            assert last.finish in {types_pb2.FINISH_REASON_STOP, types_pb2.FINISH_REASON_LENGTH}
            # The token that ends an answer has no text and is counted all the same.
            assert last.usage.output_tokens >= sum(chunk.tokens for chunk in chunks)
            process.send_signal(signal.SIGTERM)
            await hub.beat_with(lambda beat: beat.HasField("goodbye"))
            assert await soon(process.wait()) == 0


async def test_a_machine_that_has_not_joined_is_told_how_to(tmp_path):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "spoke", "--state-dir", str(tmp_path)), stderr=asyncio.subprocess.PIPE
    )
    _, errors = await soon(process.communicate())
    assert b"spoke-agent join" in errors
    assert process.returncode == 4


async def test_help_is_instant(tmp_path):
    script = (
        "import sys; from spoke.cli import main; main(['--help'], standalone_mode=False); "
        "sys.exit(any(name in sys.modules for name in ('grpc', 'rich', 'cryptography')))"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script), stdout=asyncio.subprocess.DEVNULL
    )
    assert await soon(process.wait()) == 0
