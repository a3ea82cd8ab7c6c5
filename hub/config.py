"""The hub's settings: section `[hub]` of hubspoke.toml, overruled by HUBSPOKE_HUB_* in the environment."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from hubspoke.config import Settings
from hubspoke.ports import ENROL_PORT, MESH_PORT

Port = Annotated[int, Meta(ge=0, le=65_535)]


class HubConfig(Settings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a hub can be told. Everything has a default that suits a home."""

    listen: str = "[::]"
    """The address to listen on; `[::]` is every address of the machine, IPv4 too."""
    mesh_port: Port = MESH_PORT
    """Where spokes and apps connect, with a certificate; 0 takes a free port."""
    enrol_port: Port = ENROL_PORT
    """Where whoever has a join token gets a certificate; 0 takes a free port."""
    advertise: tuple[str, ...] = ()
    """Host names and IP addresses that nodes reach this hub by, best first; found by itself when empty."""
    flush_ms: Annotated[int, Meta(ge=15, le=50)] | None = None
    """How long spokes gather tokens before they send them; by what runs when it is not set."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
