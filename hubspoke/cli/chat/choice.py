"""With which model to talk when nobody says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hubspoke.cli.terminal import one_line
from hubspoke.types import Capability, ModelState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hubspoke.types import ModelSummary


def name_of(model: ModelSummary) -> str:
    """Give what people call a model."""
    return model.names[0] if model.names else model.key


def is_loaded(model: ModelSummary) -> bool:
    """Whether a model is in memory somewhere."""
    return any(replica.state is ModelState.LOADED for replica in model.replicas)


def talkers(models: Sequence[ModelSummary]) -> list[ModelSummary]:
    """Give the models that can be talked with."""
    return [model for model in models if Capability.CHAT in model.capabilities]


def obvious(models: Sequence[ModelSummary]) -> str | None:
    """Name the only model that is in memory, or the only one there is; None when there is a choice to make."""
    loaded = [model for model in models if is_loaded(model)]
    for some in (loaded, models):
        if len(some) == 1:
            return name_of(some[0])
    return None


def listed(models: Sequence[ModelSummary]) -> str:
    """List *models* by number."""
    return "\n".join(
        one_line(f"{number}. {name_of(model)}{', in memory' if is_loaded(model) else ''}")
        for number, model in enumerate(models, start=1)
    )


def choose(models: Sequence[ModelSummary], read: Callable[[str], str] | None) -> str:
    """Name the model to talk with; *read* asks somebody for a number when that is not obvious.

    Raise a usage error when there is nobody to ask, or no model.
    """
    able = talkers(models)
    if not able:
        raise click.UsageError("no model can be talked with: no spoke is there, or none has such a model")
    name = obvious(able)
    if name is not None:
        return name
    if read is None:
        raise click.UsageError(
            f"say with which MODEL; there is {', '.join(name_of(model) for model in able)}"
        )
    click.echo(listed(able))
    while True:
        answer = read("Which one? ").strip()
        if answer.isdecimal() and 1 <= int(answer) <= len(able):
            return name_of(able[int(answer) - 1])
