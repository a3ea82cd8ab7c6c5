"""Tasks cross the wire whole, and what is none is refused."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubspoke.api.mesh.v1 import mesh_pb2 as pb
from hubspoke.errors import ProtocolViolation
from hubspoke.types import HeldTask, Task, TaskKey
from hubspoke.types.tasks import TASK_KEY_CHARS_MAX
from hubspoke.wire import tasks

DIGEST = hashlib.sha256(b"request").digest()

a_task = st.builds(
    Task,
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=TASK_KEY_CHARS_MAX).map(TaskKey),
    st.integers(0, (1 << 64) - 1),
    st.binary(min_size=32, max_size=32),
)


@given(st.lists(st.builds(HeldTask, a_task, st.booleans()), max_size=5).map(tuple))
def test_held_tasks_survive_the_wire(held: tuple[HeldTask, ...]) -> None:
    sent = pb.HeartbeatRequest(held_tasks=tasks.held_to_wire(held)).SerializeToString()
    assert tasks.held_from_wire(pb.HeartbeatRequest.FromString(sent).held_tasks) == held


@pytest.mark.parametrize(
    "message",
    [
        pb.Task(request_digest=DIGEST),
        pb.Task(key="k" * (TASK_KEY_CHARS_MAX + 1), request_digest=DIGEST),
        pb.Task(key="k"),
        pb.Task(key="k", request_digest=DIGEST[:-1]),
    ],
    ids=["no key", "long key", "no digest", "short digest"],
)
def test_what_is_no_task_is_refused(message: pb.Task) -> None:
    with pytest.raises(ProtocolViolation):
        tasks.from_wire(message)
