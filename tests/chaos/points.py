"""Moments at which a process kills itself, as if the power went: for what cannot be hit from outside."""

from __future__ import annotations

import inspect
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

DIRECTORY = "CHAOS_DIRECTORY"
"""Where the files lie that tell processes to die, in their environment."""


@dataclass(frozen=True)
class Point:
    """Right before or after *owner* does *what*, if *holds* of its arguments."""

    owner: Any
    what: str
    is_before: bool = False
    holds: Callable[[tuple[object, ...]], bool] = lambda _: True

    def arm(self, order: Path) -> None:
        """Let this process die there, once the file *order* is there. It is gone when the process is."""
        work = getattr(self.owner, self.what)

        async def awaited(*args: Any, **kwargs: Any) -> Any:
            self._perhaps_die(order, args, is_before=True)
            result = await work(*args, **kwargs)
            self._perhaps_die(order, args, is_before=False)
            return result

        def called(*args: Any, **kwargs: Any) -> Any:
            self._perhaps_die(order, args, is_before=True)
            result = work(*args, **kwargs)
            self._perhaps_die(order, args, is_before=False)
            return result

        setattr(self.owner, self.what, awaited if inspect.iscoroutinefunction(work) else called)

    def _perhaps_die(self, order: Path, args: tuple[object, ...], *, is_before: bool) -> None:
        if is_before is self.is_before and self.holds(args) and order.exists():
            order.unlink()
            os.kill(os.getpid(), signal.SIGKILL)


def order(directory: Path, who: str, point: str) -> Path:
    """Give the file that tells *who* to die at *point*."""
    return directory / f"{who} dies at {point}"


def arm(who: str, points: dict[str, Point]) -> None:
    """Let this process die at any of *points* when it is told to."""
    directory = Path(os.environ[DIRECTORY])
    for name, point in points.items():
        point.arm(order(directory, who, name))
