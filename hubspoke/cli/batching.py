"""What `hubspoke batch` tells: a line that changes on a terminal, lines now and then elsewhere, JSON for programs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from hubspoke.cli.output import plain, span, write_json
from hubspoke.cli.terminal import one_line

if TYPE_CHECKING:
    from typing import Self

    from hubspoke.batch.progress import Ended, Tally
    from hubspoke.clock import Clock
    from hubspoke.types import DelegationId

FRAMES_PER_S: Final = 4
LINES_EVERY_S: Final = 10.0
"""How often whoever reads lines later hears how far it is."""

JSON_EVERY_S: Final = 1.0
TROUBLES_MAX: Final = 20
"""Lines that failed, as told one by one on a terminal; the results file has all."""


def words_of(tally: Tally) -> str:
    """Say how far a batch has come."""
    parts = [f"{tally.done + tally.failed:,} of {tally.total:,} lines"]
    if tally.failed:
        parts.append(f"{tally.failed:,} failed")
    if tally.running:
        parts.append(f"{tally.running:,} running")
    if tally.tokens:
        parts.append(f"{tally.tokens:,} tokens")
    if tally.rate:
        parts.append(f"{tally.rate * 60:,.0f} lines/min")
    if tally.left_s:
        parts.append(f"about {span(timedelta(seconds=tally.left_s))} left")
    return ", ".join(parts)


class Teller:
    """Tells people or programs how a batch comes along, as a context."""

    def __init__(self, clock: Clock, *, as_json: bool) -> None:
        self._clock = clock
        self._as_json = as_json
        self._console = Console(stderr=True)
        is_live = self._console.is_terminal and not as_json
        self._live = Live(console=self._console, refresh_per_second=FRAMES_PER_S) if is_live else None
        self._every_s = JSON_EVERY_S if as_json else LINES_EVERY_S
        self._told_at = float("-inf")
        self._troubles = 0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def failed(self, ended: Ended) -> None:
        """Tell of a line that could not be done."""
        if self._as_json:
            write_json({"event": "failed", "id": ended.id, **plain(ended.problem)})
            return
        self._troubles += 1
        if self._troubles < TROUBLES_MAX:
            self._say(f"{ended.id}: {ended.problem.message if ended.problem else ''}")
        elif self._troubles == TROUBLES_MAX:
            self._say("More lines have failed; the results say which.")

    def parked(self, delegation: DelegationId) -> None:
        """Tell that some of it waits for a person."""
        if self._as_json:
            write_json({"event": "parked", "delegation": delegation})
        else:
            self._say(
                f"Some of it is parked: `hubspoke delegations resolve {delegation} retry` lets it go on."
            )

    def came_along(self, tally: Tally) -> None:
        """Tell how far it has come, but not too often."""
        if self._live is not None:
            self._live.update(Text(words_of(tally)))
            return
        now = self._clock.monotonic()
        if now - self._told_at < self._every_s:
            return
        self._told_at = now
        if self._as_json:
            write_json({"event": "progress", **plain(tally)})
        else:
            self._say(words_of(tally))

    def _say(self, line: str) -> None:
        if self._live is not None:
            self._console.print(Text(one_line(line)))
        else:
            click.echo(one_line(line), err=True)
