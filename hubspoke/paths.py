"""Where state lies on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

STATE_DIR_VARIABLE: Final = "HUBSPOKE_STATE_DIR"
SERVICE_DIR: Final = Path("/var/lib/hubspoke")


@dataclass(frozen=True, slots=True)
class Places:
    """The directories of one machine's state; none of them need exist.

    A hub and a spoke may live side by side. `client` is for the people and apps of this machine.
    """

    hub: Path
    spoke: Path
    client: Path


def locate(state_dir: Path | None = None) -> Places:
    """Say where this machine keeps its state, or where *state_dir* has it."""
    return places(state_dir, os.environ, Path.home(), owns_service_dir=_owns_service_dir())


def places(
    state_dir: Path | None, environ: Mapping[str, str], home: Path, *, owns_service_dir: bool
) -> Places:
    """Choose the directories.

    A directory that is given, as *state_dir* or in the environment, holds everything. Otherwise services keep
    theirs under `SERVICE_DIR` and people theirs at home, as XDG or Windows would have it.
    """
    given = state_dir or _directory(environ, STATE_DIR_VARIABLE)
    if given is not None:
        return _below(given)
    local = _directory(environ, "LOCALAPPDATA")
    if local is not None:  # Windows, where state and configuration of a user share one root
        return _below(local / "hubspoke")
    state = (_directory(environ, "XDG_STATE_HOME") or home / ".local" / "state") / "hubspoke"
    base = SERVICE_DIR if owns_service_dir else state
    client = (_directory(environ, "XDG_CONFIG_HOME") or home / ".config") / "hubspoke"
    return Places(hub=base / "hub", spoke=base / "spoke", client=client)


def _below(base: Path) -> Places:
    return Places(hub=base / "hub", spoke=base / "spoke", client=base / "client")


def _directory(environ: Mapping[str, str], variable: str) -> Path | None:
    text = environ.get(variable, "")
    return Path(text).expanduser() if text else None


def _owns_service_dir() -> bool:
    """Whether this process is root or the service's own user."""
    if os.name == "nt":
        return False
    return os.geteuid() == 0 or os.access(SERVICE_DIR, os.W_OK)
