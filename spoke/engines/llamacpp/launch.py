"""What the spoke and its engine children say to each other: one order on stdin, one reply on stdout."""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

LINE_BYTES_MAX: Final = 64 * 1024


class Survey(msgspec.Struct, frozen=True, tag=True):
    """Say what the engine is and can compute on, then end."""


class Serve(msgspec.Struct, frozen=True, tag=True):
    """Load a model and answer until stdin closes. Holds the key, so it must not be printed."""

    model: str
    path: str
    slots: int
    context_tokens: int
    """Context of all slots together."""
    threads: int
    api_key: str
    socket: str = ""
    """Where to listen; on a free loopback port when empty."""
    makes_vectors: bool = False
    """Whether it has to turn texts into vectors, beside answering."""
    projector: str = ""
    """The file that turns images into what the model understands; it sees none when empty."""

    def __repr__(self) -> str:
        return f"Serve(model={self.model!r}, slots={self.slots}, context_tokens={self.context_tokens})"


class Device(msgspec.Struct, frozen=True):
    """An accelerator as llama.cpp sees it; empty and 0 are unknown."""

    name: str
    """llama.cpp's own, as `CUDA0`."""
    description: str
    place: str
    """On the PCI bus."""
    is_integrated: bool
    memory_total_bytes: int
    memory_free_bytes: int


class Surveyed(msgspec.Struct, frozen=True, tag=True):
    """The engine's version, and the accelerators that it can use."""

    version: str
    devices: list[Device]


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The model is loaded and the server listens at *url*."""

    url: str


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The engine did not load the model. *why* may name paths; it is for the spoke's log."""

    why: str


Order: TypeAlias = Survey | Serve
Reply: TypeAlias = Surveyed | Ready | Refused
