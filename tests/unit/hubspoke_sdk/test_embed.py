"""Texts that become vectors, over real mutual TLS."""

import pytest

from hubspoke.api.inference.v1 import inference_pb2 as pb
from hubspoke.client import MeshClient
from hubspoke.errors import EngineTruncated
from hubspoke.sync import SyncMesh
from hubspoke.types import Embeddings, EmbedRequest, Finished, Started
from pki.files import NodeFiles
from tests.fakes.hub import FakeHub, MeshOnDisk, lengths, serve_mesh

TEXTS = ("a", "bcd")


async def test_vectors_come_in_the_order_of_the_texts(mesh: MeshOnDisk, app: NodeFiles):
    with serve_mesh(FakeHub(mesh.hub)) as address:
        async with MeshClient(app.directory, [address]) as client:
            made = await client.embed("tiny", TEXTS)
    assert [vector[0] for vector in made.vectors] == [1.0, 3.0]
    assert (made.started.spoke, made.finished.usage.prompt_tokens) == ("den", 6)


async def test_the_request_reaches_the_hub_as_it_was_made(mesh: MeshOnDisk, app: NodeFiles):
    hub = FakeHub(mesh.hub)
    with serve_mesh(hub) as address:
        async with MeshClient(app.directory, [address]) as client:
            await client.embed("tiny", TEXTS, dimensions=2)
    (asked,) = hub.embedded
    assert (asked.model, list(asked.inputs), asked.dimensions) == ("tiny", ["a", "bcd"], 2)


async def test_events_come_as_the_hub_says_them(mesh: MeshOnDisk, app: NodeFiles):
    with serve_mesh(FakeHub(mesh.hub)) as address:
        async with MeshClient(app.directory, [address]) as client:
            kinds = [type(event) async for event in client.embed_stream(EmbedRequest("tiny", TEXTS))]
    assert kinds == [Started, Embeddings, Embeddings, Finished]


def without(what: str):
    """Say all that `lengths` says, but not *what*."""

    def script(request: pb.EmbedRequest, hub: FakeHub):
        return (event for event in lengths(request, hub) if event.WhichOneof("event") != what)

    return script


@pytest.mark.parametrize("what", ["started", "embeddings", "finished"])
async def test_vectors_that_are_not_whole_are_an_error(mesh: MeshOnDisk, app: NodeFiles, what: str):
    with serve_mesh(FakeHub(mesh.hub, embeds=without(what))) as address:
        async with MeshClient(app.directory, [address]) as client:
            with pytest.raises(EngineTruncated):
                await client.embed("tiny", TEXTS)


async def test_vectors_out_of_order_are_an_error(mesh: MeshOnDisk, app: NodeFiles):
    def skips(_request, _hub):
        yield pb.EmbedResponse(embeddings=pb.Embeddings(first=1, embeddings=[pb.Embedding(values=[1.0])]))

    with serve_mesh(FakeHub(mesh.hub, embeds=skips)) as address:
        async with MeshClient(app.directory, [address]) as client:
            with pytest.raises(EngineTruncated, match="missing"):
                await client.embed("tiny", TEXTS)


def test_a_program_without_a_loop_gets_vectors_too(mesh: MeshOnDisk, app: NodeFiles):
    with serve_mesh(FakeHub(mesh.hub)) as address, SyncMesh(app.directory, [address]) as client:
        assert len(client.embed("tiny", TEXTS).vectors) == 2
