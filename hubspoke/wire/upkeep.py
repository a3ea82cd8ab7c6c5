"""How loads and pulls by hand go, and how far a spoke has come with a pull."""

from __future__ import annotations

from typing import Final

from hubspoke.api.mesh.v1 import mesh_pb2 as mesh
from hubspoke.api.models.v1 import models_pb2 as pb
from hubspoke.types import (
    InMemory,
    LoadEvent,
    Loading,
    Place,
    Pulled,
    PullEvent,
    Pulling,
    PullStep,
    SpokeId,
)
from hubspoke.wire import times

STEP_CHARS_MAX: Final = 200
"""Of an engine's own words: they end up on terminals."""


def load_event_to_wire(event: LoadEvent) -> pb.LoadModelResponse:
    """Give what happened to a load as a message."""
    if isinstance(event, Loading):
        loading = pb.Loading(
            spoke=event.spoke,
            elapsed=times.duration(event.elapsed_s),
            expected=times.duration(event.expected_s),
        )
        return pb.LoadModelResponse(loading=loading)
    loaded = pb.Loaded(
        spoke=event.spoke,
        engine=event.place.engine,
        model=event.place.model,
        slots=event.slots,
        context_tokens=event.context_tokens,
        memory_bytes=event.memory_bytes,
        pinned=event.pinned,
    )
    return pb.LoadModelResponse(loaded=loaded)


def load_event_from_wire(message: pb.LoadModelResponse) -> LoadEvent | None:
    """Give a message as what happened to a load; None for one of a newer version."""
    match message.WhichOneof("event"):
        case "loading":
            loading = message.loading
            return Loading(
                SpokeId(loading.spoke), times.seconds(loading.elapsed), times.seconds(loading.expected)
            )
        case "loaded":
            loaded = message.loaded
            return InMemory(
                spoke=SpokeId(loaded.spoke),
                place=Place(loaded.engine, loaded.model),
                slots=loaded.slots,
                context_tokens=loaded.context_tokens,
                memory_bytes=loaded.memory_bytes,
                pinned=loaded.pinned,
            )
        case None:
            return None


def pull_event_to_wire(event: PullEvent) -> pb.PullModelResponse:
    """Give what happened to a pull as a message."""
    if isinstance(event, Pulling):
        pulling = pb.Pulling(
            spoke=event.spoke,
            step=event.step,
            completed_bytes=event.completed_bytes,
            total_bytes=event.total_bytes,
        )
        return pb.PullModelResponse(pulling=pulling)
    pulled = pb.Pulled(spoke=event.spoke, engine=event.place.engine, model=event.place.model)
    return pb.PullModelResponse(pulled=pulled)


def pull_event_from_wire(message: pb.PullModelResponse) -> PullEvent | None:
    """Give a message as what happened to a pull; None for one of a newer version."""
    match message.WhichOneof("event"):
        case "pulling":
            pulling = message.pulling
            return Pulling(SpokeId(pulling.spoke), pulling.step, pulling.completed_bytes, pulling.total_bytes)
        case "pulled":
            pulled = message.pulled
            return Pulled(SpokeId(pulled.spoke), Place(pulled.engine, pulled.model))
        case None:
            return None


def step_to_wire(directive: int, step: PullStep) -> mesh.DirectiveProgress:
    """Give how far the pull that *directive* began has come as a message."""
    return mesh.DirectiveProgress(
        id=directive,
        step=step.step,
        completed_bytes=step.completed_bytes,
        total_bytes=step.total_bytes,
    )


def step_from_wire(message: mesh.DirectiveProgress) -> PullStep:
    """Give a message as how far a pull has come; its words are made fit to be shown."""
    words = "".join(sign if sign.isprintable() else "?" for sign in message.step[:STEP_CHARS_MAX])
    return PullStep(words, message.completed_bytes, message.total_bytes)
