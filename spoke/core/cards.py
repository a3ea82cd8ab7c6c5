"""Cards that several sources may see, put together: each card once, each under a number of its own that it keeps."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from hubspoke.types import Gpu, GpuKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

UNKNOWN_GPU: Final = Gpu(index=0, kind=GpuKind.CUDA, name="unknown")
"""Stands for the cards of a machine whose driver has never answered: nobody knows that there are none."""
DRIVER_SILENT: Final = "the driver does not answer; the spoke's log may say why"
NVIDIA: Final = "NVIDIA"
"""How the names of NVIDIA's cards begin, whoever tells them."""
BUS_ID_DOMAIN_DIGITS: Final = 4

Key: TypeAlias = tuple[GpuKind, int]
"""What a source calls a card: the interface, and the number there."""


@dataclass(frozen=True, slots=True)
class Card:
    """A card as one source sees it: its `gpu.index` is that source's.

    `bus_id` is the place in the machine, as `bus_id` writes it; it tells whether two sources see the same card.
    """

    gpu: Gpu
    bus_id: str = ""

    @property
    def key(self) -> Key:
        """What its source calls it."""
        return self.gpu.kind, self.gpu.index


@dataclass(frozen=True, slots=True)
class Overview:
    """All cards of the machine, numbered, and the numbers of those that the embedded engine computes on.

    `extra_gpus` says whether some are known from that engine alone.
    """

    gpus: tuple[Gpu, ...] = ()
    engine_gpus: tuple[int, ...] = ()
    extra_gpus: bool = False
    numbers: Mapping[Key, int] = field(default_factory=dict)
    """Of every card that was ever there: one that comes back has its old number."""


def overview(told: Iterable[Card], devices: Sequence[Card], before: Overview) -> Overview:
    """Put together the cards that sources have *told* and the *devices* that the embedded engine computes on."""
    own = tuple(told)
    same = {device.key: card for device in devices if (card := _same(device, own, devices)) is not None}
    extra = tuple(device for device in devices if device.key not in same and _is_news(device, own))
    numbers = _numbered((card.key for card in (*own, *extra)), before.numbers)
    cards = ((numbers[card.key], card.gpu) for card in (*own, *extra))
    shown = (*(card.key for card in same.values()), *(card.key for card in extra))
    return Overview(
        gpus=tuple(replace(gpu, index=index) for index, gpu in sorted(cards, key=lambda card: card[0])),
        engine_gpus=tuple(sorted({numbers[key] for key in shown})),
        extra_gpus=bool(extra),
        numbers=numbers,
    )


def doubted(known: tuple[Card, ...], fault: str) -> tuple[Card, ...]:
    """Give *known* cards as they are when nobody answers for them: with *fault*, and without what moves."""
    return tuple(replace(card, gpu=replace(still(card.gpu), fault=fault or card.gpu.fault)) for card in known)


def still(gpu: Gpu) -> Gpu:
    """Give *gpu* without the figures that move all the time."""
    return replace(
        gpu,
        memory_free_bytes=None,
        memory_used_bytes=None,
        utilisation_percent=None,
        temperature_celsius=None,
        processes=(),
    )


def taken_bytes(gpus: Iterable[Gpu], pid: int) -> int | None:
    """Say what the process *pid* has of the memory of all *gpus*; None where that is not told in full."""
    shares = [process.memory_bytes for gpu in gpus for process in gpu.processes if process.pid == pid]
    known = [share for share in shares if share is not None]
    return sum(known) if known and len(known) == len(shares) else None


def bus_id(text: str) -> str:
    """Write a place on the PCI bus as `0000:01:00.0`, whether *text* has its domain in four digits or in eight."""
    domain, colon, rest = text.strip().lower().partition(":")
    return f"{domain[-BUS_ID_DOMAIN_DIGITS:]}{colon}{rest}"


def _same(device: Card, cards: Sequence[Card], devices: Sequence[Card]) -> Card | None:
    """Find the card that *device* is: by its place, else by its number, else as one of those with its name in turn."""
    in_place = [card for card in cards if card.bus_id and card.bus_id == device.bus_id]
    if in_place:
        return in_place[0]
    unplaced = [card for card in cards if not (card.bus_id and device.bus_id)]
    by_number = [card for card in unplaced if card.key == device.key]
    if by_number:
        return by_number[0]
    twins = [other.key for other in devices if other.gpu.name == device.gpu.name]
    by_name = [card for card in unplaced if card.gpu.name == device.gpu.name]
    turn = twins.index(device.key)
    return by_name[turn] if turn < len(by_name) else None


def _is_news(device: Card, cards: Sequence[Card]) -> bool:
    """Whether a *device* that is none of *cards* is one more card, and not one that its own driver shows otherwise."""
    kinds = {card.gpu.kind for card in cards}
    is_nvidia = device.gpu.kind is GpuKind.CUDA or device.gpu.name.startswith(NVIDIA)
    return not (is_nvidia and GpuKind.CUDA in kinds) and not (
        device.gpu.kind is GpuKind.METAL and GpuKind.METAL in kinds
    )


def _numbered(keys: Iterable[Key], known: Mapping[Key, int]) -> dict[Key, int]:
    """Give each of *keys* a number: the one that it had, else its source's if that is free, else the first free one."""
    numbers = dict(known)
    for key in keys:
        if key not in numbers:
            taken = set(numbers.values())
            free = next(number for number in range(len(taken) + 1) if number not in taken)
            numbers[key] = free if key[1] in taken else key[1]
    return numbers
