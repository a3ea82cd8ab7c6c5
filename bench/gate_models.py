"""Models for the bench of the gate: those of a real mesh, or simulated ones that are only as fast as such models are."""

from __future__ import annotations

import asyncio
import json
import re
import selectors
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from hub.core.delegation import cost, review
from hub.core.delegation.cost import Fleet, Lane
from hub.core.delegation.prompts import NOT_FOUND
from hub.core.types import Speed
from hubspoke.types import JsonFormat, Message, ModelKey, Request, Sampling, Speaker

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    from hubspoke.client import MeshClient
    from hubspoke.types import Usage

PROBE_WORDS: Final = 400
PROBE_TOKENS: Final = 48
FACT: Final = re.compile(r"The access code of (\w+) is (\d+)\.")
WORDS: Final = re.compile(r"about (\d+) words")
JUDGED: Final = re.compile(r"^\[([\w-]+)\] ", re.MULTILINE)
TOKENS_PER_WORD: Final = 1.4
SHORT_TOKENS: Final = (5, 60)


class Said(NamedTuple):
    """An answer, and the tokens that were read and written for it."""

    text: str
    prompt_tokens: int
    output_tokens: int


class Models(Protocol):
    """Whoever can be asked."""

    async def ask(self, model: str, prompt: str, schema: str = "") -> Said:
        """Ask *model*, once one of its slots is free; the answer is JSON by *schema* unless that is empty."""


@dataclass(frozen=True, slots=True)
class Card:
    """A simulated spoke: one model, one slot."""

    model: ModelKey
    decode_tokens_per_s: float
    prefill_tokens_per_s: float
    context_tokens: int

    @property
    def lane(self) -> Lane:
        """What the gate knows of it."""
        speed = Speed(self.decode_tokens_per_s, self.prefill_tokens_per_s)
        return Lane(self.model, speed, self.context_tokens)


BIG: Final = Card(ModelKey("big-70b"), 8.0, 250.0, 32_768)
MIDDLE: Final = Card(ModelKey("middle-8b"), 45.0, 1_800.0, 8_192)
SMALL: Final = Card(ModelKey("small-1.5b"), 80.0, 3_000.0, 8_192)
CARDS: Final = (MIDDLE, MIDDLE, SMALL)
"""Speeds as such models are said to have on 4 x 12 GB, 12 GB and 4 GB cards: taken from literature, not measured here."""

FLEET: Final = Fleet(
    BIG.lane,
    readers=tuple(card.lane for card in CARDS),
    workers=tuple(card.lane for card in CARDS if card is not SMALL),
)


class Simulated:
    """Answers that take as long as they would, on a clock that jumps; what is said is made by rule, and never wrong.

    Speeds are off by up to *off* from what the gate believes, and so is every call again. A review sends back the share
    *repairs* of what it sees.
    """

    def __init__(self, rng: Random, *, off: float = 0.2, repairs: float = 0.1) -> None:
        self._rng, self._off, self._repairs = rng, off, repairs
        self._free: dict[str, asyncio.Queue[tuple[Card, float]]] = {}
        for card in (BIG, *CARDS):
            self._free.setdefault(card.model, asyncio.Queue()).put_nowait((card, self._factor()))

    async def ask(self, model: str, prompt: str, schema: str = "") -> Said:
        """Answer as the prompt wants it, after as long as that takes."""
        card, factor = slot = await self._free[model].get()
        text, output = self._say(prompt, schema)
        said = Said(text, cost.tokens(len(prompt.encode())), output)
        seconds = cost.run_s((said.prompt_tokens, said.output_tokens), card.lane.speed)
        await asyncio.sleep(seconds * factor * self._factor())
        self._free[model].put_nowait(slot)
        return said

    def _say(self, prompt: str, schema: str) -> tuple[str, int]:
        if schema == review.SCHEMA:
            verdicts = [self._verdict(name) for name in JUDGED.findall(prompt)]
            return _counted(json.dumps({"verdicts": verdicts}))
        if FACT.search(prompt) or "<text" in prompt:
            facts = FACT.findall(prompt)
            return _counted("\n".join(f"{name}: {code}" for name, code in facts) or NOT_FOUND)
        lengths = [int(words) * self._rng.uniform(0.7, 1.3) for words in WORDS.findall(prompt)]
        if lengths:
            return "word " * int(sum(lengths)), int(sum(lengths) * TOKENS_PER_WORD)
        return "word", self._rng.randint(*SHORT_TOKENS)

    def _verdict(self, name: str) -> Mapping[str, str]:
        is_good = self._rng.random() >= self._repairs
        said = ("", "accept") if is_good else ("It leaves out what was asked for.", "repair")
        return dict(zip(("id", "reason", "verdict"), (name, *said), strict=True))

    def _factor(self) -> float:
        return self._rng.uniform(1 - self._off, 1 + self._off)


class Real:
    """Models of a mesh, asked through its hub."""

    def __init__(self, mesh: MeshClient) -> None:
        self._mesh = mesh

    async def ask(self, model: str, prompt: str, schema: str = "") -> Said:
        """Ask for the likeliest answer."""
        text, usage = await self._asked(model, prompt, schema)
        return Said(text, usage.prompt_tokens, usage.output_tokens)

    async def fleet(self, big: str, small: tuple[str, ...], workers: int) -> Fleet:
        """Look at who is there, and measure each model by one answer; of *small* the last *workers* do any part."""
        listed = {name: summary for summary in await self._mesh.models() for name in summary.names}
        lanes: dict[str, list[Lane]] = {}
        for name in (big, *small):
            lane = await self._lane(name, max(one.context_tokens for one in listed[name].replicas))
            lanes[name] = [lane] * sum(max(one.slots, 1) for one in listed[name].replicas)
        readers = tuple(lane for name in small for lane in lanes[name])
        return Fleet(lanes[big][0], readers, tuple(lane for name in small[-workers:] for lane in lanes[name]))

    async def _lane(self, model: str, context_tokens: int) -> Lane:
        _, usage = await self._asked(model, "word " * PROBE_WORDS + "\nWrite on.", "", PROBE_TOKENS)
        fresh = usage.prompt_tokens - (usage.cached_tokens or 0)
        prefill = fresh / usage.prompt_s if usage.prompt_s else None
        decode = usage.output_tokens / usage.decode_s if usage.decode_s else None
        return Lane(ModelKey(model), Speed(decode, prefill), context_tokens)

    async def _asked(self, model: str, prompt: str, schema: str, tokens: int = 0) -> tuple[str, Usage]:
        request = Request(
            model,
            (Message(Speaker.USER, prompt),),
            sampling=Sampling(temperature=0.0),
            max_output_tokens=tokens,
            format=JsonFormat(schema) if schema else None,
        )
        answer = await self._mesh.answer(request)
        return answer.text, answer.finished.usage


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer when there is nothing else to do."""

    def __init__(self) -> None:
        self._now_s = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """Give the seconds since the loop was made, as far as timers are concerned."""
        return self._now_s

    def jump(self, seconds: float) -> None:
        """Let so much time have passed."""
        self._now_s += seconds


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._loop.jump(max(timeout or 0.0, 0.0))
        return super().select(0)


def _counted(text: str) -> tuple[str, int]:
    return text, cost.tokens(len(text.encode()))
