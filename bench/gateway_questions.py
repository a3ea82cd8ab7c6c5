"""What is asked of the gateway. Each question gets a bed that runs, and gives figures and rows of a table."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

import psutil

from bench import upstream
from bench.figures import added, percentile, pooled
from bench.gateway_bed import LLAMA, STEADY_STREAMS, STREAMS
from bench.http_load import Burst, Bursts, BurstsSeen, FirstTexts, FirstTextsSeen, Window
from bench.metronome import FAST, RATES, STEADY
from bench.peers import HERD, LITELLM
from bench.processes import seen
from bench.report import Row, Section, at_least, at_most

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.gateway_bed import Bed
    from bench.http_client import Target
    from bench.report import Figure

CLIENT: Final = "bench.http_load"
GATEWAY: Final = "gateway"
ALONE: Final = "direct"
METRONOME: Final = "beat"
NO_SERVER: Final = "mesh alone"
"""The gateway before a spoke that is its own engine: no adapter, and no server behind it."""
MIB: Final = 2**20
FIRST_TOKENS: Final = 4
"""Of the answers of which only the first text counts."""

ADDED_MS_MAX: Final = 2.0
RSS_MIB_MAX: Final = 150.0
RATIOS_MIN: Final = {LITELLM: 10.0, HERD: 1.0}
"""How many times the peer's events a second are to be reached."""
SHARES_MAX: Final = {HERD: 0.25}
"""How much of the peer's added time is to be reached."""


async def first_text(bed: Bed) -> Section:
    """How much later does the first text of a server that answers at once come through the gateway?"""
    targets = {ALONE: bed.fake, GATEWAY: bed.through(upstream.MODEL), NO_SERVER: bed.through(FAST)}
    async with bed.mesh.spoke(METRONOME, slots=STEADY_STREAMS):
        return await _first_text(bed, "first_text", "fake engine", targets | _peers(bed))


async def first_text_of_llama(bed: Bed) -> Section:
    """How much later does the first text of llama.cpp with the tiny model come?"""
    targets = {ALONE: bed.llama, GATEWAY: bed.through(LLAMA, ticks=False)}
    return await _first_text(bed, "first_text_llama", "llama.cpp", targets)


async def _first_text(bed: Bed, section: str, engine: str, targets: dict[str, Target]) -> Section:
    scale = bed.scale
    job = FirstTexts(
        targets=targets,
        rounds=scale.rounds,
        requests=scale.requests,
        warm_up=scale.warm_up,
        tokens=FIRST_TOKENS,
    )
    found = (await seen(job, FirstTextsSeen, CLIENT)).text_s
    rows = _first_text_rows(bed, engine, found)
    return Section(
        _named(bed, section),
        {name: _first_text_figures(one, found) for name, one in found.items()},
        tuple(rows),
    )


def _first_text_figures(one: list[list[float]], found: Mapping[str, list[list[float]]]) -> dict[str, Figure]:
    times_s = pooled(one)
    return {
        "requests": len(times_s),
        "p50_ms": percentile(times_s, 0.5) * 1e3,
        "p99_ms": percentile(times_s, 0.99) * 1e3,
        "added_p50_ms": median(added(one, found[ALONE])) * 1e3,
        "added_p99_ms": _added_p99_ms(one, found[ALONE]),
        "round_added_ms": [added_s * 1e3 for added_s in added(one, found[ALONE])],
    }


def _added_p99_ms(one: list[list[float]], alone: list[list[float]]) -> float:
    return (percentile(pooled(one), 0.99) - percentile(pooled(alone), 0.99)) * 1e3


