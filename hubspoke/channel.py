"""Connections to a hub: the options of every peer, and dialling several addresses at once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import grpc

from hubspoke.errors import Unreachable
from pki.identity import HUB_SERVER_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024
"""The largest message on any channel or server of the mesh. gRPC's own 4 MiB would refuse images."""

WINDOW_BYTES: Final = 64 * 1024
"""HTTP/2 flow-control window of a stream: what piles up for a client that stops reading."""

DIAL_TIMEOUT_S: Final = 10.0
DIAL_STAGGER_S: Final = 0.25
"""Head start of each address over the next one, as RFC 8305 recommends."""

KEEPALIVE_OPTIONS: Final[tuple[tuple[str, int | str], ...]] = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # keepalive_timeout alone does not end a dead connection: the acknowledgement has a timeout of its own, 60 s.
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
)

COMMON_OPTIONS: Final[tuple[tuple[str, int | str], ...]] = (
    *KEEPALIVE_OPTIONS,
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    # With the probe on, gRPC grows the window and 8.7 MB pile up for a stream that nobody reads.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", WINDOW_BYTES),
)

CHANNEL_OPTIONS: Final[tuple[tuple[str, int | str], ...]] = (
    *COMMON_OPTIONS,
    ("grpc.ssl_target_name_override", HUB_SERVER_NAME),
    # One channel, one connection: a swap to a new certificate must not find the old connection in a shared pool.
    ("grpc.use_local_subchannel_pool", 1),
    # Retries are decided where it is known whether work has begun.
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


async def dial(
    addresses: Sequence[str], credentials: grpc.ChannelCredentials, timeout_s: float = DIAL_TIMEOUT_S
) -> grpc.aio.Channel:
    """Connect to whichever of *addresses* ("host:port", best first) answers first; the caller closes the channel.

    Each address gets a short head start over the next one. Raise Unreachable when every one has failed, or none is
    ready in *timeout_s*.
    """
    channels = [
        grpc.aio.secure_channel(address, credentials, options=CHANNEL_OPTIONS) for address in addresses
    ]
    winner: grpc.aio.Channel | None = None
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                winner = await _first_ready(channels)
    finally:
        for channel in channels:
            if channel is not winner:
                await channel.close()
    if winner is None:
        raise Unreachable(
            f"no hub at {', '.join(addresses)} answers. Is hub-server running and its port "
            "open? `hubspoke doctor` finds out."
        )
    return winner


async def _first_ready(channels: Sequence[grpc.aio.Channel]) -> grpc.aio.Channel | None:
    """Give the first channel that is ready, or None once every one has failed its first try."""
    outcomes: asyncio.Queue[grpc.aio.Channel | None] = asyncio.Queue(maxsize=len(channels))

    async def watch(channel: grpc.aio.Channel, head_start_s: float) -> None:
        await asyncio.sleep(head_start_s)
        outcomes.put_nowait(channel if await _connects(channel) else None)

    winner = None
    async with asyncio.TaskGroup() as group:
        watchers = [group.create_task(watch(c, place * DIAL_STAGGER_S)) for place, c in enumerate(channels)]
        for _ in channels:
            winner = await outcomes.get()
            if winner is not None:
                break
        for watcher in watchers:
            watcher.cancel()
    return winner


async def _connects(channel: grpc.aio.Channel) -> bool:
    state = channel.get_state(try_to_connect=True)
    while state not in {grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.TRANSIENT_FAILURE}:
        await channel.wait_for_state_change(state)
        state = channel.get_state()
    return state is grpc.ChannelConnectivity.READY
