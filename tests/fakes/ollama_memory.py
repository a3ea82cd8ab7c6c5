"""What the double of Ollama has in memory: when it loads, loads anew, and lets go."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.fakes.ollama import Json, Offered, OllamaDouble, Refusal, Runner

DEFAULT_CONTEXT: Final = 2048
DEFAULT_KEEP_ALIVE_S: Final = 300.0

_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LENGTH: Final = re.compile(r"(\d+(?:\.\d*)?)(ms|s|m|h)")
_LENGTHS: Final = re.compile(rf"-?(?:{_LENGTH.pattern})+|0")


async def runner(double: OllamaDouble, offered: Offered, body: Json, *, shift: bool) -> Runner:
    """Give the runner that fits the request; load the model, anew if its options differ."""
    options = body.get("options") or {}
    name, header = offered.stored.name, offered.stored.header
    wanted = min(int(options.get("num_ctx", DEFAULT_CONTEXT)), header.context_tokens_max)
    async with double.turn:
        found = double.runners.get(name)
        if found is not None and (found.context_tokens, found.shift) != (wanted, shift):
            await _drop(double, name)
            found = None
        if found is None:
            loaded = await double.engine.load(name, wanted)
            double.loads.append((name, wanted))
            queue = asyncio.Semaphore(double.parallel)
            found = Runner(
                offered, loaded.context_tokens, shift, DEFAULT_KEEP_ALIVE_S, loaded.memory_bytes, queue
            )
            double.runners[name] = found
    if "keep_alive" in body:
        found.keep_alive_s = kept_s(body["keep_alive"])
    rest(double, found)
    return found


async def unload(double: OllamaDouble, offered: Offered) -> None:
    """Let go of a model, under whichever of its names."""
    async with double.turn:
        await _drop(double, offered.stored.name)


def rest(double: OllamaDouble, idle: Runner) -> None:
    """Let the time run after which an idle model goes."""
    if idle.expiry is not None:
        idle.expiry.cancel()
        idle.expiry = idle.expires_at = None
    if idle.keep_alive_s >= 0 and not idle.busy:
        loop = asyncio.get_running_loop()
        idle.expiry = loop.call_later(idle.keep_alive_s, double.runners.pop, idle.offered.stored.name, None)
        idle.expires_at = datetime.now(UTC) + timedelta(seconds=idle.keep_alive_s)


def kept_s(told: Any) -> float:
    """Read how long to keep a model: seconds, or a length of time such as "5m" or "1h30m"; negative is for ever."""
    if isinstance(told, int | float):
        return float(told)
    if not _LENGTHS.fullmatch(told):
        raise Refusal(400, f'time: invalid duration "{told}"')
    length_s = sum(float(number) * _UNITS_S[unit] for number, unit in _LENGTH.findall(told))
    return -length_s if told.startswith("-") else length_s


async def _drop(double: OllamaDouble, name: str) -> None:
    gone = double.runners.pop(name, None)
    if gone is not None and gone.expiry is not None:
        gone.expiry.cancel()
    await double.engine.unload(name)
