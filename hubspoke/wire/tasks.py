"""Tasks and what a spoke holds of them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from hubspoke.api.mesh.v1 import mesh_pb2 as pb
from hubspoke.errors import ProtocolViolation
from hubspoke.types import HeldTask, Task, TaskKey
from hubspoke.types.tasks import TASK_KEY_CHARS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable

DIGEST_BYTES: Final = hashlib.sha256().digest_size


def to_wire(task: Task) -> pb.Task:
    """Give *task* as a message."""
    return pb.Task(key=task.key, epoch=task.epoch, request_digest=task.request_digest)


def from_wire(message: pb.Task) -> Task:
    """Read a task; raise ProtocolViolation that names the field."""
    if not 1 <= len(message.key) <= TASK_KEY_CHARS_MAX:
        raise ProtocolViolation(f"the key of a task has {len(message.key)} characters")
    if len(message.request_digest) != DIGEST_BYTES:
        raise ProtocolViolation(f"the request_digest of a task has {len(message.request_digest)} bytes")
    return Task(TaskKey(message.key), message.epoch, message.request_digest)


def held_to_wire(held: Iterable[HeldTask]) -> list[pb.HeldTask]:
    """Give what a spoke holds as messages."""
    return [pb.HeldTask(task=to_wire(one.task), done=one.done) for one in held]


def held_from_wire(messages: Iterable[pb.HeldTask]) -> tuple[HeldTask, ...]:
    """Read what a spoke holds; raise ProtocolViolation that names the field."""
    return tuple(HeldTask(from_wire(one.task), one.done) for one in messages)
