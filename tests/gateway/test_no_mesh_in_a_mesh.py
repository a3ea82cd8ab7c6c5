"""A spoke that is pointed at a gateway: no mesh takes itself, or another one, for an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from hubspoke.http_marks import HOP_HEADER
from hubspoke.types import LoadPlan
from spoke.engines.ollama.engine import OllamaEngine
from spoke.engines.ollama.http import OllamaClient
from spoke.engines.ollama.server import OllamaServer
from spoke.engines.openai.engine import OpenAiEngine
from spoke.engines.openai.http import Endpoint
from spoke.gpu.none import NoGpus
from tests.fakes.engine import FakeEngine, a_model

if TYPE_CHECKING:
    from tests.gateway.conftest import Gateway

ITSELF = "mesh must not ask itself"


async def test_a_gateway_is_no_openai_server(gateway: Gateway) -> None:
    engine = OpenAiEngine("outside", Endpoint(gateway.url, gateway.key), LoadPlan(2, 2048))
    async with gateway.spoke(FakeEngine(a_model())):
        assert ITSELF in (await engine.probe()).fault
        assert await engine.models() == ()
    await engine.aclose()


async def test_a_gateway_is_no_ollama(gateway: Gateway) -> None:
    engine = OllamaEngine(
        OllamaClient(OllamaServer(gateway.url)), plan=LoadPlan(2, 2048), gpus=NoGpus().probe
    )
    assert ITSELF in (await engine.probe()).fault
    await engine.aclose()


async def test_what_a_spoke_asks_is_refused_even_with_a_key(gateway: Gateway) -> None:
    async with httpx.AsyncClient(
        trust_env=False, headers={HOP_HEADER: "1", "x-api-key": gateway.key}
    ) as spoke:
        response = await spoke.get(f"{gateway.url}/v1/models")
    assert response.status_code == 508
