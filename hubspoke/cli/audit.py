"""`hubspoke audit`."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from hubspoke.auditlog.chain import Flaw, read
from hubspoke.auditlog.files import BROKEN, LogFiles, entries, verify, verify_file
from hubspoke.cli import options
from hubspoke.cli.failures import Exit, fail
from hubspoke.cli.output import write_json
from hubspoke.cli.terminal import one_line
from hubspoke.clock import SystemClock
from hubspoke.paths import locate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from hubspoke.auditlog.files import Report

_OF_THE_CHAIN: Final = frozenset({"seq", "ts", "event", "prev", "hash"})


@click.group("audit")
def command() -> None:
    """Read the hub's audit log, and see whether it is whole. On the hub's machine."""


@command.command("verify")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@options.state_dir
@options.as_json
def verify_log(*, file: Path | None, state_dir: Path | None, as_json: bool) -> None:
    """Follow the chain of the hub's log from its oldest entry to its newest, or that of one FILE of it.

    The exit code is 1 when an entry was changed, taken out, put in or moved, or the end is missing.

    JSON: entries, first and last (their numbers), since and until, breaks (that the hub has noted itself), and broken: null,
    or file, line and what.
    """
    report = verify(_files(state_dir)) if file is None else verify_file(file)
    if as_json:
        write_json(_facts(report))
        if report.broken is not None:
            raise click.exceptions.Exit(Exit.FAILED)
        return
    if report.broken is not None:
        place = f"{report.broken.file}, line {report.broken.line}" if report.broken.line else "the log"
        fail(f"{place}: {report.broken.what}. What comes before it is whole: {_said(report)}", Exit.FAILED)
    click.echo(f"The audit log is whole: {_said(report)}.")
    if report.breaks:
        click.echo(
            f"It holds {report.breaks} of the hub's own words on a break: `hubspoke audit show --event {BROKEN}`.",
            err=True,
        )


@command.command("show")
@click.option("--node", help="Only what has to do with this node.")
@click.option("--event", help="Only this kind of event, as authn.denied, or cert for all that begin so.")
@click.option(
    "--since",
    metavar="SPAN",
    callback=options.read_span_or_none,
    help="Only what is younger, as 90s, 10m or 2h.",
)
@options.state_dir
@options.as_json
def show(
    *, node: str | None, event: str | None, since: timedelta | None, state_dir: Path | None, as_json: bool
) -> None:
    """Write the entries of the hub's log, the oldest first.

    JSON: each entry as it is in the log, one a line.
    """
    begin = "" if since is None else (SystemClock().now() - since).astimezone(UTC).isoformat()
    for line, fields in _entries(_files(state_dir)):
        if str(fields["ts"]) >= begin and _is_of(fields, node) and _is_kind(str(fields["event"]), event):
            click.echo(line if as_json else _text(fields))


def _files(state_dir: Path | None) -> LogFiles:
    files = LogFiles(locate(state_dir).hub)
    if not files.current.exists():
        fail(f"there is no audit log in {files.directory}; this has to run where the hub does", Exit.FAILED)
    return files


def _entries(files: LogFiles) -> Iterator[tuple[bytes, dict[str, str | int]]]:
    for _, _, raw in entries(files):
        line = raw.rstrip(b"\n")
        if not isinstance(read(line), Flaw):  # `verify` is there to tell of those
            yield line, msgspec.json.decode(line, type=dict[str, str | int])


def _is_of(fields: dict[str, str | int], node: str | None) -> bool:
    named = {fields.get("node"), fields.get("peer"), str(fields.get("identity", "")).rpartition("/")[2]}
    return node is None or node in named


def _is_kind(event: str, wanted: str | None) -> bool:
    return wanted is None or event == wanted or event.startswith(f"{wanted}.")


def _text(fields: dict[str, str | int]) -> str:
    facts = " ".join(f"{name}={value}" for name, value in fields.items() if name not in _OF_THE_CHAIN)
    return one_line(f"{fields['ts']} {fields['event']} {facts}")


def _facts(report: Report) -> dict[str, object]:
    return msgspec.to_builtins(report)  # type: ignore[no-any-return]  # a dataclass becomes a mapping


def _said(report: Report) -> str:
    if not report.entries:
        return "there is no entry"
    return f"{report.entries:,} entries, from {report.since} to {report.until}"
