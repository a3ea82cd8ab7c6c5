"""A connection whose own task ends, which it never should."""

import logging

import pytest

from hubspoke.client import MeshClient
from hubspoke.types import Request
from pki.files import NodeFiles
from tests.fakes.hub import FakeHub, MeshOnDisk, serve_mesh


async def test_a_defect_in_renewing_is_logged_and_leaves_the_connection_alone(
    mesh: MeshOnDisk, app: NodeFiles, caplog: pytest.LogCaptureFixture
):
    chances = [0.5]  # for the first look; the task itself finds none left
    with serve_mesh(FakeHub(mesh.hub)) as address:
        async with MeshClient(app.directory, [address], chance=chances.pop) as client:
            assert (await client.answer(Request("tiny", prompt="hi"))).text == "Hello"
    (event,) = [event for event in caplog.records if event.name == "hubspoke.connection"]
    assert event.getMessage() == "renewal has stopped unexpectedly"
    assert event.levelno == logging.ERROR
    assert event.exc_info is not None
    assert event.exc_info[0] is IndexError
