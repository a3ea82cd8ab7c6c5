"""The hub's settings: section `[hub]` of hubspoke.toml, overruled by HUBSPOKE_HUB_* in the environment."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta
from msgspec.structs import force_setattr

from hubspoke.config import Settings
from hubspoke.ports import ENROL_PORT, MESH_PORT
from pki.address import Host, parse_host
from pki.errors import BadAddress

Port = Annotated[int, Meta(ge=0, le=65_535)]


class HubConfig(Settings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a hub can be told. Everything has a default that suits a home."""

    listen: str = "[::]"
    """The address to listen on; `[::]` is every address of the machine, IPv4 too."""
    mesh_port: Port = MESH_PORT
    """Where spokes and apps connect, with a certificate; 0 takes a free port."""
    enrol_port: Port = ENROL_PORT
    """Where whoever has a join token gets a certificate; 0 takes a free port."""
    advertise: tuple[Host, ...] = ()
    """Host names and IP addresses that nodes reach this hub by, best first; found by itself when empty."""
    flush_ms: Annotated[int, Meta(ge=15, le=50)] | None = None
    """How long spokes gather tokens before they send them; by what runs when it is not set."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def __post_init__(self) -> None:
        """Parse the names and addresses, so that a wrong one is told at once."""
        force_setattr(self, "advertise", tuple(_host(text) for text in self.advertise))


def _host(text: str) -> Host:
    try:
        return parse_host(text)
    except BadAddress as error:
        raise ValueError(f"advertise: {error}") from error
