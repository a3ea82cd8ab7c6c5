"""What a real hub holds nodes and strangers to, and what it writes down about that."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from hub.rpc import limits
from hubspoke.api.identity.v1 import identity_pb2 as pb
from hubspoke.api.identity.v1.identity_pb2_grpc import IdentityServiceStub
from hubspoke.auditlog.files import LogFiles, verify
from hubspoke.errors import PermissionDenied, RateLimited, Unauthenticated
from hubspoke.wire import status
from pki.identity import Role
from pki.keys import certificate_request, new_key
from tests.fakes.clock import StillClock
from tests.fakes.real_hub import real_hub
from tests.mesh.test_access import a_token, error_of, join

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.real_hub import RealHub


def noted(directory: Path, event: str) -> list[dict[str, object]]:
    text = (directory / "hub" / "audit.jsonl").read_text()
    return [line for line in map(json.loads, text.splitlines()) if line["event"] == event]


async def test_a_flood_of_renewals_is_told_when_to_come_back(hub: RealHub) -> None:
    channel = await hub.channel(await hub.join("laptop", Role.APP))
    request = pb.RenewRequest(certificate_request=certificate_request(new_key()))
    stub = IdentityServiceStub(channel)
    for _ in range(limits.RENEWALS.burst):
        await stub.Renew(request)
    refused: grpc.aio.AioRpcError | None = None
    try:
        await stub.Renew(request)
    except grpc.aio.AioRpcError as error:
        refused = error
    assert refused is not None
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert isinstance(status.error_of(refused), RateLimited)
    assert 0 < retry_delay_s(refused) <= 1 / limits.RENEWALS.per_s
    # Other calls and other nodes go on.
    await stub.WhoAmI(pb.WhoAmIRequest())
    await channel.close()


def retry_delay_s(failure: grpc.aio.AioRpcError) -> float:
    packed = dict(failure.trailing_metadata() or ())[status.DETAILS_KEY]
    assert isinstance(packed, bytes)
    info = RetryInfo()
    for detail in Status.FromString(packed).details:
        assert isinstance(detail, AnyMessage)
        if detail.Unpack(info):
            return info.retry_delay.ToTimedelta().total_seconds()
    raise AssertionError("there is no RetryInfo")


async def test_who_guesses_tokens_has_to_wait(tmp_path: Path) -> None:
    # Else what is allowed again meanwhile would be counted too: 60 connections take their time.
    async with real_hub(tmp_path, StillClock()) as hub:
        token = await a_token(hub, "den")
        forged = type(token)(token.id, bytes(32), token.root, token.addresses)
        request = certificate_request(new_key())
        for _ in range(limits.FAILED_JOINS.burst):
            assert isinstance(await error_of(join(hub, forged, request)), Unauthenticated)
        assert isinstance(await error_of(join(hub, forged, request)), RateLimited)
        assert isinstance(await error_of(join(hub, token, request)), RateLimited)
    lines = [line for line in noted(tmp_path, "enrol.denied") if line["reason"] == "unauthenticated"]
    assert sum(int(str(line.get("repeats", 1))) for line in lines) == limits.FAILED_JOINS.burst
    assert len(lines) <= 6
    assert lines[0]["peer"] == "127.0.0.1"
    assert verify(LogFiles(tmp_path / "hub")).broken is None


async def test_every_denied_call_is_written_down_with_who_and_what(tmp_path: Path) -> None:
    async with real_hub(tmp_path) as hub:
        channel = await hub.channel(await hub.join("laptop", Role.APP))
        method = "/hubspoke.api.admin.v1.AdminService/ListSpokes"
        assert isinstance(await error_of(channel.unary_unary(method)(b"")), PermissionDenied)
        await channel.close()
    (line,) = noted(tmp_path, "authz.denied")
    assert (line["method"], line["peer"]) == (method, "127.0.0.1")
    assert line["identity"] == "spiffe://hubspoke.internal/app/laptop"
    assert line["serial"]
    (first, *_) = noted(tmp_path, "pki.init")
    assert first["seq"] == 1
    assert noted(tmp_path, "hub.start")
    assert noted(tmp_path, "hub.stop")


def test_the_limit_of_renewals_is_for_a_call_that_there_is():
    names = {method.name for method in pb.DESCRIPTOR.services_by_name["IdentityService"].methods}
    assert limits.RENEW == "/hubspoke.api.identity.v1.IdentityService/Renew"
    assert "Renew" in names
