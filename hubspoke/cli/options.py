"""Options that several commands share."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hubspoke.cli import names
from pki.address import parse_address
from pki.errors import BadAddress

if TYPE_CHECKING:
    from collections.abc import Callable

    from pki.address import Address

CONFIG_FILE: Final = "hubspoke.toml"
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours"}
_EFFORTS: Final = ("none", "low", "medium", "high")
"""Those of `hubspoke.types.Effort`, which is not imported before a command runs."""
_INT64: Final = click.IntRange(-(1 << 63), (1 << 63) - 1)
_SPAN: Final = re.compile(r"([1-9][0-9]{0,5})([smh])")


def read_span(_ctx: click.Context, _param: click.Parameter, text: str) -> timedelta:
    """Read a length of time, such as 10m; the callback of an option."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise click.BadParameter(f"{text!r} is no length of time; write 90s, 10m or 2h")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def read_span_or_none(ctx: click.Context, param: click.Parameter, text: str | None) -> timedelta | None:
    """Read a length of time that may be left out; the callback of an option."""
    return None if text is None else read_span(ctx, param, text)


def _addresses(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> tuple[Address, ...]:
    try:
        return tuple(parse_address(text) for text in texts)
    except BadAddress as error:
        raise click.BadParameter(str(error)) from error


state_dir: Final = click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep all state here instead of in the places of this system.",
)
hubs: Final = click.option(
    "--hub",
    "hubs",
    multiple=True,
    metavar="HOST:PORT",
    envvar="HUBSPOKE_HUBS",
    callback=_addresses,
    help="Mesh address of a hub; may be repeated. Default: those that the identity came with.",
)
as_json: Final = click.option("--json", "as_json", is_flag=True, help="Write JSON for programs.")

model: Final = click.argument("model", shell_complete=names.complete_models)
spoke: Final = click.option(
    "--spoke", default="", shell_complete=names.complete_spokes, help="Where. Default: the hub chooses."
)
system: Final = click.option("--system", default="", help="Rules for the model.")
think: Final = click.option("--think", type=click.Choice(_EFFORTS), help="How much the model thinks first.")
temperature: Final = click.option(
    "--temperature", type=click.FloatRange(0, 5), help="0 always takes the likeliest token."
)
seed: Final = click.option("--seed", type=_INT64, help="Makes a spoke repeat itself.")


def config_file(section: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the file that *section* of the settings is read from."""
    return click.option(
        "--config",
        "config_file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        envvar="HUBSPOKE_CONFIG",
        help=f"Settings, section [{section}]. Default: {CONFIG_FILE} in the state directory, if it is there.",
    )


def of_a_client(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what every command has that talks to a hub."""
    return hubs(state_dir(as_json(command)))
