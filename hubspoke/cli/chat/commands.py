"""What begins with a slash: commands to the program and not to the model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from hubspoke.cli.chat import conversation
from hubspoke.cli.chat.choice import names_of, talkers, told
from hubspoke.cli.pictures import read_image
from hubspoke.cli.terminal import one_line
from hubspoke.types import Effort

if TYPE_CHECKING:
    from collections.abc import Callable

    from hubspoke.cli.chat.session import Session


class Bye(Exception):
    """Whoever types has had enough."""


@dataclass(frozen=True, slots=True)
class Command:
    """What a command takes, what it does, and how it does it: it gives what there is to say."""

    takes: str
    help: str
    act: Callable[[Session, str], str]


def obey(session: Session, line: str) -> str:
    """Do what *line* says and give what there is to say; raise a usage error for what cannot be done."""
    name, _, argument = line.partition(" ")
    command = COMMANDS.get(name)
    if command is None:
        raise click.UsageError(f"there is no {one_line(name)}; /help lists the commands")
    argument = argument.strip()
    if not argument and command.takes and not command.takes.startswith("["):
        raise click.UsageError(f"{name} wants {command.takes}")
    return command.act(session, argument)


def _help(_session: Session, _argument: str) -> str:
    rows = [(f"{name} {command.takes}".rstrip(), command.help) for name, command in COMMANDS.items()]
    rows += [('"""', "begins and ends what has several lines"), ("Ctrl-C", "stops an answer")]
    return "\n".join(f"{words:<14} {meaning}" for words, meaning in rows)


def _model(session: Session, name: str) -> str:
    models = talkers(session.mesh.models())
    if not name:
        current = session.conversation.model
        return "\n".join(
            one_line(f"{'*' if current in {name, model.key} else '-'} {name}{told(model, name)}")
            for model, name in zip(models, names_of(models), strict=True)
        )
    if not any(name in {*model.names, model.key} for model in models):
        raise click.UsageError(f"no model {name!r} can be talked with; /model lists those that can")
    session.conversation = replace(session.conversation, model=name)
    return one_line(f"From now on {name} answers.")


def _system(session: Session, text: str) -> str:
    session.conversation = replace(session.conversation, system=text)
    return "These are the rules now." if text else "There are no rules any more."


def _clear(session: Session, _argument: str) -> str:
    session.conversation = replace(session.conversation, turns=())
    session.images = ()
    return "All is forgotten but the rules."


def _think(session: Session, level: str) -> str:
    if not level:
        session.conversation = replace(session.conversation, think=None)
        return "It thinks as it likes."
    if level not in {*Effort}:
        raise click.UsageError(f"/think wants {', '.join(Effort)}, or nothing for the model's own way")
    session.conversation = replace(session.conversation, think=Effort(level))
    return f"How much it thinks: {level}."


def _image(session: Session, name: str) -> str:
    if not name:
        session.images = ()
        return "No picture goes with your next turn."
    session.images = (*session.images, read_image(_path(name)))
    count = len(session.images)
    return f"Goes with your next turn, {count} in all." if count > 1 else "Goes with your next turn."


def _save(session: Session, name: str) -> str:
    path = _path(name)
    try:
        conversation.save(session.conversation, path)
    except OSError as error:  # which names the file that was to take its place
        raise click.UsageError(f"{path} cannot be written: {error.strerror}") from error
    return f"Kept {len(session.conversation.turns)} turns in {path}."


def _load(session: Session, name: str) -> str:
    session.conversation = conversation.load(_path(name))
    kept = session.conversation
    return one_line(f"{len(kept.turns)} turns with {kept.model} are back.")


def _stats(session: Session, _argument: str) -> str:
    tally, turns = session.tally, len(session.conversation.turns)
    speed = f", {tally.output_tokens / tally.decode_s:.1f} tokens/s" if tally.decode_s else ""
    last = tally.last
    served = "" if last is None else "\n" + one_line(f"{last.model} on {last.spoke} was last")
    made = f"{tally.prompt_tokens} tokens read, {tally.output_tokens} made{speed}"
    return f"{turns} turns, {tally.answers} answers: {made}{served}"


def _bye(_session: Session, _argument: str) -> str:
    raise Bye


def _path(name: str) -> Path:
    return Path(name).expanduser()


COMMANDS: Final = {
    "/help": Command("", "says this", _help),
    "/model": Command("[NAME]", "lets NAME answer from now on; lists the models without one", _model),
    "/system": Command("[TEXT]", "gives the model rules; takes them away without any", _system),
    "/clear": Command("", "forgets what was said", _clear),
    "/think": Command("[LEVEL]", "none, low, medium or high; the model's own way without one", _think),
    "/image": Command("[FILE]", "shows a picture with the next turn; takes them back without one", _image),
    "/save": Command("FILE", "keeps the conversation", _save),
    "/load": Command("FILE", "goes on with one that was kept", _load),
    "/stats": Command("", "says what it has taken so far", _stats),
    "/bye": Command("", "ends, as Ctrl-D does", _bye),
}
