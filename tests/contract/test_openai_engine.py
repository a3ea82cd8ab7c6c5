"""What only the engine for outside servers has: it knows little of them, and can do nothing about their models."""

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from hubspoke.clock import SystemClock
from hubspoke.errors import (
    ContextTooLong,
    EngineProtocol,
    EngineTruncated,
    EngineUnavailable,
    UnknownModel,
    Unsupported,
)
from hubspoke.types import EngineInfo, LoadPlan, ModelState
from pki.credential import Credential
from pki.keys import new_key
from spoke.engines.openai.engine import OpenAiEngine
from spoke.engines.openai.http import Endpoint
from spoke.models.store import ModelStore
from tests.contract.bench import ask, begun, chat, collected, described, going_on
from tests.contract.conftest import PLAN, an_openai_server
from tests.fakes.certs import make_mesh
from tests.fakes.engine_server import Script, refusal, serve

LIST = refusal(200, {"object": "list", "data": [{"id": "m"}]})


def an_engine(url: str, key: str = "") -> OpenAiEngine:
    return OpenAiEngine("vllm", Endpoint(url, key), PLAN)


async def test_a_model_is_loaded_and_keyed_by_where_it_is():
    async with serve(Script([LIST])) as url:
        engine = an_engine(url)
        model = await described(engine, "m")
        await engine.aclose()

    assert (model.engine, model.digest, model.state) == ("vllm", "", ModelState.LOADED)
    assert model.key("den") == "den/vllm/m"
    assert model.loaded.slots == PLAN.slots


@pytest.mark.parametrize(
    ("told", "context_tokens", "known"),
    [
        ({}, PLAN.context_tokens, 0),
        ({"max_model_len": 8192}, 8192, 8192),
        ({"meta": {"n_ctx": 1024}}, 1024, 1024),
        ({"max_model_len": "long", "meta": None}, PLAN.context_tokens, 0),
        ({"max_model_len": -1}, PLAN.context_tokens, 0),
    ],
)
async def test_the_context_is_what_the_server_tells_or_else_what_is_configured(
    told: dict[str, object], context_tokens: int, known: int
):
    async with serve(Script([refusal(200, {"data": [{"id": "m"} | told]})])) as url:
        engine = an_engine(url)
        model = await described(engine, "m")
        await engine.aclose()

    assert (model.loaded.context_tokens, model.context_tokens_max) == (context_tokens, known)


async def test_nobody_loads_or_unloads_what_the_server_keeps(store: ModelStore):
    async with an_openai_server(store) as (_, endpoint):
        engine = OpenAiEngine("llama-server", endpoint, LoadPlan(2, 512))
        assert (await engine.load("tiny", 2048)).context_tokens == 2048
        with pytest.raises(ContextTooLong, match="2048"):
            await engine.load("tiny", 4096)
        with pytest.raises(UnknownModel):
            await engine.load("nope", 2048)
        with pytest.raises(Unsupported):
            await engine.unload("tiny")
        await engine.unload("nope")
        await engine.aclose()


async def test_a_server_that_dies_breaks_its_answer_off_and_is_a_fault(store: ModelStore):
    async with an_openai_server(store) as (child, endpoint):
        engine = OpenAiEngine("llama-server", endpoint, PLAN)
        answer = await begun(engine, "tiny", going_on())
        await child.stop()

        with pytest.raises(EngineTruncated):
            await collected(answer)
        with pytest.raises(EngineUnavailable):
            await ask(engine, "tiny", chat("hello"))
        assert "running" in (await engine.probe()).fault
        assert await engine.models() == ()
        with pytest.raises(EngineUnavailable):
            await engine.load("tiny", 2048)
        await engine.aclose()


async def test_a_wrong_key_is_a_fault_that_does_not_show_it(store: ModelStore):
    async with an_openai_server(store) as (_, endpoint):
        engine = an_engine(endpoint.url, "open")
        info = await engine.probe()
        await engine.aclose()

    assert "API key" in info.fault
    assert "open" not in info.fault


async def test_the_gateway_of_a_mesh_is_no_engine():
    marked = LIST.replace(b"\r\n", b"\r\nX-Hubspoke-Mesh: home\r\n", 1)
    async with serve(Script([marked])) as url:
        engine = an_engine(url)
        info = await engine.probe()
        with pytest.raises(EngineProtocol, match="mesh"):
            await ask(engine, "m", chat("hello"))
        await engine.aclose()

    assert "mesh must not ask itself" in info.fault


async def test_over_https_the_authorities_of_the_system_are_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    authority, context = a_server_certificate(tmp_path)
    async with serve(Script([LIST]), context) as url:
        stranger = an_engine(url)
        unknown = await stranger.probe()
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        engine = an_engine(url)
        known = await engine.probe()
        await stranger.aclose()
        await engine.aclose()

    assert unknown.fault
    assert known == EngineInfo("vllm")


def a_server_certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Make a certificate for the loopback; give its authority as a file, and what a server shows."""
    now = SystemClock().now()
    mesh, key = make_mesh(now), new_key()
    shown = Credential(key, mesh.hub_issuer.issue_gateway(key.public_key(), ["127.0.0.1"], now=now))
    (folder / "server.pem").write_bytes(shown.pem)
    (folder / "authority.pem").write_bytes(mesh.root.certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return folder / "authority.pem", context
