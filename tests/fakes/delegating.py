"""What tests of delegations share: a mesh whose engines reply as the test wants, and what is read of events."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from hub.config import RolesConfig
from hubspoke.types import ENDED, DelegationState, Plan, StateChanged, Subtask, SubtaskId, SubtaskStatus, Work
from tests.fakes.real_agent import an_agent
from tests.fakes.real_hub import real_hub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from hubspoke.client import MeshClient
    from hubspoke.types import DelegationEvent
    from tests.fakes.real_hub import RealHub
    from tests.fakes.replying_engine import ReplyingEngine

A, B, C = SubtaskId("a"), SubtaskId("b"), SubtaskId("c")
ORCHESTRATED = RolesConfig(orchestrator=("big",))


@asynccontextmanager
async def a_mesh(
    directory: Path, roles: RolesConfig | None = None, **engines: ReplyingEngine
) -> AsyncIterator[RealHub]:
    """A hub, and a spoke for each of *engines*, by name."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(real_hub(directory, roles=roles or RolesConfig()))
        for name, engine in engines.items():
            await stack.enter_async_context(an_agent(hub, name, engine))
        yield hub


def planned(*subtasks: Subtask, request_id: str = "1", **more: object) -> Work:
    """Hand over a plan of *subtasks*."""
    return Work(request_id, Plan(subtasks), **more)  # type: ignore[arg-type]


def asked(name: SubtaskId, instruction: str, *depends_on: SubtaskId, **more: object) -> Subtask:
    """A subtask for the model `small`."""
    return Subtask(name, instruction, depends_on, model="small", **more)  # type: ignore[arg-type]


async def done(mesh: MeshClient, work: Work) -> StateChanged:
    """Hand *work* over, and give how it ends."""
    events = [event async for event in mesh.delegate(work)]
    last = events[-1].happening
    assert isinstance(last, StateChanged)
    assert last.state in ENDED
    assert is_dense(events)
    return last


async def until(mesh: MeshClient, delegation: str, state: DelegationState) -> StateChanged:
    """Wait until a delegation stands that way."""
    async for event in mesh.delegations.watch(delegation):
        happening = event.happening
        if isinstance(happening, StateChanged) and happening.state is state:
            return happening
    ended = await mesh.delegations.get(delegation)
    raise AssertionError(f"it is {ended.state}, and was never {state}: {ended.problem}")


def is_dense(events: Iterable[DelegationEvent]) -> bool:
    """Whether the numbers of kept events follow each other without a gap."""
    kept = [event.seq for event in events if event.seq]
    return kept == list(range(kept[0], kept[0] + len(kept)))


def of(events: Iterable[DelegationEvent], name: SubtaskId) -> list[SubtaskStatus]:
    """Give what happened to one subtask."""
    found = (event.happening for event in events)
    return [each for each in found if isinstance(each, SubtaskStatus) and each.id == name]
