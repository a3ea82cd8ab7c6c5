"""The HTTP clients: a process that asks, reads and counts, told what to do by one JSON object on its standard input."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import msgspec

from bench.http_client import ANSWER_S_MAX, Target, connected, first_s
from bench.load import ANSWER_TOKENS, START_SPREAD_S, cpu_s
from hubspoke import loop

if TYPE_CHECKING:
    from bench.http_client import Answer


class FirstTexts(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Ask for short answers again and again, in rounds that go over all *targets*."""

    targets: dict[str, Target]
    rounds: int
    requests: int
    warm_up: int
    tokens: int


class Bursts(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Read *streams* answers of *tokens* side by side to their ends, in rounds that go over all *targets*."""

    targets: dict[str, Target]
    rounds: int
    streams: int
    tokens: int
    pids: dict[str, int]


class Window(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Read endless answers side by side, and count for a while what comes, and what *pids* cost meanwhile."""

    target: Target
    streams: int
    warm_s: float
    window_s: float
    pids: dict[str, int]


class FirstTextsSeen(msgspec.Struct, frozen=True):
    """Seconds from the request to its first text, of each target; one list for each round."""

    text_s: dict[str, list[list[float]]]


class Burst(msgspec.Struct, frozen=True):
    """What came of one round, and the CPU time of each process meanwhile."""

    seconds: float
    tokens: int
    events: int
    cpu_s: dict[str, float]


class BurstsSeen(msgspec.Struct, frozen=True):
    """The rounds of each target."""

    rounds: dict[str, list[Burst]]


Job = FirstTexts | Bursts | Window


def main() -> None:
    """Do the job that the first line of standard input describes, and print what was seen."""
    job = msgspec.json.decode(sys.stdin.readline(), type=Job)
    seen = loop.run(lambda: _do(job))
    print(msgspec.json.encode(seen).decode(), flush=True)


async def _do(job: Job) -> FirstTextsSeen | BurstsSeen | Burst:
    match job:
        case FirstTexts():
            return await first_texts(job)
        case Bursts():
            return await bursts(job)
        case Window():
            return await window(job)


async def first_texts(job: FirstTexts) -> FirstTextsSeen:
    """Measure the targets in turn, one request at a time, so that a noisy neighbour disturbs all of them alike."""
    seen: dict[str, list[list[float]]] = {name: [] for name in job.targets}
    for target in job.targets.values():
        for _ in range(job.warm_up):
            await first_s(target, job.tokens)
    for number in range(job.rounds):
        for name, target in _in_turn(job.targets, number):
            seen[name].append([await first_s(target, job.tokens) for _ in range(job.requests)])
    return FirstTextsSeen(seen)


async def bursts(job: Bursts) -> BurstsSeen:
    """Measure the targets in turn, after one burst of each that does not count."""
    for target in job.targets.values():
        await _burst(target, job)
    seen: dict[str, list[Burst]] = {name: [] for name in job.targets}
    for number in range(job.rounds):
        for name, target in _in_turn(job.targets, number):
            seen[name].append(await _burst(target, job))
    return BurstsSeen(seen)


async def window(job: Window) -> Burst:
    """Read answers side by side, and look at one window of that."""
    async with AsyncExitStack() as stack:
        both = [await stack.enter_async_context(connected(job.target)) for _ in range(job.streams)]
        answers = [answer for answer, _ in both]
        request, chance = job.target.request(ANSWER_TOKENS), random.Random(1)
        for _, transport in both:
            transport.write(request)
            # In step, the streams would cost less than real ones.
            await asyncio.sleep(chance.uniform(0, 2 * START_SPREAD_S / job.streams))
        await asyncio.sleep(job.warm_s)
        tokens, events, before_s = _tokens(answers), _events(answers), cpu_s(job.pids)
        began_at = time.perf_counter()
        await asyncio.sleep(job.window_s)
        seconds = time.perf_counter() - began_at
        cost_s = {name: now_s - before_s[name] for name, now_s in cpu_s(job.pids).items()}
        seen = Burst(seconds, _tokens(answers) - tokens, _events(answers) - events, cost_s)
        for answer in answers:
            if answer.done.done():
                answer.done.result()
                raise RuntimeError("an answer ended while it was measured")
            answer.done.cancel()
    return seen


async def _burst(target: Target, job: Bursts) -> Burst:
    async with asyncio.timeout(ANSWER_S_MAX), AsyncExitStack() as stack:
        both = [await stack.enter_async_context(connected(target)) for _ in range(job.streams)]
        request, before_s = target.request(job.tokens), cpu_s(job.pids)
        began_at = time.perf_counter()
        for _, transport in both:
            transport.write(request)
        ended_at = [await answer.done for answer, _ in both]
        cost_s = {name: now_s - before_s[name] for name, now_s in cpu_s(job.pids).items()}
        answers = [answer for answer, _ in both]
        for answer in answers:
            answer.pieces.require_whole(job.tokens)
        return Burst(max(ended_at) - began_at, _tokens(answers), _events(answers), cost_s)


def _in_turn(targets: dict[str, Target], number: int) -> list[tuple[str, Target]]:
    """Give the targets, every other time from the last to the first."""
    listed = list(targets.items())
    return listed if number % 2 == 0 else listed[::-1]


def _tokens(answers: list[Answer]) -> int:
    return sum(answer.pieces.tokens for answer in answers)


def _events(answers: list[Answer]) -> int:
    return sum(answer.pieces.events for answer in answers)


if __name__ == "__main__":
    main()
