"""An engine whose answers follow from the request alone, and that writes down each generation that it begins and ends.

What a subtask is told holds one mark, `«name|orders|text»`: the answer is `name(text)`, so the right result of a plan can
be told without running it. The orders say what happens on the way: see `Orders`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hubspoke.errors import ModelNotLoaded, Unsupported
from hubspoke.types import (
    Capability,
    Delta,
    EngineInfo,
    Finished,
    FinishReason,
    Loaded,
    LoadPlan,
    Model,
    ModelState,
    Usage,
)
from tests.fakes.pauses import pause

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from hubspoke.types import Embeddings, EmbedRequest, PullStep, Request

BOSS, WORKER = "boss", "worker"
SLOTS = 8
CONTEXT_TOKENS = 4096
LOOK_S = 0.02
DIARY = "diary.jsonl"

TASK: ContextVar[str] = ContextVar("TASK", default="")
"""The key of the task that is being answered."""

_MARK = re.compile(r"«([^|»]*)\|([^|»]*)\|([^»]*)»")
_JUDGED = re.compile(r"^\[([A-Za-z0-9_-]+)\] ", re.MULTILINE)


class Diary:
    """A file that every process of a run appends to, one line a moment."""

    def __init__(self, path: Path, who: str) -> None:
        self._path = path
        self._who = who

    def note(self, what: str, key: str, name: str = "") -> None:
        """Write a line; it is whole even when the process dies in the next moment."""
        line = json.dumps(
            {"what": what, "key": key, "name": name, "who": self._who, "pid": os.getpid(), "at": time.time()}
        )
        fd = os.open(self._path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.write(fd, f"{line}\n".encode())
        os.close(fd)


@dataclass(frozen=True, slots=True)
class Orders:
    """What happens during an answer: it takes *ms*, waits for the file *gate*, kills the spoke, or is bad at first.

    *dies* is the number of times that a spoke dies of it, *bad* how often the answer is "not found", over all spokes.
    """

    ms: int = 0
    gate: str = ""
    dies: int = 0
    bad: int = 0

    @classmethod
    def read(cls, text: str) -> Orders:
        """Read what stands in a mark."""
        given = dict(pair.split("=", 1) for pair in text.split(",") if pair)
        return cls(
            int(given.get("ms", 0)),
            given.get("gate", ""),
            int(given.get("dies", 0)),
            int(given.get("bad", 0)),
        )


class PureEngine:
    """Two models, which are always in memory. *directory* holds the gates; a line of *diary* is written for each moment."""

    name = "pure"

    def __init__(self, directory: Path, diary: Diary) -> None:
        self._directory = directory
        self._diary = diary

    async def probe(self) -> EngineInfo:
        return EngineInfo(name=self.name, version="1")

    async def models(self) -> tuple[Model, ...]:
        return tuple(_model(name) for name in (BOSS, WORKER))

    async def load(self, model: str, context_tokens: int) -> Loaded:
        return Loaded(SLOTS, context_tokens)

    async def unload(self, model: str) -> None:
        raise ModelNotLoaded("it stays in memory")

    async def generate(self, model: str, request: Request) -> AsyncGenerator[Delta | Finished, None]:
        told = request.messages[-1].text
        name, orders, text = _read(told, request)
        key = TASK.get()
        self._diary.note("begun", key, name)
        if orders.bad and self._times(name, "bad") < orders.bad:
            self._count(name, "bad")
            text = "not found"
        half = len(text) // 2
        yield Delta(text[:half])
        await self._obey(name, orders)
        yield Delta(text[half:])
        self._diary.note("ended", key, name)
        yield Finished(FinishReason.STOP, Usage(prompt_tokens=len(told), output_tokens=len(text)))

    def embed(self, model: str, request: EmbedRequest) -> AsyncGenerator[Embeddings | Finished, None]:
        raise Unsupported("it only writes")

    def pull(self, model: str) -> AsyncGenerator[PullStep, None]:
        raise Unsupported("it has all that it will have")

    async def delete(self, model: str) -> None:
        raise Unsupported("it has all that it will have")

    async def aclose(self) -> None:
        """There is nothing to stop."""

    async def _obey(self, name: str, orders: Orders) -> None:
        await pause(orders.ms / 1000)
        while orders.gate and not (self._directory / orders.gate).exists():
            await pause(LOOK_S)
        if orders.dies and self._times(name, "died") < orders.dies:
            self._count(name, "died")
            os.kill(os.getpid(), signal.SIGKILL)

    def _times(self, name: str, what: str) -> int:
        path = self._directory / f"{name}.{what}"
        return path.stat().st_size if path.exists() else 0

    def _count(self, name: str, what: str) -> None:
        with (self._directory / f"{name}.{what}").open("ab") as file:
            file.write(b".")


def _read(told: str, request: Request) -> tuple[str, Orders, str]:
    """Say which work it is, what happens on the way, and what the answer is."""
    schema = "" if request.format is None else request.format.schema
    if '"verdicts"' in schema:
        asked = _JUDGED.findall(told)
        verdicts = [{"id": name, "reason": "it is right", "verdict": "accept"} for name in asked]
        return f"review of {','.join(asked)}", _orders(told, "review"), json.dumps({"verdicts": verdicts})
    marks = _MARK.findall(told)
    if '"subtasks"' in schema:
        parts = [
            {"id": name, "instruction": f"«{name}|{orders}|{text}»", "model": WORKER}
            for name, orders, text in marks
        ]
        return "plan", _orders(told, "plan"), json.dumps({"subtasks": parts, "merge": "concat"})
    if parts := _JUDGED.findall(told):
        return "merge", _orders(told, "merge"), f"merged {' '.join(parts)}"
    name, orders, text = marks[0]
    return name, Orders.read(orders), f"{name}({text.strip()})"


def _orders(told: str, step: str) -> Orders:
    """Read the orders for one of the orchestrator's own steps: `<review: gate=g>` in the goal or the merge's instruction."""
    found = re.search(rf"<{step}: ([^>]*)>", told)
    return Orders() if found is None else Orders.read(found[1])


def _model(name: str) -> Model:
    digest = f"sha256:{name.encode().hex().ljust(64, '0')}"
    return Model(
        engine=PureEngine.name,
        name=name,
        digest=digest,
        size_bytes=1_000_000,
        capabilities=frozenset({Capability.CHAT, Capability.COMPLETION, Capability.JSON_SCHEMA}),
        plan=LoadPlan(slots=SLOTS, context_tokens=CONTEXT_TOKENS),
        state=ModelState.LOADED,
        loaded=Loaded(SLOTS, CONTEXT_TOKENS),
    )
