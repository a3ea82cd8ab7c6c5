"""What is asked of delegation. Each question gives figures and rows of a table."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

from bench.figures import percentile
from bench.metronome import BRISK, FAST, STEADY
from bench.report import Row, Section, at_most
from hubspoke.client import MeshClient
from hubspoke.types import (
    DelegationState,
    Delta,
    Message,
    Plan,
    Request,
    Speaker,
    StateChanged,
    Subtask,
    SubtaskId,
    Work,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bench.processes import Hub, Mesh
    from bench.report import Figure
    from hubspoke.types import DelegationId

ACCEPT_MS_MAX: Final = 3.0
ADDED_TTFT_MS_MAX: Final = 25.0
TAKEOVER_S_MAX: Final = 1.0
SUBTASKS: Final = 8
SIDE_BY_SIDE: Final = 16
INSTRUCTION_BYTES: Final = 4_000
KILLED_AFTER_S: Final = 1.0

_ids = count(1)


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured: hand-overs, whole delegations, first tokens, delegations whose hub is killed, and takeovers."""

    accepts: int
    delegations: int
    firsts: int
    killed: int
    takeovers: int


@dataclass(frozen=True, slots=True)
class Bed:
    """What there is to measure with."""

    mesh: Mesh
    hub: Hub
    kind: str
    url: str
    scale: Scale

    @asynccontextmanager
    async def client(self) -> AsyncIterator[MeshClient]:
        """Connect as an app."""
        async with MeshClient(self.mesh.app, [self.hub.address]) as mesh:
            yield mesh


def work(model: str, subtasks: int, tokens: int, filler: int = 0) -> Work:
    """Make work that depends on nothing but the engine's pace."""
    steps = tuple(
        Subtask(SubtaskId(f"s{number}"), f"tick {'x' * filler}", model=model, max_output_tokens=tokens)
        for number in range(subtasks)
    )
    return Work(f"bench-{os.getpid()}-{next(_ids)}", Plan(steps))


async def accept(bed: Bed) -> Section:
    """How long until work is kept?"""
    took_ms = []
    async with bed.client() as mesh:
        for number in range(bed.scale.accepts + 5):
            one = work(FAST, 1, 1, INSTRUCTION_BYTES)
            began_s = time.perf_counter()
            info = await mesh.delegations.hand_over(one)
            if number >= 5:
                took_ms.append((time.perf_counter() - began_s) * 1_000)
            await ended(mesh, info.id)
    p50, p99 = percentile(took_ms, 0.5), percentile(took_ms, 0.99)
    rows = [
        at_most(f"{bed.kind}: accepted, p50", p50, ACCEPT_MS_MAX, "ms"),
        Row(f"{bed.kind}: accepted, p99", f"{p99:.3g} ms"),
    ]
    return Section(f"accept_{bed.kind}", {"p50_ms": p50, "p99_ms": p99}, rows)


async def throughput(bed: Bed) -> Section:
    """How many delegations of eight subtasks a second, sixteen side by side?"""
    turn = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(mesh: MeshClient) -> None:
        async with turn:
            info = await mesh.delegations.hand_over(work(FAST, SUBTASKS, 4))
            await ended(mesh, info.id)

    async with bed.client() as mesh:
        began_s = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(bed.scale.delegations):
                group.create_task(one(mesh))
        took_s = time.perf_counter() - began_s
    each_s, steps_s = bed.scale.delegations / took_s, bed.scale.delegations * SUBTASKS / took_s
    rows = [
        Row(f"{bed.kind}: delegations of {SUBTASKS} subtasks", f"{each_s:.1f} a second"),
        Row(f"{bed.kind}: subtasks", f"{steps_s:.0f} a second"),
    ]
    return Section(f"throughput_{bed.kind}", {"delegations_per_s": each_s, "subtasks_per_s": steps_s}, rows)


async def first_token_beside(bed: Bed) -> Section:
    """What do delegations that run add to the first token of a question?"""
    async with bed.client() as mesh:
        idle_ms = await firsts(mesh, bed.scale.firsts)
        stopping = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(SIDE_BY_SIDE):
                group.create_task(again_and_again(mesh, stopping))
            busy_ms = await firsts(mesh, bed.scale.firsts)
            stopping.set()
    idle, busy = percentile(idle_ms, 0.99), percentile(busy_ms, 0.99)
    figures = {
        "idle_p50_ms": percentile(idle_ms, 0.5),
        "idle_p99_ms": idle,
        "busy_p50_ms": percentile(busy_ms, 0.5),
        "busy_p99_ms": busy,
        "busy_max_ms": max(busy_ms),
    }
    rows = [
        Row(f"{bed.kind}: first token, idle, p50 / p99", f"{figures['idle_p50_ms']:.3g} / {idle:.3g} ms"),
        Row(
            f"{bed.kind}: beside {SIDE_BY_SIDE} delegations, p50 / p99 / max",
            f"{figures['busy_p50_ms']:.3g} / {busy:.3g} / {max(busy_ms):.3g} ms",
        ),
        at_most(f"{bed.kind}: added by them, p99", busy - idle, ADDED_TTFT_MS_MAX, "ms"),
    ]
    return Section(f"first_token_{bed.kind}", figures, rows)


