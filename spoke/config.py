"""The agent's settings: section `[spoke]` of hubspoke.toml, overruled by HUBSPOKE_SPOKE_* in the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from hubspoke.config import Settings


class SpokeConfig(Settings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a spoke can be told. Everything has a default that suits a machine with one card."""

    slots: Annotated[int, Meta(ge=1, le=256)] = 8
    """Requests that run side by side, over all models. Each is an open stream, which costs next to nothing while idle;
    how many of them one model takes is the model's own affair."""
    hubs: tuple[str, ...] = ()
    """Mesh addresses of the hub, "host:port"; those that the identity came with when empty."""
    models_dir: str = ""
    """Folder with GGUF files for the embedded engine; `models` below the spoke's state when empty."""
    models: tuple[str, ...] = ()
    """Names of the models to offer, of the folder's and the shipped ones; all of them when empty."""
    context_tokens: Annotated[int, Meta(ge=256, le=1 << 20)] = 4096
    """Context of each slot of a model, unless the model was made for less."""
    model_slots: Annotated[int, Meta(ge=1, le=64)] = 4
    """Requests that one model of the embedded engine runs side by side."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def models_folder(self, state: Path) -> Path:
        """Say which folder has the GGUF files of a spoke that keeps its state in *state*."""
        return Path(self.models_dir).expanduser() if self.models_dir else state / "models"
