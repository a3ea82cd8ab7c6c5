"""What is asked of the relay. Each question gets a hub and a spoke that run, and gives figures and rows of a table."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

import psutil

from bench.figures import added, percentile, pooled
from bench.load import FirstTokens, FirstTokensSeen, Stall, StallSeen, Streams, StreamsSeen
from bench.metronome import BRISK, FAST, FLOOD, RATES, STEADY, TOKEN_BYTES
from bench.processes import client, seen
from bench.report import Row, Section, at_least, at_most

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.load import FirstSeen
    from bench.processes import Hub, Mesh, Spoke
    from bench.report import Figure

STREAMS: Final = 64
BESIDE_STREAMS: Final = 8
STALLED_STREAMS: Final = 4
SETTLE_S: Final = 0.5
"""Enough for buffers to fill, and for memory to be given back."""

ADDED_MS_MAX: Final = 0.8
TOKENS_PER_S_MIN: Final = 20_000
MESSAGE_US_MAX: Final = 130
TOKEN_US_MAX: Final = 70
GATHERED_MS: Final = 50
"""The flush that TOKEN_US_MAX is meant for."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    rounds: int
    requests: int
    warm_up: int
    warm_s: float
    window_s: float
    idle_spokes: int
    idle_slots: int


@dataclass(frozen=True, slots=True)
class Bed:
    """What there is to measure with."""

    mesh: Mesh
    hub: Hub
    spoke: Spoke
    flush_ms: int
    scale: Scale


async def first_token(bed: Bed) -> Section:
    """How much later does the first token come through the hub than without it, or through nginx?"""
    async with bed.mesh.direct() as direct, bed.mesh.nginx(direct) as proxy:
        targets = {"direct": direct, "hub": bed.hub.address} | ({} if proxy is None else {"nginx": proxy})
        job = FirstTokens(
            identity=str(bed.mesh.app),
            targets=targets,
            rounds=bed.scale.rounds,
            requests=bed.scale.requests,
            warm_up=bed.scale.warm_up,
        )
        found = (await seen(job, FirstTokensSeen)).targets
    figures = {name: _first_token_figures(one, found["direct"]) for name, one in found.items()}
    return Section("first_token", figures, tuple(_first_token_rows(found)))


def _first_token_figures(one: FirstSeen, bare: FirstSeen) -> dict[str, Figure]:
    event_s, text_s = pooled(one.event_s), pooled(one.text_s)
    return {
        "requests": len(text_s),
        "first_event_p50_ms": percentile(event_s, 0.5) * 1e3,
        "first_event_p99_ms": percentile(event_s, 0.99) * 1e3,
        "first_text_p50_ms": percentile(text_s, 0.5) * 1e3,
        "first_text_p99_ms": percentile(text_s, 0.99) * 1e3,
        "added_p50_ms": _added_p50_ms(one, bare),
        "added_p99_ms": _added_p99_ms(one, bare),
        "round_medians_ms": [median(times_s) * 1e3 for times_s in one.text_s],
        "round_added_ms": [added_s * 1e3 for added_s in added(one.text_s, bare.text_s)],
    }


def _added_p50_ms(one: FirstSeen, bare: FirstSeen) -> float:
    return median(added(one.text_s, bare.text_s)) * 1e3


def _added_p99_ms(one: FirstSeen, bare: FirstSeen) -> float:
    return (percentile(pooled(one.text_s), 0.99) - percentile(pooled(bare.text_s), 0.99)) * 1e3


