"""Apps that ask without a pause, and what comes of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final

from examples.demo.questions import CAPITAL
from hubspoke.client import MeshClient
from hubspoke.errors import MeshError
from hubspoke.types import Delta

if TYPE_CHECKING:
    from pathlib import Path

QUESTIONS_PER_CONNECTION: Final = 5


class Load:
    """Counts calls by kind, and keeps what went wrong."""

    def __init__(self) -> None:
        self.ok: Counter[str] = Counter()
        self.errors: list[str] = []
        self._is_over = asyncio.Event()

    def end(self) -> None:
        """Let what runs come to its end, and begin nothing more."""
        self._is_over.set()

    async def ask(self, directory: Path) -> None:
        """Ask with the identity in *directory* until the `end`, and connect anew after some questions."""
        while not self._is_over.is_set():
            try:
                async with MeshClient(directory) as mesh:
                    for _ in range(QUESTIONS_PER_CONNECTION):
                        await self._once(mesh)
            except MeshError as error:
                self.errors.append(f"{error.reason}: {error.message}")

    async def _once(self, mesh: MeshClient) -> None:
        await mesh.models()
        self.ok["unary"] += 1
        events = [event async for event in mesh.infer(CAPITAL.request)]
        answer = "".join(event.text for event in events if isinstance(event, Delta))
        if answer == CAPITAL.answer:
            self.ok["streams"] += 1
        else:
            self.errors.append(f"a wrong answer: {answer!r}")

    def __str__(self) -> str:
        return f"{self.ok['unary']} calls and {self.ok['streams']} streams ok, {len(self.errors)} errors"