def _first_text_rows(bed: Bed, engine: str, found: Mapping[str, list[list[float]]]) -> Iterator[Row]:
    alone = found[ALONE]
    for name, one in found.items():
        times_s = pooled(one)
        p50_ms, p99_ms = percentile(times_s, 0.5) * 1e3, percentile(times_s, 0.99) * 1e3
        yield Row(f"{_scheme(bed)}first text, {engine}, {name}: p50 / p99", f"{p50_ms:.2f} / {p99_ms:.2f} ms")
    ours_ms = median(added(found[GATEWAY], alone)) * 1e3
    yield at_most("   added by gateway, hub and spoke: p50", ours_ms, ADDED_MS_MAX, "ms")
    yield Row("   p99", f"{_added_p99_ms(found[GATEWAY], alone):.2f} ms")
    if NO_SERVER in found:
        mesh_ms = median(added(found[NO_SERVER], alone)) * 1e3
        yield Row("   by the mesh alone: p50", f"{mesh_ms:.2f} ms")
    for peer in bed.peers:
        if peer.name in found:
            theirs_ms = median(added(found[peer.name], alone)) * 1e3
            yield Row(f"   added by {peer.name}: p50", f"{theirs_ms:.2f} ms")
            yield _share(f"   ours beside {peer.name}'s", ours_ms / theirs_ms, SHARES_MAX.get(peer.id))


def _share(what: str, share: float, most: float | None) -> Row:
    if most is None:
        return Row(what, f"{share:.0%}")
    return Row(what, f"{share:.0%}", f"<= {most:.0%}", share <= most)


async def streams(bed: Bed) -> Section:
    """How many tokens a second do streams side by side get, and is every one of them there?"""
    targets = {ALONE: bed.fake, GATEWAY: bed.through(upstream.MODEL), **_peers(bed)}
    pids = {"hub": bed.hub, "spoke": bed.spoke}
    for peer in bed.peers:
        pids |= peer.pids
    job = Bursts(
        targets=targets, rounds=bed.scale.bursts, streams=STREAMS, tokens=bed.scale.tokens, pids=pids
    )
    found = (await seen(job, BurstsSeen, CLIENT)).rounds
    figures = {name: _burst_figures(one) for name, one in found.items()}
    return Section(_named(bed, "streams"), figures, tuple(_stream_rows(bed, found)))


def _burst_figures(rounds: list[Burst]) -> dict[str, Figure]:
    tokens = sum(one.tokens for one in rounds)
    names = rounds[0].cpu_s
    return {
        "rounds": len(rounds),
        "tokens_per_s": _tokens_per_s(rounds),
        "events_per_s": median(one.events / one.seconds for one in rounds),
        "tokens_per_event": tokens / sum(one.events for one in rounds),
        "round_tokens_per_s": [one.tokens / one.seconds for one in rounds],
        **{f"{name}_us_per_token": sum(one.cpu_s[name] for one in rounds) / tokens * 1e6 for name in names},
    }


def _tokens_per_s(rounds: list[Burst]) -> float:
    return median(one.tokens / one.seconds for one in rounds)


def _stream_rows(bed: Bed, found: Mapping[str, list[Burst]]) -> Iterator[Row]:
    load = f"{_scheme(bed)}{STREAMS} x {bed.scale.tokens} tokens"
    for name, rounds in found.items():
        events_per_s = median(one.events / one.seconds for one in rounds)
        yield Row(f"{load}, {name}", f"{_tokens_per_s(rounds):,.0f} tok/s, {events_per_s:,.0f} events/s")
    ours = found[GATEWAY]
    cpu_us = {
        name: f"{value:.0f}"
        for name, value in _us_a_token(ours).items()
        if name in {"hub", "spoke", "client"}
    }
    yield Row("   CPU a token: " + " / ".join(cpu_us), " / ".join(cpu_us.values()) + " us")
    for peer in bed.peers:
        ratios = [
            (one.events / one.seconds) / (other.events / other.seconds)
            for one, other in zip(ours, found[peer.name], strict=True)
        ]
        ratio, least = median(ratios), RATIOS_MIN[peer.id]
        yield Row(
            f"   events of the gateway, times {peer.name}'s",
            f"{ratio:.1f} times",
            f">= {least:g} times",
            ratio >= least,
        )
    yield Row("   answers with a token lost or doubled", "0")  # the clients would have failed