def _first_token_rows(found: dict[str, FirstSeen]) -> Iterator[Row]:
    bare, hub, nginx = found["direct"], found["hub"], found.get("nginx")
    for name, one in found.items():
        for what, rounds in (("event", one.event_s), ("text", one.text_s)):
            times_s = pooled(rounds)
            p50_ms, p99_ms = percentile(times_s, 0.5) * 1e3, percentile(times_s, 0.99) * 1e3
            yield Row(f"first {what}, {name}: p50 / p99", f"{p50_ms:.2f} / {p99_ms:.2f} ms")
    hub_ms = _added_p50_ms(hub, bare)
    yield at_most("first text, added by the hub: p50", hub_ms, ADDED_MS_MAX, "ms")
    yield Row("   p99", f"{_added_p99_ms(hub, bare):.2f} ms")
    if nginx is None:
        yield Row("first text, added by nginx", "nginx not installed")
    else:
        yield at_most("   p50, beside nginx's", hub_ms, _added_p50_ms(nginx, bare), "ms")
        yield Row("   p99 of nginx", f"{_added_p99_ms(nginx, bare):.2f} ms")


async def streams(bed: Bed) -> Section:
    """What does a message cost the hub, what a token, and how many tokens go through it?"""
    steady = await _streaming(bed, STEADY)
    loads = {STEADY: steady, BRISK: await _streaming(bed, BRISK), FAST: await _streaming(bed, FAST)}
    figures = {model: _streams_figures(one) for model, one in loads.items()}
    rows = [*_cost_rows(steady, bed.flush_ms)]
    for model in (BRISK, FAST):
        rows += _throughput_rows(loads[model], model, bed.flush_ms)
    return Section(f"streams_flush_{bed.flush_ms}_ms", figures, tuple(rows))


async def _streaming(bed: Bed, model: str) -> StreamsSeen:
    job = Streams(
        identity=str(bed.mesh.app),
        address=bed.hub.address,
        model=model,
        streams=STREAMS,
        warm_s=bed.scale.warm_s,
        window_s=bed.scale.window_s,
        pids={"hub": bed.hub.pid, "spoke": bed.spoke.pid},
    )
    return await seen(job, StreamsSeen)


def _streams_figures(one: StreamsSeen) -> dict[str, Figure]:
    return {
        "window_s": one.seconds,
        "messages": one.messages,
        "tokens": one.tokens,
        "tokens_per_s": one.tokens / one.seconds,
        "messages_per_s": one.messages / one.seconds,
        "tokens_per_message": one.tokens / one.messages,
        "hub_us_per_message": one.cpu_s["hub"] / one.messages * 1e6,
        "hub_us_per_token": one.cpu_s["hub"] / one.tokens * 1e6,
        **{f"{name}_cores": cpu_s / one.seconds for name, cpu_s in one.cpu_s.items()},
        "gap_p50_ms": one.gap_p50_s * 1e3,
        "gap_p99_ms": one.gap_p99_s * 1e3,
    }


def _cost_rows(one: StreamsSeen, flush_ms: int) -> Iterator[Row]:
    message_us, token_us = (one.cpu_s["hub"] / count * 1e6 for count in (one.messages, one.tokens))
    yield _cores(one, f"flush {flush_ms} ms, {STREAMS} x {RATES[STEADY]} tok/s")
    yield at_most("   hub CPU a message", message_us, MESSAGE_US_MAX, "us")
    if flush_ms == GATHERED_MS:
        yield at_most("   hub CPU a token", token_us, TOKEN_US_MAX, "us")
    else:
        yield Row("   hub CPU a token", f"{token_us:.4g} us")


def _throughput_rows(one: StreamsSeen, model: str, flush_ms: int) -> Iterator[Row]:
    rate = f"{RATES[model]} tok/s" if RATES[model] else "all they can"
    yield _cores(one, f"flush {flush_ms} ms, {STREAMS} x {rate}")
    yield at_least("   throughput", one.tokens / one.seconds, TOKENS_PER_S_MIN, "tok/s")
    yield Row("   tokens a message", f"{one.tokens / one.messages:.1f}")


def _cores(one: StreamsSeen, load: str) -> Row:
    """Head the rows of a load with what it costs each process; whoever is near 1 is the one that holds it up."""
    shares = (f"{name} {cpu_s / one.seconds:.2f}" for name, cpu_s in one.cpu_s.items())
    return Row(f"{load}; CPU", ", ".join(shares), "cores")


