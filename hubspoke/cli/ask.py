"""`hubspoke ask`."""

from __future__ import annotations

import sys
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from hubspoke import loop
from hubspoke.channel import MESSAGE_BYTES_MAX
from hubspoke.cli import options
from hubspoke.cli.output import plain, write_json
from hubspoke.cli.pictures import read_image
from hubspoke.cli.streams import read_text
from hubspoke.cli.transcript import Transcript
from hubspoke.client import MeshClient
from hubspoke.paths import locate
from hubspoke.types import (
    Delta,
    Effort,
    Finished,
    JsonFormat,
    Message,
    Request,
    Sampling,
    Speaker,
    Started,
    Waiting,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from hubspoke.types import Event, Image
    from pki.address import Address

_EVENT_NAMES: Final[dict[type[Event], str]] = {
    Waiting: "waiting",
    Started: "started",
    Delta: "delta",
    Finished: "finished",
}
_UINT32: Final = click.IntRange(1, (1 << 32) - 1)
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("ask")
@options.model
@click.argument("prompt", nargs=-1)
@options.system
@options.think
@click.option(
    "--image", "images", multiple=True, type=_FILE, help="Show this picture; several times for several."
)
@click.option("--json-mode", is_flag=True, help="Let the answer be a JSON object, whichever.")
@click.option("--json-schema", type=_FILE, help="Let the answer be JSON that the schema in this file allows.")
@click.option("--stop", multiple=True, help="End the answer before this text; several times for several.")
@click.option("--max-tokens", type=_UINT32, help="Output tokens at most.")
@options.temperature
@click.option(
    "--top-p", type=click.FloatRange(0, 1, min_open=True), help="Keep the likeliest tokens, up to this share."
)
@click.option("--top-k", type=_UINT32, help="Keep this many of the likeliest tokens.")
@click.option(
    "--min-p", type=click.FloatRange(0, 1), help="Drop tokens below this share of the likeliest one."
)
@click.option(
    "--repeat-penalty",
    type=click.FloatRange(0, 10, min_open=True),
    help="Make tokens that came lately less likely; 1 changes nothing.",
)
@options.seed
@options.of_a_client
def command(
    *,
    model: str,
    prompt: tuple[str, ...],
    system: str,
    think: str | None,
    images: tuple[Path, ...],
    json_mode: bool,
    json_schema: Path | None,
    stop: tuple[str, ...],
    max_tokens: int | None,
    temperature: float | None,
    top_p: float | None,
    top_k: int | None,
    min_p: float | None,
    repeat_penalty: float | None,
    seed: int | None,
    hubs: tuple[Address, ...],
    state_dir: Path | None,
    as_json: bool,
) -> None:
    """Ask MODEL and stream its answer to standard output.

    A PROMPT of - reads standard input. What the model thinks and calls, and who served it, is said on standard error.
    Ctrl-C stops the work on the GPU too.

    JSON: one object a line, "event" being waiting (spoke, elapsed_s, expected_s, silent_s), started (spoke, model, model_key,
    queue_s, attempt, also_named), delta (text, or thinking, or tool_calls) or finished (reason, usage, stop).
    """
    rules = (Message(Speaker.SYSTEM, system),) if system else ()
    question = _question(_prompt(prompt), tuple(read_image(path) for path in images))
    request = Request(
        model,
        messages=(*rules, question),
        sampling=Sampling(temperature, top_p, top_k, min_p, seed, repeat_penalty=repeat_penalty),
        max_output_tokens=max_tokens or 0,
        stop=stop,
        format=_format(json_schema, is_any=json_mode),
        thinking=None if think is None else Effort(think),
    )
    loop.run(lambda: _ask(locate(state_dir).client, hubs, request, as_json=as_json))


async def _ask(directory: Path, hubs: tuple[Address, ...], request: Request, *, as_json: bool) -> None:
    transcript = Transcript(request.model)
    show: Callable[[Event], None] = _write_event if as_json else transcript.show
    async with MeshClient(directory, hubs) as mesh:
        try:
            async with aclosing(mesh.infer(request)) as events:
                async for event in events:
                    show(event)
        finally:
            transcript.break_off()


def _prompt(words: tuple[str, ...]) -> str:
    if words == ("-",) or (not words and not sys.stdin.isatty()):
        # One more than a message holds: the hub's own limit then speaks, with its own words.
        return read_text(MESSAGE_BYTES_MAX + 1)
    return " ".join(words)


def _question(text: str, images: tuple[Image, ...]) -> Message:
    if not text and not images:
        raise click.UsageError("there is nothing to ask; give a PROMPT, or - to read standard input")
    return Message(Speaker.USER, text, images=images)


def _format(schema: Path | None, *, is_any: bool) -> JsonFormat | None:
    if schema is None:
        return JsonFormat() if is_any else None
    if is_any:
        raise click.UsageError("--json-mode and --json-schema exclude each other")
    with schema.open(encoding="utf-8", errors="replace") as file:
        text = file.read(MESSAGE_BYTES_MAX + 1)
    if not text.strip():  # to the mesh that is no schema at all, and would allow any object
        raise click.UsageError(f"{schema} is empty; give a JSON schema, or --json-mode for any object")
    return JsonFormat(text)


def _write_event(event: Event) -> None:
    write_json({"event": _EVENT_NAMES[type(event)], **_fields(event)})


def _fields(event: Event) -> dict[str, object]:
    if not isinstance(event, Delta):
        return plain(event)
    kinds = {"text": event.text, "thinking": event.thinking, "tool_calls": event.tool_calls}
    return {name: value for name, value in kinds.items() if value}
