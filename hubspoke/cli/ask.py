"""`hubspoke ask`."""

from __future__ import annotations

import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import click

from hubspoke import loop
from hubspoke.channel import MESSAGE_BYTES_MAX
from hubspoke.cli import options
from hubspoke.cli.output import plain, write_json
from hubspoke.client import MeshClient
from hubspoke.paths import locate
from hubspoke.types import (
    Delta,
    Finished,
    FinishReason,
    Message,
    Request,
    Sampling,
    Speaker,
    Started,
    Waiting,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hubspoke.types import Event
    from pki.address import Address

_EVENT_NAMES: Final[dict[type[Event], str]] = {
    Waiting: "waiting",
    Started: "started",
    Delta: "delta",
    Finished: "finished",
}
_INT64: Final = click.IntRange(-(1 << 63), (1 << 63) - 1)
_UINT32: Final = click.IntRange(1, (1 << 32) - 1)


@click.command("ask")
@click.argument("model")
@click.argument("prompt", nargs=-1)
@click.option("--system", default="", help="Rules for the model.")
@click.option("--max-tokens", type=_UINT32, help="Output tokens at most.")
@click.option("--temperature", type=click.FloatRange(0, 5), help="0 always takes the likeliest token.")
@click.option("--seed", type=_INT64, help="Makes a spoke repeat itself.")
@options.of_a_client
def command(
    *,
    model: str,
    prompt: tuple[str, ...],
    system: str,
    max_tokens: int | None,
    temperature: float | None,
    seed: int | None,
    hubs: tuple[Address, ...],
    state_dir: Path | None,
    as_json: bool,
) -> None:
    """Ask MODEL and stream its answer to standard output.

    A PROMPT of - reads standard input. Who served it is said on standard error at the end. Ctrl-C stops the
    work on the GPU too.

    JSON: one object a line, "event" being waiting (spoke), started (spoke, model, model_key, queue_s, attempt,
    also_named), delta (text) or finished (reason, usage).
    """
    rules = (Message(Speaker.SYSTEM, system),) if system else ()
    request = Request(
        model,
        messages=(*rules, Message(Speaker.USER, _prompt(prompt))),
        sampling=Sampling(temperature=temperature, seed=seed),
        max_output_tokens=max_tokens or 0,
    )
    show = _write_event if as_json else Transcript().show

    async def ask() -> None:
        async with MeshClient(locate(state_dir).client, hubs) as mesh:
            await _stream(mesh, request, show)

    loop.run(ask)


class Transcript:
    """An answer on a terminal: its text on standard output, everything else on standard error."""

    def __init__(self) -> None:
        self._started: Started | None = None
        self._last = "\n"

    def show(self, event: Event) -> None:
        """Write what happened."""
        match event:
            case Waiting(spoke=None):
                click.echo("Waiting for a free slot ...", err=True)
            case Waiting(spoke=spoke):
                click.echo(f"Waiting for {spoke} to load the model ...", err=True)
            case Started():
                self._started = event
            case Delta(text=text):
                self._write(text)
            case Finished():
                self._write("" if self._last == "\n" else "\n")
                click.echo(_served(self._started, event), err=True)

    def _write(self, text: str) -> None:
        # A model may say anything: only what cannot steer the terminal reaches it.
        safe = "".join(char for char in text if char.isprintable() or char in "\n\t")
        if safe:
            click.echo(safe, nl=False)
            self._last = safe[-1]


async def _stream(mesh: MeshClient, request: Request, show: Callable[[Event], None]) -> None:
    async with aclosing(mesh.infer(request)) as events:
        async for event in events:
            show(event)


def _prompt(words: tuple[str, ...]) -> str:
    if words == ("-",) or (not words and not sys.stdin.isatty()):
        # One more than a message holds: the hub's own limit then speaks, with its own words.
        return sys.stdin.read(MESSAGE_BYTES_MAX + 1)
    if not words:
        raise click.UsageError("there is nothing to ask; give a PROMPT, or - to read standard input")
    return " ".join(words)


def _write_event(event: Event) -> None:
    fields = {"text": event.text} if isinstance(event, Delta) else plain(event)
    write_json({"event": _EVENT_NAMES[type(event)], **fields})


def _served(started: Started | None, finished: Finished) -> str:
    usage = finished.usage
    parts = [f"{usage.output_tokens} tokens"]
    if usage.decode_s:
        parts.append(f"{usage.output_tokens / usage.decode_s:.1f} tokens/s")
    if finished.reason is not FinishReason.STOP:
        parts.append(f"ended early: {finished.reason}")
    if started is None:
        return ", ".join(parts)
    if started.attempt > 1:
        parts.append(f"attempt {started.attempt}")
    if started.also_named:
        parts.append(f"the name also means {', '.join(started.also_named)}")
    return f"{started.model} on {started.spoke}: {', '.join(parts)}"
