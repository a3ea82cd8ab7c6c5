"""Whoever came by a certificate that is revoked meanwhile: told so, in the words of the dialect."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import httpx
import pytest

from hub.config import GatewayConfig
from hub.identities import REFUSED
from hubspoke.admin import AdminClient
from pki.identity import Role
from tests.fakes.engine import FakeEngine, Gate, a_model
from tests.fakes.real_hub import WAIT_S
from tests.gateway.conftest import a_gateway
from tests.gateway.test_stopping import DIALECTS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("path", DIALECTS)
async def test_a_node_that_is_revoked_gets_an_error_of_its_dialect_for_the_end(
    tmp_path: Path, path: str
) -> None:
    body = {"model": "tiny", **DIALECTS[path]}
    engine = FakeEngine(a_model(slots=2), script=["one ", Gate()])
    async with a_gateway(tmp_path, GatewayConfig(port=0, listen="0.0.0.0")) as gateway:
        laptop = await gateway.hub.join("laptop", Role.APP)
        context = ssl.create_default_context(cafile=gateway.hub.made.hub.anchors)
        context.load_cert_chain(laptop.identity)
        url = f"https://localhost:{gateway.hub.ports.gateway[0]}{path}"
        async with (
            gateway.spoke(engine),
            httpx.AsyncClient(verify=context, trust_env=False, timeout=WAIT_S) as client,
            AdminClient(gateway.hub.admin.directory) as admin,
            asyncio.timeout(WAIT_S),
        ):
            asked = [
                asyncio.create_task(client.post(url, json={**body, "stream": stream}))
                for stream in (True, False)
            ]
            await gateway.hub.has_spoke(lambda spoke: spoke.busy == len(asked))
            while engine.running < len(asked):
                await gateway.hub.has_spoke(lambda spoke: spoke.name == "den")
            await admin.revoke("laptop")
            streamed, whole = await asyncio.gather(*asked)
            again = await client.post(url, json=body)
    assert REFUSED in streamed.text
    assert (whole.status_code, again.status_code) == (401, 401)
    assert REFUSED in whole.text
