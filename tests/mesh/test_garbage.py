"""Bytes that are no message: refused as that, after it is known who sends them, and no defect of ours."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest

from hub.rpc.access import ENROL_PORT
from hubspoke.api.mesh.v1 import mesh_pb2 as pb
from hubspoke.errors import InvalidRequest, PermissionDenied
from hubspoke.wire import inventory, status
from pki.identity import Role
from tests.fakes.real_hub import WAIT_S, ScriptedSpoke, an_inventory
from tests.mesh.test_access import anonymous

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.real_hub import RealHub

GARBAGE = b"\xff\xff\xff\xff"
MESH = "/hubspoke.api.mesh.v1.MeshService"


@pytest.fixture(autouse=True)
def _no_defect(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert [record.message for record in caplog.records if record.exc_info] == []


async def test_garbage_in_a_unary_call_is_refused(hub: RealHub) -> None:
    channel = await hub.channel(await hub.join("den", Role.SPOKE))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary(f"{MESH}/Register")(GARBAGE)
    await channel.close()
    assert type(status.error_of(caught.value)) is InvalidRequest


async def test_who_may_not_call_is_told_so_before_anything_is_read(hub: RealHub) -> None:
    channel = await hub.channel(await hub.join("laptop", Role.APP))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary(f"{MESH}/Register")(GARBAGE)
    await channel.close()
    assert type(status.error_of(caught.value)) is PermissionDenied


@pytest.mark.parametrize("method", ["Heartbeat", "Work"])
async def test_garbage_for_the_first_message_of_a_stream_ends_it(hub: RealHub, method: str) -> None:
    async with hub.spoke("den") as den:
        await ends_on_garbage(den.channel.stream_stream(f"{MESH}/{method}")())


@pytest.mark.parametrize("method", ["Heartbeat", "Work"])
async def test_garbage_later_on_a_stream_ends_it(hub: RealHub, method: str) -> None:
    channel = await hub.channel(await hub.join("den", Role.SPOKE))
    async with ScriptedSpoke(channel) as den:
        request = pb.RegisterRequest(
            inventory=inventory.to_wire(an_inventory()), slots=1, agent_version="test"
        )
        session = (await den.stub.Register(request)).session
        first = (
            pb.HeartbeatRequest(session=session, sequence=1)
            if method == "Heartbeat"
            else pb.WorkRequest(open=pb.Open(session=session, slot=0))
        )
        call = channel.stream_stream(f"{MESH}/{method}")()
        await call.write(first.SerializeToString())
        await ends_on_garbage(call)


async def ends_on_garbage(call: grpc.aio.StreamStreamCall[bytes, bytes]) -> None:
    await call.write(GARBAGE)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asyncio.wait_for(read_to_the_end(call), WAIT_S)
    assert type(status.error_of(caught.value)) is InvalidRequest


async def read_to_the_end(call: grpc.aio.StreamStreamCall[bytes, bytes]) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


async def test_a_stranger_learns_nothing_from_garbage(hub: RealHub) -> None:
    async with anonymous(hub, hub.enrol) as channel:
        for method in ENROL_PORT:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(method)(GARBAGE)
            assert type(status.error_of(caught.value)) is InvalidRequest
