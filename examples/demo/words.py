"""Sentences and figures that people get to read, on a screen or as plain lines."""

from __future__ import annotations

import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hubspoke.cli.output import size
from hubspoke.types import ModelState

if TYPE_CHECKING:
    from collections.abc import Callable

    from examples.demo.events import Done, NoOllama, OwnOllama, Tally
    from hubspoke.types import Model, SpokeStatus

ELLIPSIS: Final = "..."


@dataclass(frozen=True, slots=True)
class Room:
    """A memory that models can be in; `None` is unknown, and *fault* says why it cannot be used."""

    name: str
    free_bytes: int | None
    total_bytes: int | None
    fault: str = ""

    def described(self, draw: Callable[[int, int], str]) -> str:
        """Say how full it is, with *draw* for (used, total)."""
        if self.fault:
            return f"{self.name}: cannot be used, {self.fault}"
        if self.free_bytes is None or self.total_bytes is None:
            return f"{self.name}: unknown"
        return f"{draw(self.total_bytes - self.free_bytes, self.total_bytes)}  {self.name}"


def clean(text: str) -> str:
    """Take out what could steer a terminal: a model may say anything."""
    return "".join(char if char.isprintable() else " " for char in text)


def in_figures(used: int, total: int) -> str:
    """Say how full a memory is, in ASCII."""
    return f"{size(used)} of {size(total)} used"


def shortened(text: str, length: int) -> str:
    """Give *text* in at most *length* characters."""
    return text if len(text) <= length else text[: length - len(ELLIPSIS)] + ELLIPSIS


def result(tally: Tally) -> str:
    """Say what came of several questions at once."""
    return f"{tally.right} of {tally.asked} right, {tally.tokens:,} tokens in {tally.took_s:.2f} s; {_served(tally)}"


def summary(done: Done) -> str:
    """Say what came of everything."""
    total = done.total
    return f"{total.right} of {total.asked} right, {done.took_s:.1f} s from nothing; {_served(total)}"


def own_ollama(event: OwnOllama) -> str:
    """Say what this machine's own Ollama has answered."""
    said = shortened(clean(event.text).strip(), 60)
    return f"{event.spoke} found Ollama {event.version} by itself; {event.model} says: {said}  ({event.took_s:.1f} s)"


def no_ollama(event: NoOllama) -> str:
    """Say why there is none, and what would happen if there were one."""
    return f"{event.why}. Where one runs, a spoke finds it by itself; the tests ask a double of it"


def rooms(spoke: SpokeStatus) -> list[Room]:
    """Give the memories of a spoke: of its cards, and of the machine."""
    host = spoke.inventory.memory
    cards = [
        Room(gpu.name, gpu.memory_free_bytes, gpu.memory_total_bytes, gpu.fault)
        for gpu in spoke.inventory.gpus
    ]
    return [*cards, Room("RAM", host.available_bytes, host.total_bytes)]


def model_memory(model: Model) -> str:
    """Say what a model takes up."""
    if model.loaded is None:
        return f"{model.name}: {'on its way' if model.state is ModelState.LOADING else 'on disk'}"
    return f"{model.name}: {size(model.loaded.memory_bytes)}, {model.loaded.slots} slots"


def to_look_around(environment: str) -> tuple[str, ...]:
    """Give what to type beside a demo that keeps its mesh."""
    return (path(), environment, "hubspoke status", 'hubspoke ask tiny "count to 20"')


def next_steps() -> list[tuple[str, tuple[str, ...]]]:
    """Give the way to a mesh of two own machines: where, and what to type there."""
    return [
        (
            "On both machines, in this folder, after `./justw setup`",
            (path(),),
        ),
        (
            "On the machine that is to be the hub",
            (
                "hubspoke pki init                        # once; asks for a passphrase",
                "hub-server",
                "hubspoke token create den --role spoke   # elsewhere on it; works once",
            ),
        ),
        (
            "On the machine with the GPU, which takes that name",
            (
                "spoke-agent join                         # paste the token",
                "HUBSPOKE_SPOKE_MODELS_DIR=~/models spoke-agent   # a folder with .gguf files",
            ),
        ),
        ("Back at the hub", ("hubspoke status", 'hubspoke ask tiny "capital of france"')),
    ]


def _served(tally: Tally) -> str:
    served = ", ".join(f"{spoke} {count}" for spoke, count in tally.by_spoke.items())
    return f"{served}; {tally.moved} taken over from one that died" if tally.moved else served


def path() -> str:
    """Give what makes a shell find our commands, in few letters where that is possible."""
    scripts, here = Path(sysconfig.get_path("scripts")), Path.cwd()
    place = f"$PWD/{scripts.relative_to(here).as_posix()}" if scripts.is_relative_to(here) else str(scripts)
    return f'export PATH="{place}:$PATH"'
