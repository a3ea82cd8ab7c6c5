"""Which spoke gets a model that is pulled by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.core import vram
from hub.core.registry import is_ready
from hubspoke.errors import EngineUnavailable, NoSpoke, Unsupported
from hubspoke.types import Place

if TYPE_CHECKING:
    from hub.core.types import Registry, Spoke
    from hubspoke.types import EngineInfo, SpokeId


def puller(registry: Registry, model: str, only: SpokeId | None, now: float) -> tuple[SpokeId, Place]:
    """Say which spoke is to get *model*, into which engine: *only* that one, or the one with most memory to give.

    What a model needs is not known before it is there. Raise NoSpoke when the spoke is away, Unsupported when no engine
    pulls, EngineUnavailable when those that do are down.
    """
    ready = [spoke for spoke in registry.spokes.values() if is_ready(spoke, now)]
    if only is not None:
        ready = [spoke for spoke in ready if spoke.id == only]
        if not ready:
            raise NoSpoke(f"{only} is not in this mesh, or takes no work now; `hubspoke status` says which")
    pulling = [(spoke, engine) for spoke in ready for engine in spoke.inventory.engines if engine.pulls]
    if not pulling:
        where = "no spoke" if only is None else f"no engine of {only}"
        raise Unsupported(
            f"{where} can pull models: that takes an Ollama on the spoke. Put a GGUF file into the spoke's models instead"
        )
    healthy = [(spoke, engine) for spoke, engine in pulling if not engine.fault]
    if not healthy:
        spoke, engine = min(pulling, key=lambda pair: pair[0].id)
        raise EngineUnavailable(f"engine {engine.name!r} of {spoke.id} says: {engine.fault}")
    chosen, engine = max(healthy, key=_room)
    return chosen.id, Place(engine.name, model)


def _room(candidate: tuple[Spoke, EngineInfo]) -> tuple[int, str, str]:
    """Rank by the memory that there could be; what is unknown comes last, and names decide between equals."""
    spoke, engine = candidate
    return vram.attainable_bytes(spoke, engine) or 0, spoke.id, engine.name