async def idle(bed: Bed) -> Section:
    """How much memory does a Work stream take that waits for work?"""
    before_bytes = _rss_bytes(bed.hub)
    async with AsyncExitStack() as spokes:
        for number in range(bed.scale.idle_spokes):
            await spokes.enter_async_context(bed.mesh.spoke(f"idle-{number}", slots=bed.scale.idle_slots))
        await asyncio.sleep(SETTLE_S)
        after_bytes = _rss_bytes(bed.hub)
    count = bed.scale.idle_spokes * bed.scale.idle_slots
    each_bytes = (after_bytes - before_bytes) / count
    figures: dict[str, Figure] = {
        "streams": count,
        "hub_rss_before_bytes": before_bytes,
        "hub_rss_after_bytes": after_bytes,
        "hub_rss_per_stream_bytes": each_bytes,
    }
    growth = f"{before_bytes / 2**20:.0f} -> {after_bytes / 2**20:.0f} MiB"
    rows = (Row(f"hub memory, {count:,} idle Work streams", growth), Row("   each", _kib(each_bytes)))
    return Section("idle", figures, rows)


async def stall(bed: Bed) -> Section:
    """How much piles up for a client that stops reading, and who else notices?"""
    quiet = await _beside(bed)
    before_bytes = _rss_bytes(bed.hub)
    job = Stall(identity=str(bed.mesh.app), address=bed.hub.address, model=FLOOD, streams=STALLED_STREAMS)
    async with client(job, StallSeen) as stalled:
        await asyncio.sleep(SETTLE_S)
        made_soon, after_bytes = bed.spoke.tally.tokens(FLOOD), _rss_bytes(bed.hub)
        beside = await _beside(bed)
        made = bed.spoke.tally.tokens(FLOOD)
    buffered_bytes = (made - stalled.tokens) * TOKEN_BYTES / STALLED_STREAMS
    late_bytes = (made - made_soon) * TOKEN_BYTES
    hub_bytes = (after_bytes - before_bytes) / STALLED_STREAMS
    figures: dict[str, Figure] = {
        "stalled_streams": STALLED_STREAMS,
        "buffered_text_per_stream_bytes": buffered_bytes,
        "made_once_full_bytes": late_bytes,
        "hub_rss_per_stream_bytes": hub_bytes,
        "beside_before": _streams_figures(quiet),
        "beside_during": _streams_figures(beside),
    }
    gaps = " -> ".join(f"{one.gap_p99_s * 1e3:.1f}" for one in (quiet, beside))
    rates = " -> ".join(f"{one.tokens / one.seconds:.0f}" for one in (quiet, beside))
    rows = (
        Row("text buffered for an unread answer", _kib(buffered_bytes)),
        Row("   made for it once that is full", f"{late_bytes} bytes", "0 bytes", late_bytes == 0),
        Row("   hub memory for it", _kib(hub_bytes)),
        Row(f"{BESIDE_STREAMS} others, before -> meanwhile: p99 gap", f"{gaps} ms"),
        Row("   throughput", f"{rates} tok/s"),
    )
    return Section("stall", figures, rows)


async def _beside(bed: Bed) -> StreamsSeen:
    job = Streams(
        identity=str(bed.mesh.app),
        address=bed.hub.address,
        model=STEADY,
        streams=BESIDE_STREAMS,
        warm_s=bed.scale.warm_s,
        window_s=bed.scale.window_s / 2,
        pids={"hub": bed.hub.pid},
    )
    return await seen(job, StreamsSeen)


def _rss_bytes(hub: Hub) -> int:
    return psutil.Process(hub.pid).memory_info().rss


def _kib(count_bytes: float) -> str:
    return f"{count_bytes / 1024:,.1f} KiB"
