"""What is said while nothing runs yet: on a terminal how far it is, on a pipe once what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hubspoke.cli.terminal import Line
from hubspoke.types import Waiting

if TYPE_CHECKING:
    from hubspoke.types import Loading, SpokeId


class WaitingLine:
    """Says why *model* does not answer yet; `end` takes it away before anything else is written."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._line = Line()
        self._told: set[tuple[SpokeId | None, bool]] = set()

    def tell(self, waiting: Waiting | Loading) -> None:
        """Say how it stands. The hub says so every second; a pipe hears it once for each spoke."""
        if self._line.is_alive:
            self._line.show(words(waiting, self._model))
        elif (what := (waiting.spoke, _is_silence(waiting))) not in self._told:
            self._told.add(what)
            self._line.show(beginning(waiting, self._model))

    def end(self) -> None:
        """Take it away."""
        self._line.clear()


def words(waiting: Waiting | Loading, model: str) -> str:
    """Say how far a load has come: `den loads tiny: 3 s of about 9 s`."""
    if waiting.spoke is None:
        return f"{model} waits for a free slot ..."
    if isinstance(waiting, Waiting) and waiting.silent_s is not None:
        silent = f"has said nothing for {waiting.silent_s:.0f} s"
        return f"{waiting.spoke} {silent}: it reads a long prompt, or its engine hangs"
    if waiting.elapsed_s is None:
        return f"{waiting.spoke} loads {model} ..."
    expected = _expected(waiting)
    return f"{waiting.spoke} loads {model}: {waiting.elapsed_s:.0f} s{f' of {expected}' if expected else ''}"


def beginning(waiting: Waiting | Loading, model: str) -> str:
    """Say what is waited for, to somebody who will not see it change."""
    if waiting.spoke is None:
        return f"{model} waits for a free slot ..."
    if _is_silence(waiting):
        return words(waiting, model)
    expected = _expected(waiting)
    return f"{waiting.spoke} loads {model}{f', which takes {expected}' if expected else ''} ..."


def _is_silence(waiting: Waiting | Loading) -> bool:
    return isinstance(waiting, Waiting) and waiting.silent_s is not None


def _expected(waiting: Waiting | Loading) -> str:
    """Say how long it takes, where that is known and worth a word."""
    expected_s = round(waiting.expected_s or 0)
    return f"about {expected_s} s" if expected_s else ""
