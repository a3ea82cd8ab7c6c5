"""The clients: a process that asks, reads and counts, told what to do by one JSON object on its standard input."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
import psutil

from bench.figures import percentile
from bench.metronome import STEADY, TOKEN_BYTES, is_next
from hubspoke import loop
from hubspoke.api.inference.v1 import inference_pb2 as pb
from hubspoke.api.inference.v1.inference_pb2_grpc import InferenceServiceStub
from hubspoke.channel import dial
from hubspoke.clock import SystemClock
from hubspoke.credentials import channel_credentials
from pki.files import NodeFiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc

    from hubspoke.api.inference.v1.inference_pb2_grpc import InferenceServiceAsyncStub

PROMPT: Final = "p" * 200
ANSWER_TOKENS: Final = 1_000_000
"""So many that no answer ends while it is measured."""

START_SPREAD_S: Final = 0.2
"""Streams begin at random within this time: in step, they would cost less than real ones."""


class Job(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """What to do, and whose identity to show."""

    identity: str


class FirstTokens(Job, frozen=True, tag=True, kw_only=True):
    """Ask for one token again and again, in rounds that go over all *targets* (addresses by name)."""

    targets: dict[str, str]
    rounds: int
    requests: int
    warm_up: int


class Streams(Job, frozen=True, tag=True, kw_only=True):
    """Read that many answers side by side, and count for a while what comes, and what *pids* cost meanwhile."""

    address: str
    model: str
    streams: int
    warm_s: float
    window_s: float
    pids: dict[str, int]


class Stall(Job, frozen=True, tag=True, kw_only=True):
    """Begin answers, and read nothing after their first tokens until standard input ends."""

    address: str
    model: str
    streams: int


class FirstSeen(msgspec.Struct, frozen=True):
    """Seconds from the request to its first event, and to its first text; one list for each round."""

    event_s: list[list[float]]
    text_s: list[list[float]]


class FirstTokensSeen(msgspec.Struct, frozen=True):
    """What was seen of each target."""

    targets: dict[str, FirstSeen]


class StreamsSeen(msgspec.Struct, frozen=True):
    """What came within *seconds*, the CPU time of each process, and the pause before a message of an answer."""

    seconds: float
    messages: int
    tokens: int
    cpu_s: dict[str, float]
    gap_p50_s: float
    gap_p99_s: float


class StallSeen(msgspec.Struct, frozen=True):
    """What was read before reading ended."""

    tokens: int


Seen = FirstTokensSeen | StreamsSeen | StallSeen
T = TypeVar("T")


@dataclass(slots=True)
class Count:
    """What has come so far."""

    messages: int = 0
    tokens: int = 0
    gaps_s: list[float] = field(default_factory=list)


def main() -> None:
    """Do the job that the first line of standard input describes, and print what was seen."""
    job = msgspec.json.decode(sys.stdin.readline(), type=FirstTokens | Streams | Stall)
    loop.run(lambda: _do(job))


async def _do(job: FirstTokens | Streams | Stall) -> None:
    match job:
        case FirstTokens():
            report(await first_tokens(job))
        case Streams():
            report(await streams(job))
        case Stall():
            await stall(job)


def report(seen: Seen) -> None:
    """Print *seen* as one line."""
    print(msgspec.json.encode(seen).decode(), flush=True)


async def first_tokens(job: FirstTokens) -> FirstTokensSeen:
    """Measure the targets in turn, one request at a time, so that a noisy neighbour disturbs all of them alike."""
    seen = {name: FirstSeen([], []) for name in job.targets}
    async with _stubs(job, job.targets) as stubs:
        for stub in stubs.values():
            for _ in range(job.warm_up):
                await _first(stub)
        for _ in range(job.rounds):
            for name, stub in stubs.items():
                times = [await _first(stub) for _ in range(job.requests)]
                seen[name].event_s.append([event_s for event_s, _ in times])
                seen[name].text_s.append([text_s for _, text_s in times])
    return FirstTokensSeen(seen)


async def _first(stub: InferenceServiceAsyncStub) -> tuple[float, float]:
    """Ask for one token, and say how long its first event and its text took to come."""
    began_at = time.perf_counter()
    event_s = text_s = None
    async for response in stub.Infer(pb.InferRequest(model=STEADY, prompt=PROMPT, max_output_tokens=1)):
        passed_s = time.perf_counter() - began_at
        event_s = event_s or passed_s
        if response.HasField("delta"):
            text_s = text_s or passed_s
    if event_s is None or text_s is None:
        raise RuntimeError("an answer without text")
    return event_s, text_s


async def streams(job: Streams) -> StreamsSeen:
    """Read answers side by side, and look at one window of that."""
    count = Count()
    async with _stubs(job, {"": job.address}) as stubs, asyncio.TaskGroup() as group:
        chance = random.Random(1)
        readers = [
            group.create_task(_read(stubs[""], job.model, count, chance.uniform(0, START_SPREAD_S)))
            for _ in range(job.streams)
        ]
        await asyncio.sleep(START_SPREAD_S + job.warm_s)
        messages, tokens, before_s = count.messages, count.tokens, cpu_s(job.pids)
        began_at = time.perf_counter()
        count.gaps_s.clear()
        await asyncio.sleep(job.window_s)
        seen = StreamsSeen(
            seconds=time.perf_counter() - began_at,
            messages=count.messages - messages,
            tokens=count.tokens - tokens,
            cpu_s={name: now_s - before_s[name] for name, now_s in cpu_s(job.pids).items()},
            gap_p50_s=percentile(count.gaps_s, 0.5),
            gap_p99_s=percentile(count.gaps_s, 0.99),
        )
        for reader in readers:
            reader.cancel()
    return seen


async def _read(stub: InferenceServiceAsyncStub, model: str, count: Count, delay_s: float) -> None:
    await asyncio.sleep(delay_s)
    request = pb.InferRequest(model=model, prompt=PROMPT, max_output_tokens=ANSWER_TOKENS)
    tokens, before = 0, time.perf_counter()
    async for response in stub.Infer(request):
        now = time.perf_counter()
        text = response.delta.text
        if not is_next(text, tokens):
            raise RuntimeError(f"text was lost, doubled or changed after {tokens} tokens")
        tokens += len(text) // TOKEN_BYTES
        count.messages += 1
        count.tokens += len(text) // TOKEN_BYTES
        count.gaps_s.append(now - before)
        before = now


async def stall(job: Stall) -> None:
    """Hold answers unread, and report as soon as all of them are held."""
    async with _stubs(job, {"": job.address}) as stubs:
        request = pb.InferRequest(model=job.model, prompt=PROMPT, max_output_tokens=ANSWER_TOKENS)
        calls = [stubs[""].Infer(request) for _ in range(job.streams)]
        tokens = 0
        for call in calls:
            while not (text := (await _next(call)).delta.text):
                pass
            tokens += len(text) // TOKEN_BYTES
        report(StallSeen(tokens))
        await asyncio.to_thread(sys.stdin.read)
        for call in calls:
            call.cancel()


async def _next(call: grpc.aio.UnaryStreamCall[pb.InferRequest, pb.InferResponse]) -> pb.InferResponse:
    response = await call.read()
    if not isinstance(response, pb.InferResponse):
        raise RuntimeError("an answer ended that was meant to be held")  # noqa: TRY004  # not the caller's type
    return response


@asynccontextmanager
async def _stubs(job: Job, targets: dict[str, str]) -> AsyncIterator[dict[str, InferenceServiceAsyncStub]]:
    """Connect to each target, as the SDK does."""
    files, clock = NodeFiles(Path(job.identity)), SystemClock()
    credentials = channel_credentials(files.load_identity(), files.load_anchors(now=clock.now()))
    channels = {name: await dial((address,), credentials) for name, address in targets.items()}
    try:
        yield {name: InferenceServiceStub(channel) for name, channel in channels.items()}
    finally:
        for channel in channels.values():
            await channel.close()


def cpu_s(pids: dict[str, int]) -> dict[str, float]:
    """Give the CPU time so far of each process, and of this one as `client`."""
    processes = {name: psutil.Process(pid) for name, pid in pids.items()} | {"client": psutil.Process()}
    times = {name: process.cpu_times() for name, process in processes.items()}
    return {name: time.user + time.system for name, time in times.items()}


if __name__ == "__main__":
    main()
