"""The hub's settings: sections `[hub]`, `[gateway]`, `[roles]` and `[database]` of hubspoke.toml, overruled by HUBSPOKE_HUB_* and so on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import force_setattr

from hubspoke.config import Settings
from hubspoke.ports import ENROL_PORT, GATEWAY_PORT, MESH_PORT
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
    approve: bool = False
    """Whether an operator has to approve everybody who joins, with `hubspoke nodes approve`; else tokens may ask for it."""
    flush_ms: Annotated[int, Meta(ge=15, le=50)] | None = None
    """How long spokes gather tokens before they send them; by what runs when it is not set."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def __post_init__(self) -> None:
        """Parse the names and addresses, so that a wrong one is told at once."""
        force_setattr(self, "advertise", tuple(_host(text, "advertise") for text in self.advertise))


class GatewayConfig(Settings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the HTTP gateway can be told. Its defaults serve the apps of the hub's own machine, with a key."""

    enabled: bool = True
    """Whether there is a gateway at all."""
    listen: str = "127.0.0.1"
    """The address to listen on: plain HTTP on a loopback one, HTTPS on any other; `[::]` is every address."""
    port: Port = GATEWAY_PORT
    """Where apps connect; 0 takes a free port."""
    ollama_port: Port | None = None
    """A second port for Ollama's clients, 11434 for one, so that they need no change; none when it is not set."""
    certificate: str = ""
    """PEM file with the certificate and its chain to show instead of the mesh's own."""
    key: str = ""
    """PEM file with the key of `certificate`; the same file when empty."""
    keyless: bool = False
    """Whether who comes over the loopback needs no key to ask. Moving models takes one even then."""
    hosts: tuple[Host, ...] = ()
    """More names that the gateway is called by, beside those of the machine and any address."""
    origins: tuple[str, ...] = ()
    """Web pages that may ask from a browser, as "https://chat.example.net"; none by default."""
    aliases: dict[str, str] = msgspec.field(default_factory=dict)
    """Names that apps insist on, each with the model that is meant, as a table `[gateway.aliases]`."""
    requests_max: Annotated[int, Meta(ge=1, le=10_000)] = 256
    """Requests that are served at a time; more are refused at once."""

    def __post_init__(self) -> None:
        """Parse the names, so that a wrong one is told at once."""
        force_setattr(self, "hosts", tuple(_host(text, "hosts") for text in self.hosts))


class RolesConfig(Settings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which models take which part; apps ask for a part by its name."""

    orchestrator: tuple[str, ...] = ()
    """Models that plan and review, best first: the first that a spoke has is taken."""

    @property
    def models(self) -> dict[str, tuple[str, ...]]:
        """Give the models of each role."""
        return {"orchestrator": self.orchestrator}


class DatabaseConfig(Settings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where everything is kept that outlives the hub: who is in the mesh, API keys, speeds, delegations."""

    url: str = ""
    """A PostgreSQL database, as "postgresql://user@host/database", which other hubs may share; files in the state directory when empty."""
    password_file: str = ""
    """File that holds the password of the database and nothing else; PGPASSFILE is heard too."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that a hub is told."""

    hub: HubConfig = field(default_factory=HubConfig)
    gateway: GatewayConfig = field(default_factory=GatewayConfig)
    roles: RolesConfig = field(default_factory=RolesConfig)
    database: DatabaseConfig = field(default_factory=DatabaseConfig)


def _host(text: str, field: str) -> Host:
    try:
        return parse_host(text)
    except BadAddress as error:
        raise ValueError(f"{field}: {error}") from error
