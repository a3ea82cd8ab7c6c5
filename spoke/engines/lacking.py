"""What an engine answers that is asked for what it cannot do. The hub does not ask: nothing says that it can."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hubspoke.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from hubspoke.types import Embeddings, Finished, PullStep


def no_vectors(engine: str) -> AsyncGenerator[Embeddings | Finished, None]:
    """Raise Unsupported."""
    raise Unsupported(f"the engine {engine!r} makes no vectors; ask a model that does")


def no_pull(engine: str) -> AsyncGenerator[PullStep, None]:
    """Raise Unsupported."""
    raise Unsupported(
        f"the engine {engine!r} gets its models by other means; put the model where the engine looks for it"
    )
