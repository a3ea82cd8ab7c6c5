"""With which model to talk when nobody says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hubspoke.cli.terminal import one_line
from hubspoke.types import Capability, ModelState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hubspoke.types import ModelSummary


def names_of(models: Sequence[ModelSummary]) -> list[str]:
    """Give what to ask for each of *models*: what people call it, or its key where others are called the same."""
    names = [model.names[0] if model.names else model.key for model in models]
    return [name if names.count(name) == 1 else model.key for name, model in zip(names, models, strict=True)]


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
            (only,) = some
            return names_of(models)[models.index(only)]
    return None


def listed(models: Sequence[ModelSummary]) -> str:
    """List *models* by number."""
    return "\n".join(
        one_line(f"{number}. {name}{told(model, name)}")
        for number, (model, name) in enumerate(zip(models, names_of(models), strict=True), start=1)
    )


def told(model: ModelSummary, name: str) -> str:
    """Say more of a model that is listed as *name*: whether it is in memory, and where it is if the name is a mere key."""
    memory = ", in memory" if is_loaded(model) else ""
    if name in model.names:
        return memory
    places = ", ".join(f"{replica.engine} on {replica.spoke}" for replica in model.replicas)
    return f" ({', '.join(model.names)}, {places}){memory}"


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
        raise click.UsageError(f"say with which MODEL; there is {', '.join(names_of(able))}")
    click.echo(listed(able))
    while True:
        try:
            answer = read("Which one? ").strip()
        except EOFError:
            raise click.exceptions.Exit from None  # Ctrl-D ends, as it does in the conversation
        if answer.isdecimal() and 1 <= int(answer) <= len(able):
            return names_of(able)[int(answer) - 1]