async def recovery(mesh: Mesh, kind: str, url: str, scale: Scale) -> Section:
    """After kill -9 of the hub and a new start: how long until the work goes on, and until all of it is done?"""
    async with AsyncExitStack() as spokes:
        async with mesh.hub(database_url=url) as hub, MeshClient(mesh.app, [hub.address]) as client:
            await spokes.enter_async_context(mesh.spoke("den", slots=64))
            ids = [
                (await client.delegations.hand_over(work(STEADY, SUBTASKS, 100))).id
                for _ in range(scale.killed)
            ]
            await asyncio.sleep(KILLED_AFTER_S)
            os.kill(hub.pid, signal.SIGKILL)
        began_s = time.perf_counter()
        async with mesh.hub(database_url=url) as hub, MeshClient(mesh.app, [hub.address]) as client:
            listens_s = time.perf_counter() - began_s
            states = await asyncio.gather(*(ended(client, id_) for id_ in ids))
            done_s = time.perf_counter() - began_s
    right = sum(state is DelegationState.SUCCEEDED for state in states)
    rows = [
        Row(f"{kind}: hub listens again after kill -9", f"{listens_s:.2f} s"),
        Row(
            f"{kind}: all {scale.killed} delegations done after that",
            f"{done_s - listens_s:.2f} s, {right} succeeded",
        ),
    ]
    return Section(f"recovery_{kind}", {"listens_s": listens_s, "done_s": done_s, "succeeded": right}, rows)


async def takeover(mesh: Mesh, kind: str, url: str, scale: Scale) -> Section:
    """After kill -9 of the hub that serves: how long until the one that stands by does, goes on with the work, and has done it?"""
    listens_s, goes_on_s, done_s, right = list[float](), list[float](), list[float](), 0
    for number in range(scale.takeovers):
        async with (
            mesh.hub(database_url=url) as hub,
            mesh.standby(f"tower{number}", url) as other,
            mesh.spoke("den", slots=64),
            MeshClient(mesh.app) as client,
        ):
            ids = [
                (await client.delegations.hand_over(work(STEADY, SUBTASKS, 100))).id
                for _ in range(scale.killed)
            ]
            await asyncio.sleep(KILLED_AFTER_S)
            seen = (await client.delegations.get(ids[0])).last_seq
            os.kill(hub.pid, signal.SIGKILL)
            killed_s = time.perf_counter()
            await other.listens()
            listens_s.append(time.perf_counter() - killed_s)
            async with aclosing(client.delegations.watch(ids[0], seen + 1)) as events:
                await anext(events)
            goes_on_s.append(time.perf_counter() - killed_s)
            states = await asyncio.gather(*(ended(client, id_) for id_ in ids))
            done_s.append(time.perf_counter() - killed_s)
            right += sum(state is DelegationState.SUCCEEDED for state in states)
    figures: dict[str, Figure] = {
        "listens_s": listens_s,
        "goes_on_s": goes_on_s,
        "done_s": done_s,
        "succeeded": right,
    }
    rows = [
        at_most(f"{kind}: the other hub serves, p50", percentile(listens_s, 0.5), TAKEOVER_S_MAX, "s"),
        Row(f"{kind}: it has gone on with the work, p50", f"{percentile(goes_on_s, 0.5):.2f} s"),
        Row(
            f"{kind}: all {scale.killed} delegations done, p50",
            f"{percentile(done_s, 0.5):.2f} s; {right} of {scale.killed * scale.takeovers} succeeded",
        ),
    ]
    return Section(f"takeover_{kind}", figures, rows)


async def ended(mesh: MeshClient, id_: DelegationId) -> DelegationState:
    """Watch to the end, and say how it has ended."""
    state = DelegationState.ACCEPTED
    async with aclosing(mesh.delegations.watch(id_)) as events:
        async for event in events:
            if isinstance(event.happening, StateChanged):
                state = event.happening.state
    return state


async def again_and_again(mesh: MeshClient, stopping: asyncio.Event) -> None:
    """Have delegations done until *stopping*."""
    while not stopping.is_set():
        info = await mesh.delegations.hand_over(work(BRISK, SUBTASKS, 40))
        await ended(mesh, info.id)


async def firsts(mesh: MeshClient, number: int) -> list[float]:
    """Ask *number* times, and give how long each first token took, in milliseconds."""
    request = Request(FAST, messages=(Message(Speaker.USER, "tick"),), max_output_tokens=1)
    return [await first(mesh, request) for _ in range(number)]


async def first(mesh: MeshClient, request: Request) -> float:
    """Ask, and give how long the first token took, in milliseconds."""
    began_s, took_ms = time.perf_counter(), float("inf")
    async with aclosing(mesh.infer(request)) as events:
        async for event in events:
            if isinstance(event, Delta):
                took_ms = min(took_ms, (time.perf_counter() - began_s) * 1_000)
    return took_ms
