"""Where a defect stops: it ends one answer or one directive, and the spoke goes on."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, TypeVar

from hubspoke.errors import InternalError, MeshError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine

T = TypeVar("T")

log = logging.getLogger(__name__)


async def contained(what: str, work: Awaitable[T]) -> T | MeshError:
    """Give the result of *work*, or the error that it ended with; what nobody foresaw is logged and told as a defect."""
    try:
        return await work
    except MeshError as error:
        return error
    except Exception:  # the spoke's one boundary: whoever asked learns nothing of our insides
        log.exception("defect", extra={"in": what})
        return InternalError("the spoke failed on this; its log says how")


async def first_error(work: Coroutine[Any, Any, None]) -> MeshError | None:
    """Run *work*, which is made of task groups; give the first MeshError that ended it, or None after a good end."""
    # In a task of its own: until Python 3.13 a TaskGroup that is cancelled from outside forgets it as soon as one of its
    # tasks fails on the way out, and the spoke would reconnect instead of ending.
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # looked at, or else asyncio reports it as lost
        raise
    try:
        task.result()
    except MeshError as error:
        return error
    except BaseExceptionGroup as group:
        if group.split(MeshError)[1] is not None:
            raise
        return _first(group)
    return None


def _first(group: BaseExceptionGroup[BaseException]) -> MeshError | None:
    for error in group.exceptions:
        if isinstance(error, MeshError):
            return error
        if isinstance(error, BaseExceptionGroup):
            return _first(error)
    return None
