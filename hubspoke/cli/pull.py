"""`hubspoke pull`."""

from __future__ import annotations

from contextlib import aclosing, nullcontext
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
from rich.text import Text

from hubspoke import loop
from hubspoke.admin import AdminClient
from hubspoke.cli import options
from hubspoke.cli.failures import for_admins
from hubspoke.cli.output import placed, plain, size, write_json
from hubspoke.cli.terminal import one_line
from hubspoke.paths import locate
from hubspoke.types import Pulled

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import Protocol, Self

    from rich.progress import Task, TaskID

    from hubspoke.types import PullEvent, Pulling
    from pki.address import Address

    class Steps(Protocol):
        """Who shows how far a pull has come."""

        def show(self, event: PullEvent) -> None:
            """Show what happened."""


@click.command("pull")
@options.model
@options.spoke
@options.of_a_client
def command(
    *, model: str, spoke: str, hubs: tuple[Address, ...], state_dir: Path | None, as_json: bool
) -> None:
    """Get MODEL, such as llama3.2:1b, onto a spoke's disk. An admin's identity is needed.

    The spoke's own Ollama gets it. Ctrl-C stops the pull; the same command goes on from there.

    JSON: one object a line, "event" being pulling (spoke, step, completed_bytes, total_bytes) or pulled (spoke,
    engine, model).
    """

    async def watch() -> None:
        async with AdminClient(locate(state_dir).client, hubs) as mesh:
            with _steps(as_json=as_json) as steps:
                async with aclosing(mesh.pull(model, spoke=spoke)) as events:
                    async for event in events:
                        steps.show(event)

    try:
        with for_admins():
            loop.run(watch)
    except KeyboardInterrupt:
        click.echo("Stopped. What is there stays there: the same command goes on from it.", err=True)
        raise


def _steps(*, as_json: bool) -> AbstractContextManager[Steps]:
    console = Console(stderr=True)
    if as_json:
        return nullcontext(JsonSteps())
    return BarSteps(console) if console.is_terminal else nullcontext(LineSteps())


class JsonSteps:
    """Writes a pull for programs."""

    def show(self, event: PullEvent) -> None:
        """Write one object."""
        if isinstance(event, Pulled):
            write_json({"event": "pulled", **placed(event)})
        else:
            write_json({"event": "pulling", **plain(event)})


class LineSteps:
    """Writes a line for each step, for whoever reads it later."""

    def __init__(self) -> None:
        self._step = ""

    def show(self, event: PullEvent) -> None:
        """Write a line when something new begins."""
        if isinstance(event, Pulled):
            click.echo(_is_there(event))
        elif event.step != self._step:
            self._step = event.step
            of = f", {size(event.total_bytes)}" if event.total_bytes else ""
            click.echo(one_line(f"{event.spoke}: {event.step}{of}"), err=True)


class BytesColumn(ProgressColumn):
    """The bytes of a step and how fast they come, where it has any."""

    def render(self, task: Task) -> Text:
        """Draw them."""
        if not task.fields["has_bytes"]:
            return Text()
        of = f"{size(task.completed)} of {size(task.total or 0)}"
        return Text(of if task.finished or task.speed is None else f"{of}, {size(task.speed)}/s")


class BarSteps:
    """Draws a bar for each step, with its bytes and its speed."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            BytesColumn(),
            console=console,
        )
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave what is drawn."""
        self._progress.stop()

    def show(self, event: PullEvent) -> None:
        """Draw how far it is."""
        if isinstance(event, Pulled):
            self._progress.stop()
            click.echo(_is_there(event))
        else:
            self._draw(event)

    def _draw(self, event: Pulling) -> None:
        if event.step not in self._bars:
            for bar in self._bars.values():  # the engine has gone on, so what was before is done
                task = self._progress.tasks[bar]
                self._progress.update(bar, total=task.total or 1, completed=task.total or 1)
            words = one_line(f"{event.spoke}: {event.step}")
            self._bars[event.step] = self._progress.add_task(words, total=None, has_bytes=False)
        total = event.total_bytes or None
        self._progress.update(
            self._bars[event.step],
            total=total,
            completed=event.completed_bytes,
            has_bytes=total is not None,
        )


def _is_there(pulled: Pulled) -> str:
    model = pulled.place.model
    return one_line(f"{model} is on {pulled.spoke} ({pulled.place.engine}); next: `hubspoke ask {model}`")
