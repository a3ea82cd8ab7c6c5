"""What is said while nothing runs yet: on a terminal how far it is, on a pipe once what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hubspoke.cli.terminal import Line

if TYPE_CHECKING:
    from hubspoke.types import Loading, SpokeId, Waiting


class WaitingLine:
    """Says why *model* does not answer yet; `end` takes it away before anything else is written."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._line = Line()
        self._told: set[SpokeId | None] = set()

    def tell(self, waiting: Waiting | Loading) -> None:
        """Say how it stands. The hub says so every second; a pipe hears it once for each spoke."""
        if self._line.is_alive:
            self._line.show(words(waiting, self._model))
        elif waiting.spoke not in self._told:
            self._told.add(waiting.spoke)
            self._line.show(beginning(waiting, self._model))

    def end(self) -> None:
        """Take it away."""
        self._line.clear()


def words(waiting: Waiting | Loading, model: str) -> str:
    """Say how far a load has come: `den loads tiny: 3 s of about 9 s`."""
    if waiting.spoke is None:
        return f"{model} waits for a free slot ..."
    if waiting.elapsed_s is None:
        return f"{waiting.spoke} loads {model} ..."
    expected = _expected(waiting)
    return f"{waiting.spoke} loads {model}: {waiting.elapsed_s:.0f} s{f' of {expected}' if expected else ''}"


def beginning(waiting: Waiting | Loading, model: str) -> str:
    """Say what is waited for, to somebody who will not see it change."""
    if waiting.spoke is None:
        return f"{model} waits for a free slot ..."
    expected = _expected(waiting)
    return f"{waiting.spoke} loads {model}{f', which takes {expected}' if expected else ''} ..."


def _expected(waiting: Waiting | Loading) -> str:
    """Say how long it takes, where that is known and worth a word."""
    expected_s = round(waiting.expected_s or 0)
    return f"about {expected_s} s" if expected_s else ""
