"""Labels as options have them."""

from __future__ import annotations

import click


def read_labels(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Read NAME=VALUE pairs; the callback of an option."""
    labels = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not name or not sign:
            raise click.BadParameter(f"{text!r} is no label; write NAME=VALUE")
        labels[name] = value
    return labels
