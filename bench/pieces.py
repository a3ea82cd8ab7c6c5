"""Streamed answers of HTTP dialects, piece by piece, and whether anything of them is missing. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from bench.metronome import TOKEN_BYTES, is_next

OPENAI: Final = "openai"
OLLAMA: Final = "ollama"

_DATA: Final = b"data: "
_DONE: Final = b"[DONE]"


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    error: object = None


class _Said(msgspec.Struct):
    content: str = ""


class _Line(msgspec.Struct):
    message: _Said | None = None
    done: bool = False
    error: object = None


_chunk: Final = msgspec.json.Decoder(_Chunk)
_line: Final = msgspec.json.Decoder(_Line)


@dataclass(slots=True)
class Pieces:
    """What has come of one answer of *dialect*. With *ticks*, its text has to be the metronome's, token by token."""

    dialect: str
    ticks: bool = True
    events: int = 0
    """Events with text; each may hold several tokens."""
    tokens: int = 0
    """Without *ticks* nobody knows where a token ends, and each event counts as one."""
    is_reasoned: bool = False
    """Whether it was said why the answer ends."""
    is_done: bool = False
    _rest: bytes = b""

    def feed(self, received: bytes) -> bool:
        """Take the next bytes of the body, and say whether text was in them. Raise RuntimeError for what is wrong."""
        before = self.events
        end = b"\n\n" if self.dialect == OPENAI else b"\n"
        *whole, self._rest = (self._rest + received).split(end)
        for event in whole:
            if self.dialect == OLLAMA:
                self._take_line(event)
            elif event.startswith(_DATA):  # anything else is a comment
                self._take_data(event.removeprefix(_DATA))
        return self.events > before

    def require_whole(self, tokens: int | None = None) -> None:
        """Raise RuntimeError unless the answer has come to its end, with as many *tokens* as were asked for."""
        if not (self.is_done and self.is_reasoned) or self._rest:
            raise RuntimeError(f"an answer broke off after {self.tokens} tokens")
        if tokens is not None and self.tokens != tokens:
            raise RuntimeError(f"an answer has {self.tokens} tokens instead of {tokens}")

    def _take_data(self, data: bytes) -> None:
        if self.is_done:
            raise RuntimeError("an answer went on after its end")
        if data == _DONE:
            self.is_done = True
            return
        chunk = _chunk.decode(data)
        if chunk.error is not None:
            raise RuntimeError(f"an answer failed: {chunk.error}")
        for choice in chunk.choices:
            self._take_text(choice.delta.content or "")
            self.is_reasoned |= choice.finish_reason is not None

    def _take_line(self, line: bytes) -> None:
        if self.is_done:
            raise RuntimeError("an answer went on after its end")
        said = _line.decode(line)
        if said.error is not None:
            raise RuntimeError(f"an answer failed: {said.error}")
        self._take_text("" if said.message is None else said.message.content)
        self.is_done = self.is_reasoned = said.done

    def _take_text(self, text: str) -> None:
        if not text:
            return
        if self.ticks and not is_next(text, self.tokens):
            raise RuntimeError(f"text was lost, doubled or changed after {self.tokens} tokens")
        self.events += 1
        self.tokens += len(text) // TOKEN_BYTES if self.ticks else 1
