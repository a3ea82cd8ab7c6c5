"""What do the engine adapters cost? `just bench engines`.

Each adapter is asked side by side with its engine alone, in one run: how much later its first text comes, how many
tokens a second it carries, and how soon a cancelled answer has set its slot free. And what a spoke weighs that does nothing.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

import click
import psutil

from bench.adapters import ADAPTERS, MODEL, Pair, question
from bench.figures import percentile
from bench.processes import Mesh
from bench.report import Row, Section, at_most, machine, save, show
from hubspoke import loop
from hubspoke.types import Delta

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bench.bare import Seen
    from bench.report import Figure

SHORT: Final = "reverse abcde"
LONG: Final = "count to 60"
SLOTS: Final = 4
RSS_MB_MAX: Final = 90.0
IDLE_S: Final = 5.0
"""How long the idle spoke is left alone before it is weighed: the heartbeats of two looks are behind it by then."""
MB: Final = 1e6


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    rounds: int
    requests: int
    cancels: int
    idle_s: float


FULL: Final = Scale(rounds=15, requests=20, cancels=40, idle_s=IDLE_S)
QUICK: Final = Scale(rounds=3, requests=3, cancels=5, idle_s=0.5)


@click.command()
@click.option("--quick", is_flag=True, help="Measure less: enough to see that everything works.")
@click.option("--only", type=click.Choice([*ADAPTERS, "idle"]), help="Measure this alone.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("build/bench/engines.json"),
    show_default=True,
    help="Where every figure goes.",
)
def main(*, quick: bool, only: str | None, json_file: Path) -> None:
    """Measure what the engine adapters cost, on this machine."""
    about = machine()
    sections = loop.run(lambda: _measure(only, QUICK if quick else FULL))
    show("What the engine adapters cost", sections, about)
    save(json_file, sections, about)
    click.echo(f"every figure: {json_file}")


async def _measure(only: str | None, scale: Scale) -> list[Section]:
    sections: list[Section] = []
    with tempfile.TemporaryDirectory(prefix="hubspoke-bench-") as name:
        directory = Path(name)
        mesh = directory / "mesh"
        mesh.mkdir()
        for adapter, maker in ADAPTERS.items():
            if only in {None, adapter}:
                async with maker(directory, SLOTS) as pair:
                    sections.append(await _cost(pair, scale))
                async with maker(directory, 1) as pair:
                    sections.append(await _cancelled(pair, scale))
        if only in {None, "idle"}:
            sections.append(await _idle(mesh, scale))
    return sections


async def _cost(pair: Pair, scale: Scale) -> Section:
    """Ask the adapter and its engine alone in turn, so that a busy moment of the machine falls on both."""
    for ask in (pair.ask, pair.bare.ask):
        await _each(ask, SHORT, scale.requests)
    firsts: dict[str, list[float]] = {"adapter": [], "alone": []}
    rates: dict[str, list[float]] = {"adapter": [], "alone": []}
    together: dict[str, list[float]] = {"adapter": [], "alone": []}
    for number in range(scale.rounds):
        sides = [("adapter", pair.ask), ("alone", pair.bare.ask)]
        for side, ask in sides if number % 2 else reversed(sides):
            firsts[side].append(median(seen.first_s for seen in await _each(ask, SHORT, scale.requests)))
            one = await ask(LONG)
            rates[side].append(one.pieces / one.whole_s)
            together[side].append(await _side_by_side(ask, pair.slots))
    added_ms = [(a - b) * 1e3 for a, b in zip(firsts["adapter"], firsts["alone"], strict=True)]
    figures: dict[str, Figure] = {
        "slots": pair.slots,
        "first_text_ms": {side: [s * 1e3 for s in values] for side, values in firsts.items()},
        "added_ms": added_ms,
        "tokens_per_s_one": dict(rates),
        "tokens_per_s_all_slots": dict(together),
    }
    return Section(pair.name, figures, _cost_rows(pair, firsts, added_ms, rates, together))


def _cost_rows(
    pair: Pair,
    firsts: dict[str, list[float]],
    added_ms: list[float],
    rates: dict[str, list[float]],
    together: dict[str, list[float]],
) -> list[Row]:
    name, alone, adapted = pair.name, median(firsts["alone"]), median(firsts["adapter"])

    def ratio(what: str, of: dict[str, list[float]]) -> Row:
        shares = [a / b for a, b in zip(of["adapter"], of["alone"], strict=True)]
        measured = f"{median(of['adapter']):,.0f} of {median(of['alone']):,.0f} tok/s, {median(shares):.0%}"
        return Row(f"{name}: {what}", measured)

    return [
        Row(f"{name}: first text, alone / adapter, p50", f"{alone * 1e3:.2f} / {adapted * 1e3:.2f} ms"),
        Row(f"{name}: added by the adapter, p50", f"{median(added_ms):.2f} ms"),
        ratio("one answer, adapter of engine alone", rates),
        ratio(f"{pair.slots} answers at a time", together),
    ]


async def _each(ask: Callable[[str], Awaitable[Seen]], prompt: str, count: int) -> list[Seen]:
    return [await ask(prompt) for _ in range(count)]


async def _side_by_side(ask: Callable[[str], Awaitable[Seen]], slots: int) -> float:
    began_at = time.perf_counter()
    answers = await asyncio.gather(*(ask(LONG) for _ in range(slots)))
    return sum(seen.pieces for seen in answers) / (time.perf_counter() - began_at)


async def _cancelled(pair: Pair, scale: Scale) -> Section:
    """Break an answer off on an engine with one slot, and see when the next one begins."""
    freed_s, next_s = [], []
    quiet_s = [seen.first_s for seen in await _each(pair.ask, SHORT, scale.cancels)]
    for _ in range(scale.cancels):
        async with aclosing(pair.engine.generate(MODEL, question(LONG))) as events:
            while not isinstance(await anext(events), Delta):
                pass
            began_at = time.perf_counter()
        freed_s.append(time.perf_counter() - began_at)
        await pair.ask(SHORT)
        async with aclosing(pair.engine.generate(MODEL, question(LONG))) as events:
            while not isinstance(await anext(events), Delta):
                pass
            began_at = time.perf_counter()
        async with aclosing(pair.engine.generate(MODEL, question(SHORT))) as events:
            await anext(events)
            next_s.append(time.perf_counter() - began_at)
    figures: dict[str, Figure] = {
        "closed_ms": [s * 1e3 for s in freed_s],
        "cancel_to_next_first_text_ms": [s * 1e3 for s in next_s],
        "first_text_of_a_free_slot_ms": [s * 1e3 for s in quiet_s],
    }
    free_ms = [(s - median(quiet_s)) * 1e3 for s in next_s]
    rows = [
        Row(
            f"{pair.name}: cancel to free slot, p50 / p99",
            f"{median(free_ms):.2f} / {percentile(free_ms, 0.99):.2f} ms",
        ),
    ]
    return Section(f"{pair.name}_cancel", figures, rows)


async def _idle(directory: Path, scale: Scale) -> Section:
    """Weigh a whole spoke that is in a mesh and has nothing in memory."""
    mesh = Mesh(directory)
    async with mesh.hub(), mesh.agent("den", slots=8) as pid:
        await asyncio.sleep(scale.idle_s)
        agent = psutil.Process(pid)
        rss_mb = agent.memory_info().rss / MB
        children = len(agent.children(recursive=True))
        before = agent.cpu_times()
        await asyncio.sleep(scale.idle_s)
        after = agent.cpu_times()
    share = (after.user + after.system - before.user - before.system) / scale.idle_s
    figures: dict[str, Figure] = {"rss_mb": rss_mb, "processor_share": share, "engine_processes": children}
    rows = [
        at_most("an idle spoke without engine, RSS", rss_mb, RSS_MB_MAX, "MB"),
        Row("an idle spoke, share of one core", f"{share:.1%}"),
    ]
    return Section("idle_spoke", figures, rows)


if __name__ == "__main__":
    main()
