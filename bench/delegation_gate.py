"""Does the gate delegate what gains by it, and nothing else? `just bench delegation_gate`.

Three ways are compared on work that is made from a seed: the big model alone, one small model alone, and what the gate
says. Without `--big` the models are SIMULATED: they are as fast as a 70B, two 8B and a 1.5B model are said to be, their
clock jumps, and what they say is made by rule. That tests the decisions of the gate and not the worth of delegation:
nothing can be learned from it about quality. With `--big` the models of a real mesh are asked, through its hub, with the
identity of this user.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from bench.gate_arms import Outcome, alone, gated
from bench.gate_jobs import Kind, Task, tasks
from bench.gate_models import FLEET, JumpingLoop, Real, Simulated
from bench.report import Row, Section, at_least, machine, save, show
from hubspoke.client import MeshClient
from hubspoke.types import Mode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.gate_models import Models
    from hub.core.delegation.cost import Fleet
    from hub.core.delegation.gate import Choice

SEED: Final = 20_261_125
SOLO_SHARE_MIN: Final = 0.95
TOKENS_RATIO_MIN: Final = 4.0
TIME_RATIO_MIN: Final = 2.0


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of each kind of work is done."""

    documents: int
    lists: int
    questions: int


FULL: Final = Scale(documents=30, lists=60, questions=200)
QUICK: Final = Scale(documents=2, lists=4, questions=20)
REAL: Final = Scale(documents=3, lists=5, questions=20)


class Trial(NamedTuple):
    """One task, done in three ways."""

    task: Task
    choice: Choice
    big: Outcome
    small: Outcome
    gate: Outcome

    @property
    def is_shared(self) -> bool:
        """Whether the gate has delegated it."""
        return self.choice.mode is not Mode.SOLO


@click.command()
@click.option("--quick", is_flag=True, help="Do less: enough to see that everything works.")
@click.option("--seed", type=int, default=SEED, show_default=True, help="What the work is made from.")
@click.option("--big", help="Model that plans and reviews, of a real mesh.")
@click.option("--small", multiple=True, help="Model that helps, the smallest first; with --big.")
@click.option(
    "--workers", type=int, default=1, show_default=True, help="How many of --small do any part of a goal."
)
@click.option("--hub", "address", help="Mesh address of the hub; by default the one of this user's identity.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("build/bench/delegation_gate.json"),
    show_default=True,
    help="Where every figure goes.",
)
def main(
    *,
    quick: bool,
    seed: int,
    big: str | None,
    small: tuple[str, ...],
    workers: int,
    address: str | None,
    json_file: Path,
) -> None:
    """Compare what the gate says with one model alone."""
    scale = QUICK if quick else FULL if big is None else REAL
    work = tasks(Random(seed), scale.documents, scale.lists, scale.questions)
    if big is None:
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            trials = runner.run(_simulated(work, seed))
    else:
        if not small:
            raise click.UsageError("--big takes at least one --small beside it")
        trials = asyncio.run(_real(work, big, small, workers, address))
    kind = "simulated" if big is None else "real"
    about = machine() | {"models": kind, "seed": seed}
    sections = [
        _decisions(trials),
        *(_kind(kind, trials, is_real=big is not None) for kind in Kind),
        _shared(trials),
    ]
    show(f"What the gate decides, with {kind.upper()} models", sections, about)
    if big is None:
        click.echo(
            "Simulated: speeds, answers and verdicts. Real: the gate, plans, checks, review and merges of the hub."
        )
    save(json_file, sections, about)
    click.echo(f"every figure: {json_file}")


async def _simulated(work: Sequence[Task], seed: int) -> list[Trial]:
    """Do each task with models that are off in their own way each time."""
    rng = Random(seed)
    return [await _trial(Simulated(rng), FLEET, task) for task in work]


async def _real(
    work: Sequence[Task], big: str, small: tuple[str, ...], workers: int, address: str | None
) -> list[Trial]:
    async with MeshClient(addresses=() if address is None else (address,)) as mesh:
        models = Real(mesh)
        fleet = await models.fleet(big, small, workers)
        return [await _trial(models, fleet, task) for task in work]


async def _trial(models: Models, fleet: Fleet, task: Task) -> Trial:
    big = await alone(models, fleet.big, fleet.big.model, task)
    small = await alone(models, fleet.readers[0], fleet.big.model, task)
    return Trial(task, *_swapped(await gated(models, fleet, task), big, small))


