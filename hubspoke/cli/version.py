"""`hubspoke version`."""

from __future__ import annotations

import platform
from importlib.metadata import version

import click

from hubspoke.cli import options
from hubspoke.cli.output import write_json


@click.command("version")
@options.as_json
def command(*, as_json: bool) -> None:
    """Show what is installed.

    JSON: hubspoke, python, grpcio, platform.
    """
    facts = {
        "hubspoke": version("hubspoke"),
        "python": platform.python_version(),
        "grpcio": version("grpcio"),
        "platform": platform.platform(),
    }
    if as_json:
        write_json(facts)
    else:
        click.echo("\n".join(f"{name:<9} {value}" for name, value in facts.items()))
