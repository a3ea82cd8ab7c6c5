import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType

import pytest

from hubspoke.api.inference.v1 import inference_pb2 as pb
from hubspoke.errors import UnknownModel
from hubspoke.sync import SyncMesh
from hubspoke.types import Delta, Finished, Message, Request, Speaker, Started
from pki.errors import NotEnrolled
from pki.files import NodeFiles
from tests.fakes.hub import WAIT_S, FakeHub, MeshOnDisk, hang, refuse, serve_mesh

ASK = Request("tiny", messages=(Message(Speaker.USER, "Hello?"),))


def test_events_come_one_by_one(mesh: MeshOnDisk, app: NodeFiles):
    with serve_mesh(FakeHub(mesh.hub)) as address, SyncMesh(app.directory, [address]) as client:
        kinds = [type(event) for event in client.infer(ASK)]
    assert kinds == [Started, Delta, Delta, Finished]


def test_an_answer_and_the_models_need_no_loop(mesh: MeshOnDisk, app: NodeFiles):
    with serve_mesh(FakeHub(mesh.hub)) as address, SyncMesh(app.directory, [address]) as client:
        assert client.answer(ASK).text == "Hello"
        assert client.models() == ()


def test_errors_are_those_of_the_client(mesh: MeshOnDisk, app: NodeFiles):
    hub = FakeHub(mesh.hub, refuse(UnknownModel("no spoke has it")))
    with (
        serve_mesh(hub) as address,
        SyncMesh(app.directory, [address]) as client,
        pytest.raises(UnknownModel, match="no spoke has it"),
    ):
        client.answer(ASK)


def test_a_reader_that_stops_ends_the_call_at_the_hub(mesh: MeshOnDisk, app: NodeFiles):
    hub = FakeHub(mesh.hub, hang)
    with serve_mesh(hub) as address, SyncMesh(app.directory, [address]) as client:
        with closing(client.infer(ASK)) as events:
            next(events)
        assert hub.cancelled.wait(WAIT_S)


def test_an_interrupted_reader_ends_the_call_at_the_hub(mesh: MeshOnDisk, app: NodeFiles):
    hub = FakeHub(mesh.hub, interrupts)
    with serve_mesh(hub) as address, SyncMesh(app.directory, [address]) as client:
        with pytest.raises(KeyboardInterrupt):
            list(client.infer(ASK))
        assert hub.cancelled.wait(WAIT_S)


def interrupts(_request, hub: FakeHub):
    """Press Ctrl-C while the client waits for more."""
    yield pb.InferResponse(delta=pb.Delta(text="Once upon"))
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    hub.cancelled.wait(WAIT_S)


def test_a_reader_interrupted_before_it_waits_ends_the_call_at_the_hub(mesh: MeshOnDisk, app: NodeFiles):
    hub = FakeHub(mesh.hub, hang)
    with serve_mesh(hub) as address, SyncMesh(app.directory, [address]) as client:
        with closing(client.infer(ASK)) as events:
            next(events)
            with tracing(interrupt_on_the_way), pytest.raises(KeyboardInterrupt):
                next(events)
        assert hub.cancelled.wait(WAIT_S)


def interrupt_on_the_way(frame: FrameType, _event: str, _arg: object):
    """Press Ctrl-C when the reading is with the loop, and what could cancel it has just come back."""
    if frame.f_code.co_name == "call" and "future" in frame.f_locals:
        sys.settrace(None)
        raise KeyboardInterrupt
    return interrupt_on_the_way


@contextmanager
def tracing(each_line) -> Iterator[None]:  # what `sys.settrace` takes
    before = sys.gettrace()
    sys.settrace(each_line)
    try:
        yield
    finally:
        sys.settrace(before)


def test_a_failed_start_leaves_no_thread_behind(tmp_path: Path):
    with pytest.raises(NotEnrolled), SyncMesh(tmp_path):
        pass
    assert "hubspoke" not in {thread.name for thread in threading.enumerate()}


def test_outside_of_its_context_it_says_how_to_use_it(app: NodeFiles):
    with pytest.raises(RuntimeError, match="with SyncMesh"):
        SyncMesh(app.directory).models()


async def test_inside_an_event_loop_it_points_to_the_client(app: NodeFiles):
    with pytest.raises(RuntimeError, match="MeshClient"), SyncMesh(app.directory):
        pass
