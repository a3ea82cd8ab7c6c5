"""What happens on connections: old versions of TLS, resumed sessions, certificates that end while a stream is open."""

from __future__ import annotations

import asyncio
import ssl
import warnings
from contextlib import suppress
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc._cython import cygrpc

from hub.core.registry import HEARTBEAT_S
from hubspoke.api.mesh.v1 import mesh_pb2 as mesh_pb
from pki.identity import Role
from tests.fakes.certs import Shape
from tests.fakes.pauses import pause
from tests.fakes.real_hub import ScriptedSpoke, a_model, an_inventory
from tests.fakes.stalls import awake
from tests.security.cases import Layer, case
from tests.security.raw import context, http2
from tests.security.yard import CALL_S, now, refused, seen, stored, told, who_am_i

if TYPE_CHECKING:
    from tests.security.yard import Options, Yard

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE

SHORT = timedelta(seconds=5)
"""A life that a test can wait for the end of, and in which even a slow machine has connected."""
SWEEP_S = 5.0
"""What is promised: a live stream ends this long after its certificate."""
LATE_S = 5.0
"""For a machine that has other things to do."""
CUT_S = 1.0
"""What is promised: a live stream ends this soon after a revocation."""
WHO_AM_I = "/hubspoke.api.identity.v1.IdentityService/WhoAmI"


@case(21, "plain text, in both directions", Layer.HUB_TLS)
async def plain_text(yard: Yard) -> str:
    async with grpc.aio.insecure_channel(yard.hub.mesh) as channel:
        text = await refused(who_am_i(channel), UNAVAILABLE)
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with yard.channel(stored(await yard.node()), f"127.0.0.1:{port}") as channel:
            await refused(who_am_i(channel), UNAVAILABLE)
    finally:
        await server.stop(None)
    return text


@case(22, "TLS 1.0, TLS 1.1, and a weak cipher of TLS 1.2", Layer.HUB_TLS)
async def old_tls(yard: Yard) -> str:
    shown = stored(await yard.node())
    for oldest, newest, ciphers in (
        (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2, "AES128-GCM-SHA256:@SECLEVEL=0"),
    ):
        settings = context(yard, shown)
        settings.set_ciphers(ciphers)
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            settings.maximum_version, settings.minimum_version = newest, oldest
        await refused_by_tls(yard, settings)
    return "EOF"


async def refused_by_tls(yard: Yard, settings: ssl.SSLContext) -> None:
    """Connect with *settings*, to which there must be no answer."""
    try:
        async with http2(yard, settings, yard.hub.ports.mesh) as connection:
            await connection.call(WHO_AM_I)
    except (ssl.SSLError, ConnectionError, EOFError):
        return
    raise AssertionError(f"let through with {settings.maximum_version.name}")


@case(23, "TLS 1.2 with a strong cipher", Layer.IDENTITY)
async def tls_1_2(yard: Yard) -> str:
    settings = context(yard, stored(await yard.node()))
    settings.maximum_version = ssl.TLSVersion.TLSv1_2
    settings.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    async with http2(yard, settings, yard.hub.ports.mesh) as connection:
        text = await connection.call(WHO_AM_I)
    assert text.startswith(f"{UNAUTHENTICATED.value[0]}:"), text
    return text


@case(24, "a resumed session after the certificate's end", Layer.IDENTITY)
async def resumed_after_the_end(yard: Yard) -> str:
    shown = await yard.registered(Shape(ends_in=SHORT), Role.APP)
    resuming = a_session_cache()
    async with yard.channel(shown, options=resuming) as channel:
        await who_am_i(channel)
        # The same connection hears that the certificate has ended...
        live = await refused_in_time(channel)
    # ...and TLS would let the session in again.
    async with yard.channel(shown, options=resuming) as channel:
        return seen([live, await refused(who_am_i(channel), UNAUTHENTICATED)])


@case(25, "a resumed session after revocation", Layer.IDENTITY)
async def resumed_after_revocation(yard: Yard) -> str:
    own = stored(await yard.node(Role.APP))
    resuming = a_session_cache()
    async with yard.channel(own, options=resuming) as channel:
        await who_am_i(channel)
    await yard.revoke(own)
    async with yard.channel(own, options=resuming) as channel:
        return await refused(who_am_i(channel), UNAUTHENTICATED)


@case(26, "a live stream after the certificate's end", Layer.LIVE)
async def stream_after_the_end(yard: Yard) -> str:
    shown = await yard.registered(Shape(ends_in=SHORT))
    async with yard.channel(shown) as channel:
        text = await cut(channel)
    late_s = (now() - shown.not_after).total_seconds()
    assert 0 <= late_s <= SWEEP_S + LATE_S, f"cut {late_s:.1f} s after the end"
    return text


@case(27, "a live stream at revocation", Layer.LIVE)
async def stream_at_revocation(yard: Yard) -> str:
    own = stored(await yard.node())
    async with yard.channel(own) as channel, asyncio.TaskGroup() as group:
        began = asyncio.Event()
        cutting = group.create_task(cut(channel, began))
        await began.wait()
        async with awake() as counted:
            await yard.revoke(own)
            text = await cutting
    took_s = counted.passed_s
    assert took_s < CUT_S, f"cut {took_s:.2f} s after the revocation"
    return text


async def cut(channel: grpc.aio.Channel, began: asyncio.Event | None = None) -> str:
    """Hold a heartbeat stream open until the hub ends it; give what it ends with."""
    spoke = ScriptedSpoke(channel)
    await spoke.register(an_inventory(a_model()))
    await spoke.beat()
    if began is not None:
        began.set()
    beating = asyncio.create_task(keep_beating(spoke))
    try:
        return await refused(drained(spoke.beats), UNAUTHENTICATED)
    finally:
        beating.cancel()
        await asyncio.wait({beating})


async def keep_beating(spoke: ScriptedSpoke) -> None:
    """Let the session live on: the certificate, and not the silence, is to end it."""
    with suppress(grpc.aio.BaseError, asyncio.InvalidStateError):  # it has ended
        for sequence in count(2):
            await pause(HEARTBEAT_S)
            await spoke.beats.write(mesh_pb.HeartbeatRequest(session=spoke.session, sequence=sequence))


async def drained(
    call: grpc.aio.StreamStreamCall[mesh_pb.HeartbeatRequest, mesh_pb.HeartbeatResponse],
) -> None:
    """Read *call* to its end."""
    while await call.read() is not grpc.aio.EOF:
        pass


async def refused_in_time(channel: grpc.aio.Channel) -> str:
    """Call again and again, until one is refused."""
    async with asyncio.timeout(SHORT.total_seconds() + CALL_S):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask_for_ever(channel)
    return told(caught.value, UNAUTHENTICATED)


async def ask_for_ever(channel: grpc.aio.Channel) -> None:
    while True:
        await who_am_i(channel)


def a_session_cache() -> Options:
    """Let a channel resume the TLS sessions of an earlier one, which ours never do."""
    return (("grpc.ssl_session_cache", cygrpc.SSLSessionCacheLRU(1)),)
