"""A mesh to attack: a hub that runs, its authorities, and everything that an attacker could have got hold of."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING

import grpc
import pytest

from hubspoke.admin import AdminClient
from hubspoke.api.identity.v1 import identity_pb2 as pb
from hubspoke.api.identity.v1.identity_pb2_grpc import IdentityServiceStub
from hubspoke.channel import CHANNEL_OPTIONS
from hubspoke.wire import status
from pki import pem
from pki.credential import Credential, StoredIdentity
from pki.files import HubFiles
from pki.identity import Identity, NodeName, Role
from pki.keys import new_key
from pki.tokens import JoinToken
from tests.fakes.certs import DEN, Mesh, Shape, issue
from tests.security.cases import LEAKS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Sequence
    from datetime import timedelta

    from cryptography import x509

    from hubspoke.errors import MeshError
    from pki.files import NodeFiles
    from tests.fakes.real_hub import RealHub

CALL_S = 10.0
"""Deadline of one call: whatever is to be refused is refused long before."""

_CONNECTING = re.compile(r"failed to connect to all addresses; last error: \w+: ipv4:[^ ]+: ")

Options = tuple[tuple[str, object], ...]


@dataclass
class Yard:
    """The hub under attack, and the keys of its authorities: some attackers have even those."""

    hub: RealHub
    gateway_url: str
    logged: list[str] = field(default_factory=list)
    """Every line of the hub's log, and of the spokes that run beside it."""
    _numbers: count[int] = field(default_factory=lambda: count(1))

    @property
    def authorities(self) -> Mesh:
        """The authorities as they lie on the hub's disk."""
        files = HubFiles(self.hub.directory / "hub").authorities
        return Mesh(now(), files.load_root(None), files.load_hub_issuer(), files.load_node_issuer())

    @property
    def anchors(self) -> tuple[x509.Certificate, ...]:
        """What nodes trust."""
        return self.hub.admin.load_anchors(now=now())

    def name(self, what: str) -> str:
        """Give a name that nobody has had."""
        return f"{what}-{next(self._numbers)}"

    async def node(self, role: Role = Role.SPOKE) -> NodeFiles:
        """Let a node in as it should be."""
        return await self.hub.join(self.name(role.value), role)

    async def registered(self, shape: Shape, role: Role = Role.SPOKE) -> Credential:
        """Let a node in, and certify it once more as *shape* says, its own URI put in: only the shape is wrong."""
        files = await self.node(role)
        uri = files.load_identity().identity.uri
        return self.certified(replaced(shape, uri))

    def certified(self, shape: Shape) -> Credential:
        """Certify a new key as *shape* says with the issuer of nodes."""
        return issue(self.authorities.node_issuer, shape, now=now())

    def of_the_mesh(self, role: Role, name: str) -> Credential:
        """Certify just as the hub does, but tell no registry."""
        key = new_key()
        identity = Identity(role, NodeName(name))
        return Credential(key, self.authorities.node_issuer.issue_node(key.public_key(), identity, now=now()))

    async def token(self, name: str, lifetime: timedelta | None = None) -> JoinToken:
        """Make a join token for a spoke."""
        async with AdminClient(self.hub.admin.directory) as admin:
            return JoinToken.parse((await admin.create_join_token(name, Role.SPOKE, lifetime)).text)

    @asynccontextmanager
    async def channel(
        self, shown: Credential | None, address: str = "", options: Options = ()
    ) -> AsyncIterator[grpc.aio.Channel]:
        """Connect to *address*, else the mesh port, and show *shown*."""
        pair = (None, None) if shown is None else (shown.key_pem, shown.chain_pem)
        credentials = grpc.ssl_channel_credentials(pem.write(self.anchors), *pair)
        async with grpc.aio.secure_channel(
            address or self.hub.mesh, credentials, options=(*CHANNEL_OPTIONS, *options)
        ) as channel:
            yield channel

    async def refusal(self, shown: Credential | None, code: grpc.StatusCode) -> str:
        """Ask who one is while showing *shown*; give what is answered, which has to be *code*."""
        async with self.channel(shown) as channel:
            return await refused(who_am_i(channel), code)

    async def revoke(self, shown: Credential) -> None:
        """Revoke the node that *shown* is of."""
        async with AdminClient(self.hub.admin.directory) as admin:
            await admin.revoke(self.name_of(shown))

    def name_of(self, shown: Credential) -> str:
        """Say which node *shown* is of."""
        return StoredIdentity.of(shown).identity.name

    async def is_well(self) -> None:
        """Fail unless the admin is served as before: a hub that is down refuses everything."""
        async with AdminClient(self.hub.admin.directory) as admin:
            await admin.spokes()


def now() -> datetime:
    """TLS looks at the clock, so these certificates are of today."""
    return datetime.now(UTC)


def stored(files: NodeFiles) -> Credential:
    """Give a node's own credential, as whoever copies its disk has it."""
    identity = files.load_identity()
    return Credential.parse(identity.key_pem + identity.chain_pem)


def replaced(shape: Shape, uri: str) -> Shape:
    """Put *uri* into *shape* for the one that it has."""
    return replace(shape, uris=tuple(text.replace(DEN, uri) for text in shape.uris))


def who_am_i(channel: grpc.aio.Channel) -> Awaitable[pb.WhoAmIResponse]:
    """Ask the hub whom it takes the caller for."""
    return IdentityServiceStub(channel).WhoAmI(pb.WhoAmIRequest(), timeout=CALL_S)


async def refused(call: Awaitable[object], *codes: grpc.StatusCode) -> str:
    """Make a call that has to fail with one of *codes*, and give what the caller saw."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return told(caught.value, *codes)


async def refused_with(call: Awaitable[object], kind: type[MeshError]) -> str:
    """Make a call that has to fail with an error of *kind*, and give what the caller saw."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error, text = status.error_of(caught.value), told(caught.value, caught.value.code())
    assert isinstance(error, kind), f"refused with {error.reason}: {text}"
    return text


def seen(texts: Sequence[str]) -> str:
    """Put what several tries saw into one line: all of them saw the same."""
    assert len(set(texts)) == 1, f"different refusals tell something: {sorted(set(texts))}"
    return texts[0]


def told(failure: grpc.aio.AioRpcError, *codes: grpc.StatusCode) -> str:
    """Give what *failure*, which has to be one of *codes*, says; without the address, which differs from try to try."""
    details = failure.details() or ""
    assert not LEAKS.search(details), details
    text = f"{failure.code().name}: {_CONNECTING.sub('', details)}"
    assert failure.code() in codes, f"refused with {text}"
    return text
