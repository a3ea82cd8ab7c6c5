"""A real Ollama, where one is named: `OLLAMA_HOST=127.0.0.1:11434 pytest tests/contract/test_real_ollama.py`.

Every other test here asks the double, which is our reading of Ollama. This one says whether that reading is right.
"""

import asyncio
import os

import pytest

from hubspoke.types import Capability, FinishReason, LoadPlan, ModelState
from spoke.engines.ollama import OllamaEngine
from spoke.engines.ollama_address import HOST_VARIABLE, usual_address
from spoke.engines.ollama_http import OllamaClient
from spoke.engines.ollama_server import OllamaServer
from spoke.gpu.none import NoGpus
from tests.contract.bench import begun, chat, described

LOAD_TIMEOUT_S = 300.0
CONTEXT_TOKENS = 2048

pytestmark = [
    pytest.mark.skipif(not os.environ.get(HOST_VARIABLE), reason="no real Ollama: OLLAMA_HOST is not set"),
    pytest.mark.timeout(2 * LOAD_TIMEOUT_S),
]


async def test_a_real_ollama_keeps_the_contract():
    client = OllamaClient(OllamaServer(usual_address(os.environ)))
    engine = OllamaEngine(client, plan=LoadPlan(1, CONTEXT_TOKENS), gpus=NoGpus().probe)
    info = await engine.probe()
    assert (info.fault, bool(info.version)) == ("", True)
    cold = [
        model
        for model in await engine.models()
        if Capability.CHAT in model.capabilities and model.state is ModelState.COLD
    ]
    if not cold:
        pytest.skip("this Ollama has no model that could be loaded for a test; pull a small one")
    model = min(cold, key=lambda one: one.size_bytes)

    try:
        async with asyncio.timeout(LOAD_TIMEOUT_S):
            loaded = await engine.load(model.name, CONTEXT_TOKENS)
            before = await client.loaded(1, {})
            answer = await begun(engine, model.name, chat("Count from 1 to 200."))
            await answer.aclose()
            events = [
                event async for event in engine.generate(model.name, chat("Say hi.", max_output_tokens=8))
            ]
            after = await client.loaded(1, {})
        assert model.digest.startswith("sha256:")
        assert loaded.context_tokens == CONTEXT_TOKENS
        assert loaded.memory_bytes > 0
        assert events[-1].reason in {FinishReason.STOP, FinishReason.LENGTH}
        assert 0 < events[-1].usage.output_tokens <= 8
        assert after[model.name] == before[model.name], "a request made Ollama load the model anew"
        await engine.unload(model.name)
        assert (await described(engine, model.name)).state is ModelState.COLD
    finally:
        await engine.aclose()
