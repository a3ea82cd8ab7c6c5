"""A look at a hub's mesh port, step by step: name, TCP, TLS, identity. Python's own TLS says more than gRPC passes on."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import grpc
from cryptography import x509

from hubspoke.api.identity.v1 import identity_pb2 as pb
from hubspoke.api.identity.v1.identity_pb2_grpc import IdentityServiceStub
from hubspoke.channel import dial
from hubspoke.credentials import channel_credentials
from hubspoke.diagnosis.judge import Outcome, Seen, Span
from hubspoke.errors import AccessError, Unreachable
from hubspoke.wire import status, times
from pki import pem
from pki.identity import HUB_SERVER_NAME

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from pki.credential import StoredIdentity

STEP_TIMEOUT_S: Final = 3.0
"""For each step: a name, a connection, a handshake, an answer."""

_OF_ANOTHER_NAME: Final = frozenset({62, 64})
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL."""

# The preface of HTTP/2 and an empty SETTINGS frame (RFC 9113, 3.4): a hub that lets one in answers it.
_HELLO: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))


@dataclass(frozen=True, slots=True)
class Holder:
    """Whoever looks: its key and chain as a file and as values, and whom it trusts."""

    file: Path
    own: StoredIdentity
    anchors: tuple[x509.Certificate, ...]


async def look(address: str, holder: Holder) -> Seen:
    """Try *address* as far as it goes. Nothing but a certificate is shown to what has not proved to be the hub."""
    hub: Span | None = None
    try:
        hub = await _certificate_at(address)
        await _handshake(address, holder)
        return await _who_am_i(address, holder, hub)
    except (OSError, EOFError) as error:  # TLS fails with errors of the system, too
        return Seen(address, _meaning(error), hub=hub)


async def _certificate_at(address: str) -> Span:
    """Read the certificate that is shown there, without believing it: its times tell a wrong clock."""
    unbelieving = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unbelieving.check_hostname = False
    unbelieving.verify_mode = ssl.CERT_NONE
    async with _connected(address, unbelieving) as (_, writer):
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    leaf = x509.load_der_x509_certificate(shown)
    return Span(leaf.not_valid_before_utc, leaf.not_valid_after_utc)


async def _handshake(address: str, holder: Holder) -> None:
    """Shake hands as gRPC does, and wait for the hub's first word; EOFError when it hangs up instead."""
    believing = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    believing.load_verify_locations(cadata=pem.write(holder.anchors).decode())
    believing.load_cert_chain(holder.file)
    async with _connected(address, believing) as (reader, writer):
        writer.write(_HELLO)
        async with asyncio.timeout(STEP_TIMEOUT_S):
            await reader.readexactly(1)


@asynccontextmanager
async def _connected(
    address: str, settings: ssl.SSLContext
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    settings.minimum_version = ssl.TLSVersion.TLSv1_3
    settings.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(STEP_TIMEOUT_S):
        reader, writer = await asyncio.open_connection(
            host.strip("[]"), int(port), ssl=settings, server_hostname=HUB_SERVER_NAME
        )
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _who_am_i(address: str, holder: Holder, hub: Span) -> Seen:
    """Ask the hub for its opinion, and its time."""
    credentials = channel_credentials(holder.own, holder.anchors)
    try:
        channel = await dial([address], credentials, STEP_TIMEOUT_S)
    except Unreachable:
        return Seen(address, Outcome.SILENT, hub=hub)
    try:
        answer = await IdentityServiceStub(channel).WhoAmI(pb.WhoAmIRequest(), timeout=STEP_TIMEOUT_S)
    except grpc.aio.AioRpcError as failure:
        error = status.error_of(failure)
        outcome = Outcome.DENIED if isinstance(error, AccessError) else Outcome.SILENT
        return Seen(address, outcome, hub=hub, detail=error.message)
    finally:
        await channel.close()
    told = times.moment(answer.hub_time, "hub_time") if answer.HasField("hub_time") else None
    return Seen(address, Outcome.ANSWERS, hub=hub, hub_time=told)


_MEANINGS: Final[tuple[tuple[type[Exception], Outcome], ...]] = (
    (ssl.SSLCertVerificationError, Outcome.UNTRUSTED),
    (ssl.SSLError, Outcome.OTHER),
    (socket.gaierror, Outcome.NO_NAME),
    (ConnectionRefusedError, Outcome.REFUSED),
    (ConnectionResetError, Outcome.TURNED_AWAY),
    (EOFError, Outcome.TURNED_AWAY),
)
"""What the failure of a step means; the first row that fits counts, and any other failure is silence."""


def _meaning(error: Exception) -> Outcome:
    if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in _OF_ANOTHER_NAME:
        return Outcome.WRONG_NAME
    return next((outcome for kind, outcome in _MEANINGS if isinstance(error, kind)), Outcome.SILENT)
