"""Models by hand, over real mutual TLS."""

from contextlib import aclosing

import pytest

from hubspoke.admin import AdminClient
from hubspoke.api.models.v1 import models_pb2 as pb
from hubspoke.errors import Busy, EngineTruncated, PermissionDenied
from hubspoke.types import InMemory, Loading, Place, Pulled, Pulling
from pki.files import NodeFiles
from tests.fakes.hub import FakeHub, MeshOnDisk, serve_mesh
from tests.unit.hubspoke_sdk.test_client import happens


async def test_a_load_says_how_it_goes_and_ends_in_memory(mesh: MeshOnDisk, app: NodeFiles):
    hub = FakeHub(mesh.hub)
    with serve_mesh(hub) as address:
        async with AdminClient(app.directory, [address]) as client:
            events = [event async for event in client.load("tiny", spoke="den", pin=True)]
    assert events[1] == Loading("den", elapsed_s=1.0, expected_s=9.0)
    assert events[-1] == InMemory("den", Place("ollama", "tiny"), 2, 4096, 3 << 30, pinned=True)
    assert hub.ordered == [pb.LoadModelRequest(model="tiny", spoke="den", pin=True)]


async def test_a_load_that_breaks_off_is_an_error(mesh: MeshOnDisk, app: NodeFiles):
    def breaks_off(_request, _hub):
        yield pb.LoadModelResponse(loading=pb.Loading(spoke="den"))

    with serve_mesh(FakeHub(mesh.hub, loads=breaks_off)) as address:
        async with AdminClient(app.directory, [address]) as client:
            with pytest.raises(EngineTruncated):
                _ = [event async for event in client.load("tiny")]


async def test_an_unload_says_where_it_was(mesh: MeshOnDisk, app: NodeFiles):
    hub = FakeHub(mesh.hub, unloaded=["attic", "den"])
    with serve_mesh(hub) as address:
        async with AdminClient(app.directory, [address]) as client:
            assert await client.unload("tiny", spoke="den") == ("attic", "den")
    assert hub.ordered == [pb.UnloadModelRequest(model="tiny", spoke="den")]


@pytest.mark.parametrize("error", [Busy("3 requests run on it"), PermissionDenied("not for apps")])
async def test_a_refused_unload_is_typed(mesh: MeshOnDisk, app: NodeFiles, error):
    with serve_mesh(FakeHub(mesh.hub, refuses=error)) as address:
        async with AdminClient(app.directory, [address]) as client:
            with pytest.raises(type(error), match=error.message):
                await client.unload("tiny")


async def test_a_pull_says_how_it_goes_and_ends_on_the_disk(mesh: MeshOnDisk, app: NodeFiles):
    with serve_mesh(FakeHub(mesh.hub)) as address:
        async with AdminClient(app.directory, [address]) as client:
            events = [event async for event in client.pull("llama3.2:1b")]
    assert events[1] == Pulling("den", "pulling layer", 1 << 20, 4 << 20)
    assert events[-1] == Pulled("den", Place("ollama", "llama3.2:1b"))


async def test_closing_a_pull_ends_the_call_at_the_hub(mesh: MeshOnDisk, app: NodeFiles):
    def hangs(_request, hub: FakeHub):
        yield pb.PullModelResponse(pulling=pb.Pulling(spoke="den", step="pulling manifest"))
        hub.cancelled.wait()

    hub = FakeHub(mesh.hub, pulls=hangs)
    with serve_mesh(hub) as address:
        async with AdminClient(app.directory, [address]) as client:
            async with aclosing(client.pull("llama3.2:1b")) as events:
                await anext(events)
            assert await happens(hub.cancelled)


async def test_a_delete_says_where_it_was(mesh: MeshOnDisk, app: NodeFiles):
    hub = FakeHub(mesh.hub, unloaded=["attic", "den"])
    with serve_mesh(hub) as address:
        async with AdminClient(app.directory, [address]) as client:
            assert await client.delete("tiny", spoke="den") == ("attic", "den")
    assert hub.ordered == [pb.DeleteModelRequest(model="tiny", spoke="den")]
