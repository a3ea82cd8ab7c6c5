"""The event loop: one a process, uvloop where there is one."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

LOOP_VARIABLE: Final = "HUBSPOKE_LOOP"
"""Set to `asyncio` to do without uvloop, as Windows has to."""

T = TypeVar("T")


def uses_uvloop() -> bool:
    """Whether `run` takes uvloop: everywhere but on Windows, unless the environment says otherwise."""
    return sys.platform != "win32" and os.environ.get(LOOP_VARIABLE, "uvloop") != "asyncio"


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run *main* to its end on a fresh loop and give its result."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if not uses_uvloop():
        return None
    import uvloop  # noqa: PLC0415  # does not exist on Windows

    return uvloop.new_event_loop
