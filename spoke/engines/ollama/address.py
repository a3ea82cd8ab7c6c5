"""Where Ollama listens, by the rules of its own OLLAMA_HOST. Pure."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from hubspoke.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST_VARIABLE: Final = "OLLAMA_HOST"
PORT: Final = 11434
LOOPBACK: Final = "127.0.0.1"

_SCHEME_PORTS: Final = {"http": 80, "https": 443}


def usual_address(env: Mapping[str, str]) -> str:
    """Give the URL where Ollama is when nobody says otherwise: at `OLLAMA_HOST`, else at its port on this machine."""
    return address(env.get(HOST_VARIABLE, ""))


def address(text: str) -> str:
    """Give the URL that *text* means, such as "den", "den:11434", ":8080" or "https://den"; raise InvalidRequest.

    An address that a server listens on everywhere with, 0.0.0.0, is met on the loopback.
    """
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        scheme, rest = "http", text.strip()
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        port = parts.port or (_SCHEME_PORTS.get(scheme, 0) if separator else PORT)
    except ValueError as error:
        raise InvalidRequest(f"{text!r} is no address of an Ollama: {error}") from error
    if scheme not in _SCHEME_PORTS or parts.username is not None or parts.query:
        raise InvalidRequest("an Ollama's address is host, host:port, or an http or https URL without a user")
    return f"{scheme}://{_host(parts.hostname or LOOPBACK)}:{port}{parts.path.rstrip('/')}"


def is_here(url: str) -> bool:
    """Whether what listens at *url* runs on this machine, as far as the address tells."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _host(host: str) -> str:
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return host
    if ip.is_unspecified:
        return LOOPBACK if ip.version == 4 else "[::1]"
    return host if ip.version == 4 else f"[{host}]"
