"""The loads under way of an engine: who wants the same model with the same context shares one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from hubspoke.errors import ContextTooLong
from spoke.engines.shared import Shared

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from hubspoke.types import Loaded, LoadPlan

CONTEXT_STEP_TOKENS: Final = 256
"""llama.cpp, and so Ollama's runner, rounds the context of a slot up to a multiple of this.

Ollama would load a model anew for a request with the unrounded one.
"""


@dataclass(frozen=True, slots=True)
class _Load:
    plan: LoadPlan
    work: Shared[Loaded]


class Loads:
    """One load of each model at a time."""

    def __init__(self) -> None:
        self._under_way: dict[str, _Load] = {}

    def __contains__(self, model: str) -> bool:
        """Whether *model* is on its way into memory."""
        return model in self._under_way

    async def join(
        self,
        model: str,
        plan: LoadPlan,
        *,
        there: Callable[[], Loaded | None],
        bring: Callable[[], Coroutine[Any, Any, Loaded]],
    ) -> Loaded:
        """Wait until *model* is there by *plan*, and raise what goes wrong.

        *there* gives what is in memory by that plan already; *bring* begins a load, after one by another plan has ended.
        """
        while True:
            loaded = there()
            if loaded is not None:
                return loaded
            under_way = self._under_way.get(model)
            if under_way is not None and under_way.work.is_abandoned:
                await under_way.work.gone()
                continue
            if under_way is None:
                under_way = _Load(plan, Shared(bring(), done=partial(self._forget, model)))
                self._under_way[model] = under_way
            loaded = await under_way.work.wait()
            if under_way.plan == plan:
                return loaded

    async def cancel(self) -> None:
        """End all of them."""
        for load in tuple(self._under_way.values()):
            await load.work.cancel()

    def _forget(self, model: str) -> None:
        del self._under_way[model]


def rounded(context_tokens: int, limit: int) -> int:
    """Round a context up as engines do, and to no more than *limit*, 0 for none."""
    up = -(-context_tokens // CONTEXT_STEP_TOKENS) * CONTEXT_STEP_TOKENS
    return min(up, limit or up)


def refuse_longer(model: str, limit: int, context_tokens: int) -> None:
    """Raise ContextTooLong for more than the context that *model* was made for; a *limit* of 0 is unknown."""
    if limit and context_tokens > limit:
        raise ContextTooLong(
            f"{model!r} was made for {limit} tokens of context, not {context_tokens}", context_tokens=limit
        )
