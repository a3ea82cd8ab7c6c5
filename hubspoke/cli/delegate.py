"""`hubspoke delegate`."""

from __future__ import annotations

import secrets
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import click

from hubspoke import loop
from hubspoke.cli import options
from hubspoke.cli.delegating.labels import read_labels
from hubspoke.cli.delegating.watching import conclude, shown
from hubspoke.cli.output import plain, write_json
from hubspoke.client import MeshClient
from hubspoke.clock import SystemClock
from hubspoke.paths import locate
from hubspoke.types import Goal, Input, Limits, Mode, Priority, Review, Work
from hubspoke.wire.delegations import INPUT_BYTES_MAX, INPUTS_MAX, plan_from_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import timedelta

    from hubspoke.types import DelegationInfo
    from pki.address import Address

A_FILE = click.Path(exists=True, path_type=Path)


@click.command("delegate")
@click.argument("goal", default="")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    type=A_FILE,
    help="A text to work on, or a folder of texts; repeatable.",
)
@click.option(
    "--plan",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Subtasks as JSON, instead of a goal.",
)
@click.option(
    "--mode", type=click.Choice([mode.value for mode in Mode]), default=Mode.AUTO.value, show_default=True
)
@click.option(
    "--review",
    type=click.Choice([review.value for review in Review]),
    default=Review.AUTO.value,
    show_default=True,
    help="Whether the orchestrator looks at outputs.",
)
@click.option("--partial", is_flag=True, help="A result that lacks something is better than none.")
@click.option(
    "--deadline",
    callback=options.read_span,
    default="24h",
    show_default=True,
    help="When it is of no use any more.",
)
@click.option(
    "--orchestrator-tokens-max", type=click.IntRange(1), help="Tokens of the big model. Default: no limit."
)
@click.option("--worker-tokens-max", type=click.IntRange(1), help="Tokens of all others. Default: no limit.")
@click.option(
    "--priority",
    type=click.Choice([priority.value for priority in Priority]),
    default=Priority.BATCH.value,
    show_default=True,
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME=VALUE",
    callback=read_labels,
    help="For lists; repeatable.",
)
@click.option(
    "--request-id",
    default="",
    help="Handed over again with the same id, it is the same work. Default: a new one.",
)
@click.option("--watch", is_flag=True, help="Show what happens, and the result.")
@options.of_a_client
def command(  # click gives each option by name
    *,
    goal: str,
    inputs: tuple[Path, ...],
    plan: Path | None,
    mode: str,
    review: str,
    partial: bool,
    deadline: timedelta,
    orchestrator_tokens_max: int | None,
    worker_tokens_max: int | None,
    priority: str,
    labels: dict[str, str],
    request_id: str,
    watch: bool,
    hubs: tuple[Address, ...],
    state_dir: Path | None,
    as_json: bool,
) -> None:
    """Hand over GOAL, or a plan: it is done by many models, and ends whether or not anybody watches.

    Once it is accepted it survives the end of this command, and restarts of spokes and hubs. Ctrl-C ends the watching
    alone; `hubspoke delegations` shows it again, and ends it.

    JSON: the delegation (id, state, owner, request_id, title, ...); with --watch one object a line, "event" being state,
    planned, subtask, reviewed or progress.
    """
    if bool(goal) == (plan is not None):
        raise click.UsageError("give a GOAL or a --plan")
    texts = tuple(_read(inputs))
    work = Work(
        request_id=request_id or secrets.token_hex(16),
        task=Goal(goal, mode=Mode(mode))
        if plan is None
        else plan_from_json(plan.read_text(encoding="utf-8"), texts),
        inputs=texts,
        limits=Limits(
            deadline=SystemClock().now() + deadline,
            orchestrator_tokens_max=orchestrator_tokens_max,
            worker_tokens_max=worker_tokens_max,
        ),
        partial=partial,
        review=Review(review),
        priority=Priority(priority),
        labels=MappingProxyType(labels),
    )

    async def hand_over() -> None:
        async with MeshClient(locate(state_dir).client, hubs) as mesh:
            info = await mesh.delegations.hand_over(work)
            _tell(info, as_json=as_json, watch=watch)
            if watch:
                view = await shown(info, mesh.delegations.watch(info.id), as_json=as_json)
                conclude(info, view, as_json=as_json)

    try:
        loop.run(hand_over)
    except KeyboardInterrupt:
        click.echo("The work goes on, if it was accepted: `hubspoke delegations list` shows it.", err=True)
        raise


def _tell(info: DelegationInfo, *, as_json: bool, watch: bool) -> None:
    if as_json:
        write_json({**({"event": "accepted"} if watch else {}), **plain(info)})
        return
    click.echo(f"Accepted as {info.id}.", err=True)
    if not watch:
        click.echo(info.id)
        click.echo(
            f"`hubspoke delegations show {info.id} --watch` shows what happens, and the result.", err=True
        )


def _read(paths: Sequence[Path]) -> Iterator[Input]:
    """Read the texts, those of a folder by their names in it; raise UsageError for what is no text."""
    files = [file for path in paths for file in (sorted(_in(path)) if path.is_dir() else [path])]
    if len(files) > INPUTS_MAX:
        raise click.UsageError(f"these are {len(files)} texts; at most {INPUTS_MAX} are taken")
    names = _names(files)
    for file in files:
        data = file.read_bytes()
        if len(data) > INPUT_BYTES_MAX:
            raise click.UsageError(f"{file} has more than {INPUT_BYTES_MAX} bytes; split it")
        try:
            yield Input(names[file], data.decode())
        except UnicodeDecodeError as error:
            raise click.UsageError(f"{file} is not text in UTF-8") from error


def _in(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _names(files: Sequence[Path]) -> dict[Path, str]:
    """Call each file by its name, or by its path where two have the same one."""
    short = {file: file.name for file in files}
    return short if len(set(short.values())) == len(files) else {file: str(file) for file in files}