def _swapped(
    answered: tuple[Choice, Outcome], big: Outcome, small: Outcome
) -> tuple[Choice, Outcome, Outcome, Outcome]:
    choice, gate = answered
    return choice, big, small, gate


def _decisions(trials: Sequence[Trial]) -> Section:
    """Say how often the gate was right, by what came out."""
    questions = [trial for trial in trials if trial.task.kind is Kind.SHORT]
    solo = sum(not trial.is_shared for trial in questions) / len(questions)
    worse = [trial for trial in trials if trial.is_shared and trial.gate.seconds > trial.big.seconds]
    figures = {
        "short_solo_share": solo,
        "delegated": sum(t.is_shared for t in trials),
        "delegated_slower": len(worse),
    }
    return Section(
        "decisions",
        figures,
        [
            Row(
                "short questions left alone",
                f"{solo:.1%}",
                f">= {SOLO_SHARE_MIN:.0%}",
                solo >= SOLO_SHARE_MIN,
            ),
            Row("delegated, of all", f"{figures['delegated']} of {len(trials)}"),
            Row("delegated, and slower than alone", f"{len(worse)}", "0", not worse),
        ],
    )


def _kind(kind: Kind, trials: Sequence[Trial], *, is_real: bool) -> Section:
    """Say what the three ways cost for one kind of work."""
    done = [trial for trial in trials if trial.task.kind is kind]
    ways = {
        "big alone": [t.big for t in done],
        "small alone": [t.small for t in done],
        "gate": [t.gate for t in done],
    }
    rows = [Row(f"{kind}: delegated", f"{sum(trial.is_shared for trial in done)} of {len(done)}")]
    figures: dict[str, dict[str, float]] = {}
    for name, outcomes in ways.items():
        seconds, tokens = median(o.seconds for o in outcomes), median(o.big_tokens for o in outcomes)
        figures[name] = {"seconds_p50": seconds, "big_tokens_p50": tokens}
        measured = f"{seconds:,.1f} s, {tokens:,.0f} big-model tokens"
        if is_real:
            scores = [t.task.score(o.result) for t, o in zip(done, outcomes, strict=True)]
            figures[name]["score"] = sum(scores) / len(scores)
            measured += f", {figures[name]['score']:.0%} right"
        rows.append(Row(f"{kind}: {name}, p50", measured))
    shared = [trial for trial in done if trial.is_shared]
    if shared:
        figures["gain"] = _gain(shared)
        rows.append(
            Row(f"{kind}: big-model tokens, alone / delegated", f"{figures['gain']['tokens_ratio']:.1f}x")
        )
        rows.append(Row(f"{kind}: time, alone / delegated", f"{figures['gain']['time_ratio']:.1f}x"))
    return Section(kind.name.lower(), figures, rows)


def _shared(trials: Sequence[Trial]) -> Section:
    """Say what was gained where the gate has delegated."""
    shared = [trial for trial in trials if trial.is_shared]
    if not shared:
        return Section("delegated", {}, [Row("delegated", "nothing")])
    gain = _gain(shared)
    off = [trial.gate.seconds / _expected_s(trial) for trial in shared]
    return Section(
        "delegated",
        gain | {"took_of_estimate_p50": median(off)},
        [
            at_least(
                "all delegated: big-model tokens, alone / delegated",
                gain["tokens_ratio"],
                TOKENS_RATIO_MIN,
                "x",
            ),
            at_least("all delegated: time, alone / delegated", gain["time_ratio"], TIME_RATIO_MIN, "x"),
            Row("all delegated: took, of the estimate, p50", f"{median(off):.0%}"),
        ],
    )


def _gain(shared: Sequence[Trial]) -> dict[str, float]:
    """Add up what alone and delegated have cost, and set them against each other."""
    return {
        "tokens_ratio": sum(t.big.big_tokens for t in shared) / sum(t.gate.big_tokens for t in shared),
        "time_ratio": sum(t.big.seconds for t in shared) / sum(t.gate.seconds for t in shared),
        "tokens_ratio_min": min(t.big.big_tokens / t.gate.big_tokens for t in shared),
        "time_ratio_min": min(t.big.seconds / t.gate.seconds for t in shared),
    }


def _expected_s(trial: Trial) -> float:
    estimate = trial.choice.of(trial.choice.mode)
    if estimate is None:
        raise RuntimeError(f"{trial.choice.mode} was chosen without an estimate")
    return estimate.seconds


if __name__ == "__main__":
    main()
