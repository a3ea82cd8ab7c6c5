"""Who a certificate speaks for: a role and a name, written as a SPIFFE URI."""

import re
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import NewType

from pki.errors import BadIdentity

TRUST_DOMAIN = "hubspoke.internal"
# What nodes expect of a hub, whatever host name or address they dialled to reach it.
HUB_SERVER_NAME = f"hub.{TRUST_DOMAIN}"
# A DNS label: a name may become a host name.
NAME_CHARS_MAX = 63


@unique
class Role(StrEnum):
    """What the holder of a certificate may be."""

    SPOKE = "spoke"
    APP = "app"
    ADMIN = "admin"
    HUB = "hub"


NodeName = NewType("NodeName", str)

URI_PREFIX = f"spiffe://{TRUST_DOMAIN}/"
URI_CHARS_MAX = len(URI_PREFIX) + max(len(role) for role in Role) + len("/") + NAME_CHARS_MAX

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# Spelled out rather than taken apart by a URL parser: whatever a parser would have to normalise
# (case, port, query, escapes, dot segments, an empty last segment) does not match.
_URI = re.compile(rf"{re.escape(URI_PREFIX)}({'|'.join(Role)})/({_NAME.pattern})")


def node_name(text: str) -> NodeName:
    """Return *text* as a name, or raise `BadIdentity`."""
    if not _NAME.fullmatch(text):
        raise BadIdentity(f"{_excerpt(text)} is not a name for a node")
    return NodeName(text)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody in the mesh is.

    Raises `BadIdentity` for a name that `node_name` refuses: what stands here ends up in
    certificates, so no way in may be left unchecked.
    """

    role: Role
    name: NodeName

    def __post_init__(self) -> None:
        node_name(self.name)

    @property
    def uri(self) -> str:
        """The identity as the certificate carries it."""
        return f"{URI_PREFIX}{self.role}/{self.name}"


def parse_uri(text: str) -> Identity:
    """Read an identity from a certificate's URI, or raise `BadIdentity`.

    There is exactly one spelling of every identity: `parse_uri(text).uri == text`.
    """
    match = _URI.fullmatch(text)
    if match is None:
        raise BadIdentity(f"{_excerpt(text)} is not {URI_PREFIX}<role>/<name>")
    return Identity(Role(match[1]), NodeName(match[2]))


def _excerpt(text: str) -> str:
    """Quote *text* for a message; it may come from a stranger and have any length."""
    return repr(text if len(text) <= URI_CHARS_MAX else text[:URI_CHARS_MAX] + "...")
