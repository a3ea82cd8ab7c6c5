"""`hubspoke batch`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hubspoke import loop
from hubspoke.batch.following import Follower
from hubspoke.batch.jobs import JobId, Terms, chunked, hand_over, job_by, job_of, jobs
from hubspoke.batch.lines import read_lines
from hubspoke.batch.progress import ended_of, tally_of
from hubspoke.batch.results import Results, encoded
from hubspoke.cli import names, options
from hubspoke.cli.batching import Teller, words_of
from hubspoke.cli.failures import Exit, fail
from hubspoke.cli.output import plain, write_json
from hubspoke.client import MeshClient
from hubspoke.clock import SystemClock
from hubspoke.errors import InvalidRequest
from hubspoke.paths import locate
from hubspoke.types import ENDED
from hubspoke.wire.delegations import SUBTASKS_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from hubspoke.batch.jobs import Job
    from hubspoke.batch.lines import Line
    from hubspoke.batch.progress import Ended, Tally
    from hubspoke.delegate import Delegations
    from hubspoke.types import DelegationInfo
    from pki.address import Address

PARALLEL = 32
LISTED_MAX = 100
_ID = click.argument("id_", metavar="ID")


@click.group("batch")
def command() -> None:
    """Do a file of prompts as one job, when nobody else wants the spokes."""


@command.command("run")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--model",
    default="",
    shell_complete=names.complete_models,
    help="Who answers. Default: as the lines say.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The results. Default: beside FILE, as FILE.results.jsonl.",
)
@click.option(
    "--parallel",
    type=click.IntRange(1, SUBTASKS_MAX),
    default=PARALLEL,
    show_default=True,
    help="Lines at a time, at most.",
)
@click.option(
    "--deadline",
    callback=options.read_span,
    default="24h",
    show_default=True,
    help="When it is of no use any more.",
)
@click.option(
    "--watch/--detach", default=True, help="Write results until it has ended, or hand it over only."
)
@options.of_a_client
def run(
    *,
    file: Path,
    model: str,
    output: Path | None,
    parallel: int,
    deadline: timedelta,
    watch: bool,
    hubs: tuple[Address, ...],
    state_dir: Path | None,
    as_json: bool,
) -> None:
    """Answer each line of FILE, and write the answers as they come. The same command again goes on where it was.

    A line is JSON: {"id", "prompt" or "messages", "max_tokens"}, or {"custom_id", "body"} as OpenAI's batches have it. All
    is handed over at once, and ends whether or not this command does. Interactive requests go first.

    JSON: one object a line, "event" being accepted (job, lines, chunks, resumed), progress (total, done, failed, running,
    tokens, rate in lines a second, left_s), failed (id, reason, message), parked (delegation) or ended (as progress, with
    output).
    """
    lines = _read(file, model)
    job_id, chunks = job_of(lines), list(chunked(lines))
    path = output or file.with_name(f"{file.name}.results.jsonl")
    clock = SystemClock()
    terms = Terms(file.name, clock.now() + deadline, parallel)

    async def do(results: Results | None) -> Tally | None:
        async with MeshClient(locate(state_dir).client, hubs) as mesh:
            job = await hand_over(mesh.delegations, job_id, chunks, terms)
            _tell(job, as_json=as_json)
            if results is None:
                return None
            with Teller(clock, as_json=as_json) as teller:
                return await Follower(mesh.delegations, job, chunks, results, teller).follow()

    try:
        with Results.open(path, {line.id for line in lines}) if watch else nullcontext() as results:
            tally = loop.run(lambda: do(results))
    except KeyboardInterrupt:
        _say_how_to_come_back(job_id)
        raise
    if tally is not None:
        _conclude(tally, path, as_json=as_json)


@command.command("status")
@click.argument("id_", metavar="[ID]", default="")
@options.of_a_client
def status(*, id_: str, hubs: tuple[Address, ...], state_dir: Path | None, as_json: bool) -> None:
    """Say how far the batch ID has come; without ID, list those that the hub knows.

    JSON: job, file, state (incomplete, running, ended), and what progress has; without ID batches, each with job, file,
    lines and state.
    """
    if id_:
        job, tally = loop.run(lambda: _standing(id_, hubs, state_dir))
        if as_json:
            write_json({"job": job.id, "file": job.file, "state": job.state, **plain(tally)})
        else:
            click.echo(one_line_of(job, tally))
        return
    found = loop.run(lambda: _listed(hubs, state_dir))
    if as_json:
        write_json({"batches": [{**_plain(job), "state": job.state} for job in found]})
    elif found:
        Console().print(_table(found))
    else:
        click.echo("There are no batches; `hubspoke batch run FILE` begins one.")


@command.command("results")
@_ID
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Add them to this file. Default: standard output.",
)
@options.of_a_client
def results(
    *, id_: str, output: Path | None, hubs: tuple[Address, ...], state_dir: Path | None, as_json: bool
) -> None:
    """Write the results that the batch ID has so far, from whatever machine, in the order of its lines.

    JSON: one result a line, with or without --json; with --output lines and output.
    """

    async def ask() -> list[Ended]:
        async with MeshClient(locate(state_dir).client, hubs) as mesh:
            job = await job_by(mesh.delegations, JobId(id_))
            return [one for info in await _gathered(mesh.delegations, job) for one in ended_of(info)]

    ended = loop.run(ask)
    if output is None:
        for one in ended:
            click.echo(encoded(one), nl=False)
        return
    with Results.open(output, {one.id for one in ended}) as file:
        file.add(ended)
    if as_json:
        write_json({"lines": len(ended), "output": str(output)})
    else:
        click.echo(f"{len(ended):,} results are in {output}.", err=True)


@command.command("cancel")
@_ID
@options.of_a_client
def cancel(*, id_: str, hubs: tuple[Address, ...], state_dir: Path | None, as_json: bool) -> None:
    """End the batch ID. What it has done is kept.

    JSON: job, and cancelled, how many of its delegations had not ended.
    """

    async def ask() -> int:
        async with MeshClient(locate(state_dir).client, hubs) as mesh:
            job = await job_by(mesh.delegations, JobId(id_))
            running = [info for info in job.delegations.values() if info.state not in ENDED]
            for info in reversed(running):
                await mesh.delegations.cancel(info.id)
            return len(running)

    count = loop.run(ask)
    if as_json:
        write_json({"job": id_, "cancelled": count})
    else:
        click.echo(f"{id_} has ended.")


@command.command("delete")
@_ID
@options.of_a_client
def delete(*, id_: str, hubs: tuple[Address, ...], state_dir: Path | None, as_json: bool) -> None:
    """Forget the batch ID, which has ended, with its prompts and answers. Run again, it is done anew.

    JSON: deleted, the id.
    """

    async def ask() -> None:
        async with MeshClient(locate(state_dir).client, hubs) as mesh:
            job = await job_by(mesh.delegations, JobId(id_))
            for info in job.delegations.values():
                await mesh.delegations.delete(info.id)

    loop.run(ask)
    if as_json:
        write_json({"deleted": id_})
    else:
        click.echo(f"{id_} is forgotten.")


def one_line_of(job: Job, tally: Tally) -> str:
    """Say how a batch stands."""
    return f"{job.id} is {job.state}: {words_of(tally)}"


def _read(file: Path, model: str) -> Sequence[Line]:
    with file.open("rb") as opened:
        try:
            lines = tuple(read_lines(opened, model))
        except InvalidRequest as error:
            raise click.UsageError(f"{file}, {error.message}") from error
    if not lines:
        raise click.UsageError(f"{file} has no lines")
    return lines


async def _gathered(delegations: Delegations, job: Job) -> list[DelegationInfo]:
    return [await delegations.get(info.id) for info in job.delegations.values()]


async def _standing(id_: str, hubs: tuple[Address, ...], state_dir: Path | None) -> tuple[Job, Tally]:
    async with MeshClient(locate(state_dir).client, hubs) as mesh:
        job = await job_by(mesh.delegations, JobId(id_))
        return job, tally_of(job.lines, await _gathered(mesh.delegations, job))


async def _listed(hubs: tuple[Address, ...], state_dir: Path | None) -> list[Job]:
    async with MeshClient(locate(state_dir).client, hubs) as mesh:
        return [job async for job in jobs(mesh.delegations)][:LISTED_MAX]


def _plain(job: Job) -> dict[str, object]:
    return {"job": job.id, "file": job.file, "lines": job.lines}


def _tell(job: Job, *, as_json: bool) -> None:
    if as_json:
        write_json({"event": "accepted", **_plain(job), "chunks": job.chunks, "state": job.state})
    else:
        click.echo(f"Batch {job.id}: {job.lines:,} lines are handed over.", err=True)


def _say_how_to_come_back(job: JobId) -> None:
    click.echo(
        f"What was handed over goes on. The same command again goes on from here; `hubspoke batch status {job}` "
        f"says how far it is, and `hubspoke batch cancel {job}` ends it.",
        err=True,
    )


def _conclude(tally: Tally, path: Path, *, as_json: bool) -> None:
    if as_json:
        write_json({"event": "ended", **plain(tally), "output": str(path)})
    else:
        click.echo(f"{words_of(tally)}; the results are in {path}.", err=True)
    if tally.done < tally.total:
        missing = tally.total - tally.done
        fail(f"{missing:,} of {tally.total:,} lines could not be done; {path} says why", Exit.FAILED)


def _table(found: Sequence[Job]) -> Table:
    table = Table("Batch", "State", "Lines", "File", box=None, pad_edge=False)
    for job in found:
        table.add_row(Text(job.id, style="bold"), job.state, f"{job.lines:,}", Text(job.file))
    return table