def _us_a_token(rounds: list[Burst]) -> dict[str, float]:
    tokens = sum(one.tokens for one in rounds)
    return {name: sum(one.cpu_s[name] for one in rounds) / tokens * 1e6 for name in rounds[0].cpu_s}


async def cost(bed: Bed) -> Section:
    """What does a token cost the hub while many clients read answers at the pace of real engines?"""
    async with bed.mesh.spoke(METRONOME, slots=STEADY_STREAMS) as spoke:
        job = Window(
            target=bed.through(STEADY),
            streams=STEADY_STREAMS,
            warm_s=bed.scale.warm_s,
            window_s=bed.scale.window_s,
            pids={"hub": bed.hub, "spoke": spoke.pid},
        )
        one = await seen(job, Burst, CLIENT)
    figures: dict[str, Figure] = {
        "window_s": one.seconds,
        "tokens_per_s": one.tokens / one.seconds,
        "events_per_s": one.events / one.seconds,
        "tokens_per_event": one.tokens / one.events,
        "hub_us_per_token": one.cpu_s["hub"] / one.tokens * 1e6,
        "events_per_core_s": one.events / one.cpu_s["hub"],
        "hub_us_per_event": one.cpu_s["hub"] / one.events * 1e6,
        **{f"{name}_cores": cpu_s / one.seconds for name, cpu_s in one.cpu_s.items()},
    }
    names = " / ".join(one.cpu_s)
    shares = " / ".join(f"{cpu_s / one.seconds:.2f}" for cpu_s in one.cpu_s.values())
    rows = (
        Row(f"{_scheme(bed)}{STEADY_STREAMS} x {RATES[STEADY]} tok/s{_flush(bed)}", ""),
        Row(f"   cores: {names}", shares),
        at_least("   delivered", one.tokens / one.seconds, 0.97 * STEADY_STREAMS * RATES[STEADY], "tok/s"),
        Row("   hub CPU a token", f"{one.cpu_s['hub'] / one.tokens * 1e6:.1f} us"),
        Row("   hub CPU an event", f"{one.cpu_s['hub'] / one.events * 1e6:.1f} us"),
        Row("   events a second that one core carries", f"{one.events / one.cpu_s['hub']:,.0f}"),
        Row("   tokens an event", f"{one.tokens / one.events:.1f}"),
    )
    name = "cost" if bed.flush_ms is None else f"cost_flush_{bed.flush_ms}_ms"
    return Section(_named(bed, name), figures, rows)


def memory(bed: Bed, loaded_mib: float) -> Section:
    """How much memory do the hub with its gateway, and whoever stands beside it, take after all of that?"""
    after = {"hub": rss_mib(bed.hub)}
    rows = [
        Row("hub with its gateway, RSS as it starts", f"{loaded_mib:.0f} MiB"),
        at_most("   after the run", after["hub"], RSS_MIB_MAX, "MiB"),
    ]
    for peer in bed.peers:
        after |= {name: rss_mib(pid) for name, pid in peer.pids.items()}
        total = sum(after[name] for name in peer.pids)
        rows.append(Row(f"   {peer.name} {peer.version}", f"{total:.0f} MiB"))
    return Section("memory", {"loaded_mib": loaded_mib, "after_mib": after}, rows)


def rss_mib(pid: int) -> float:
    """Give the memory that a process and whatever it has started hold."""
    process = psutil.Process(pid)
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True))) / MIB


def _peers(bed: Bed) -> dict[str, Target]:
    return {peer.name: peer.target for peer in bed.peers}


def _scheme(bed: Bed) -> str:
    return "HTTPS: " if bed.gateway.anchors else ""


def _flush(bed: Bed) -> str:
    return "" if bed.flush_ms is None else f", flush {bed.flush_ms} ms"


def _named(bed: Bed, section: str) -> str:
    return f"{section}_https" if bed.gateway.anchors else section
