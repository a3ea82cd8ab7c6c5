"""What there is, pulls, and what cannot be done, asked with Ollama's own client."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import ollama
import pytest

from hub.config import GatewayConfig
from hubspoke.errors import EngineUnavailable
from hubspoke.types import Capability, KeyPlan, Loaded, PullStep
from tests.fakes.engine import FakeEngine, Gate, a_model
from tests.fakes.real_hub import WAIT_S
from tests.gateway.conftest import a_gateway
from tests.gateway.ollama_apps import HELLO, VECTORS, an_app, lines

if TYPE_CHECKING:
    from pathlib import Path

    from tests.gateway.conftest import Gateway

KNOWN = replace(
    a_model(capabilities=frozenset({Capability.CHAT, Capability.TOOLS, Capability.SAMPLING})),
    family="llama",
    quantisation="Q4_K_M",
    parameters=8_030_000_000,
    context_tokens_max=8192,
    loaded=Loaded(slots=2, context_tokens=2048, memory_bytes=900_000, vram_bytes=800_000),
)
STEPS = (
    PullStep("pulling manifest"),
    PullStep("pulling 2af3b81862c6", 50, 100),
    PullStep("pulling 2af3b81862c6", 100, 100),
)


async def test_tags_list_every_name_with_its_tag_and_what_it_is(gateway: Gateway) -> None:
    async with gateway.spoke(FakeEngine(KNOWN, VECTORS)), an_app(gateway) as app:
        listed = (await app.list()).models
    assert [model.model for model in listed] == ["gpt-4o-mini:latest", "tiny:latest", "vectors:latest"]
    tiny, vectors = listed[1:]
    assert (tiny.size, tiny.digest) == (1_000_000, "a" * 64)
    assert tiny.modified_at is not None
    assert (
        tiny.details
        == ollama.ListResponse.Model(
            details={
                "parent_model": "",
                "format": "gguf",
                "family": "llama",
                "families": ["llama"],
                "parameter_size": "8.0B",
                "quantization_level": "Q4_K_M",
            }
        ).details
    )
    assert len(vectors.digest) == 64


async def test_ps_lists_what_is_in_memory(gateway: Gateway) -> None:
    cold = a_model("cold", loaded=False, digest="sha256:" + "b" * 64)
    async with gateway.spoke(FakeEngine(KNOWN, cold)), an_app(gateway) as app:
        (running,) = (await app.ps()).models
    assert (running.name, running.model, running.digest) == ("tiny:latest", "tiny:latest", "a" * 64)
    assert (running.size, running.size_vram, running.context_length) == (900_000, 800_000, 2048)
    assert running.expires_at is not None


@pytest.mark.parametrize("field", ["name", "model"])
async def test_show_takes_both_names_of_the_field(gateway: Gateway, field: str) -> None:
    async with gateway.spoke(FakeEngine(KNOWN)):
        response = await gateway.http.post("/api/show", json={field: "tiny"})
    shown = response.json()
    assert shown["model_info"] == {
        "general.architecture": "llama",
        "general.parameter_count": 8_030_000_000,
        "llama.context_length": 8192,
    }
    assert shown["capabilities"] == ["completion", "tools"]
    assert "Tools" in shown["template"]
    assert {"license", "modelfile", "parameters", "details"} <= shown.keys()


async def test_show_is_read_by_the_client_and_knows_aliases(gateway: Gateway) -> None:
    async with gateway.spoke(FakeEngine(KNOWN)), an_app(gateway) as app:
        shown = await app.show("gpt-4o-mini:latest")
    assert shown.modelinfo["general.architecture"] == "llama"


async def test_an_unknown_model_is_not_found(gateway: Gateway) -> None:
    async with gateway.spoke(FakeEngine(KNOWN)), an_app(gateway) as app:
        for ask in (app.show("tinny"), app.chat("tinny", HELLO), app.generate("tinny", "a")):
            with pytest.raises(ollama.ResponseError, match="no spoke has 'tinny'") as caught:
                await ask
            assert caught.value.status_code == 404


async def test_whoever_looks_for_an_ollama_finds_one_without_a_key(gateway: Gateway) -> None:
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as stranger:
        for method in ("GET", "HEAD"):
            root = await stranger.request(method, "/")
            version = await stranger.request(method, "/api/version")
            tags = await stranger.request(method, "/api/tags")
            assert (root.status_code, version.status_code, tags.status_code) == (200, 200, 401)
        assert (await stranger.get("/")).text == "Ollama is running"
        numbers = (await stranger.get("/api/version")).json()["version"].partition("-")[0].split(".")
        assert all(number.isdecimal() for number in numbers)
        assert isinstance((await stranger.get("/api/tags")).json()["error"], str)
    assert (await gateway.http.head("/api/tags")).status_code == 200


async def test_the_port_of_ollama_serves_the_same_and_needs_no_key_where_that_is_so(tmp_path: Path) -> None:
    settings = GatewayConfig(port=0, ollama_port=0, keyless=True)
    async with a_gateway(tmp_path, settings) as gateway, gateway.spoke(FakeEngine(KNOWN)):
        url = f"http://127.0.0.1:{gateway.hub.ports.gateway[1]}"
        async with ollama.AsyncClient(host=url, trust_env=False) as app:
            answer = await app.chat("tiny", HELLO)
            with pytest.raises(ollama.ResponseError, match="models:write") as caught:
                await app.pull("new")
            with pytest.raises(ollama.ResponseError, match="models:write"):
                await app.delete("tiny")
    assert (answer.message.content, caught.value.status_code) == ("Hello world", 403)


async def test_a_pull_tells_how_far_it_is_and_ends_well(gateway: Gateway) -> None:
    engine = FakeEngine(KNOWN)
    gates = [Gate(), Gate(), Gate()]
    engine.pull_steps = [part for pair in zip(STEPS, gates, strict=True) for part in pair]
    async with gateway.spoke(engine), an_app(gateway) as app:
        told = []
        async for step in await app.pull("new", stream=True):
            told.append((step.status, step.digest, step.completed, step.total))
            for gate, known in zip(gates, STEPS, strict=True):
                if (step.status, step.completed or 0) == (known.step, known.completed_bytes):
                    gate.open()
    assert ("pulling manifest", None, None, None) in told
    assert ("pulling 2af3b81862c6", "2af3b81862c6", 50, 100) in told
    assert told[-1] == ("success", None, None, None)
    assert engine.pulls == ["new"]


async def test_a_pull_in_one_says_only_that_it_went_well(gateway: Gateway) -> None:
    engine = FakeEngine(KNOWN)
    engine.pull_steps = STEPS
    async with gateway.spoke(engine):
        response = await gateway.http.post("/api/pull", json={"name": "new", "stream": False})
    assert (response.status_code, response.json()) == (200, {"status": "success"})


async def test_a_pull_that_fails_ends_with_an_error(gateway: Gateway) -> None:
    engine = FakeEngine(KNOWN)
    engine.pull_steps = [STEPS[0], EngineUnavailable("the registry does not answer")]
    async with gateway.spoke(engine):
        response = await gateway.http.post("/api/pull", json={"model": "new"})
        async with an_app(gateway) as app:
            with pytest.raises(ollama.ResponseError, match="registry"):
                [step async for step in await app.pull("new", stream=True)]
            with pytest.raises(ollama.ResponseError, match="registry") as caught:
                await app.pull("new")
    assert lines(response.text)[-1]["hubspoke"] == {"reason": "engine_unavailable"}
    assert caught.value.status_code == 503


async def test_a_client_that_goes_away_ends_its_pull(gateway: Gateway) -> None:
    engine = FakeEngine(KNOWN)
    engine.pull_steps = [STEPS[0], Gate()]
    async with gateway.spoke(engine), an_app(gateway) as app:
        async for step in await app.pull("new", stream=True):
            if step.status == STEPS[0].step:
                break  # the engine pulls; an order that is taken back at once is never begun
        async with asyncio.timeout(WAIT_S):
            await engine.pulls_closed.acquire()


async def test_moving_models_takes_a_key_that_may(gateway: Gateway) -> None:
    key = await gateway.new_key(KeyPlan("guest"))
    async with an_app(gateway, key) as app:
        for ask in (app.pull("new"), app.delete("tiny"), app.copy("tiny", "copy")):
            with pytest.raises(ollama.ResponseError, match="models:write") as caught:
                await ask
            assert caught.value.status_code == 403


async def test_a_model_is_deleted_on_every_spoke_that_has_it(gateway: Gateway) -> None:
    engines = FakeEngine(KNOWN, VECTORS), FakeEngine(KNOWN)
    async with gateway.spoke(engines[0]), gateway.spoke(engines[1], "attic"), an_app(gateway) as app:
        assert (await app.delete("tiny")).status == "success"
        listed = [model.model for model in (await app.list()).models]
        with pytest.raises(ollama.ResponseError, match="no spoke has 'tiny:latest'") as caught:
            await app.delete("tiny:latest")
    assert (listed, caught.value.status_code) == (["vectors:latest"], 404)
    assert [[model.name for model in await engine.models()] for engine in engines] == [["vectors"], []]


@pytest.mark.parametrize("field", ["name", "model"])
async def test_a_delete_takes_both_names_of_the_field_and_says_nothing(gateway: Gateway, field: str) -> None:
    async with gateway.spoke(FakeEngine(KNOWN)):
        response = await gateway.http.request("DELETE", "/api/delete", json={field: "tiny:latest"})
    assert (response.status_code, response.content) == (200, b"")


async def test_a_model_that_answers_is_not_deleted(gateway: Gateway) -> None:
    engine = FakeEngine(KNOWN, script=["a", Gate()])
    async with gateway.spoke(engine), an_app(gateway) as app:
        async for _ in await app.chat("tiny", HELLO, stream=True):
            with pytest.raises(ollama.ResponseError, match="in use on den") as caught:
                await app.delete("tiny")
            break
    assert caught.value.status_code == 409
    assert [model.name for model in await engine.models()] == ["tiny"]


@pytest.mark.parametrize("name", ["gpt-4o-mini", "gpt-4o-mini:latest", "auto"])
async def test_a_name_that_only_stands_for_a_model_deletes_nothing(gateway: Gateway, name: str) -> None:
    engine = FakeEngine(KNOWN)
    async with gateway.spoke(engine), an_app(gateway) as app:
        with pytest.raises(ollama.ResponseError, match="stands for") as caught:
            await app.delete(name)
    assert (caught.value.status_code, len(await engine.models())) == (400, 1)


async def test_a_key_deletes_no_more_than_it_may_ask(gateway: Gateway) -> None:
    plan = KeyPlan("narrow", models=("vec*",), scopes=frozenset({"models:write"}))
    key = await gateway.new_key(plan)
    async with gateway.spoke(FakeEngine(KNOWN, VECTORS)), an_app(gateway, key) as app:
        with pytest.raises(ollama.ResponseError, match="may not ask 'tiny'") as caught:
            await app.delete("tiny")
        await app.delete("vectors")
    assert caught.value.status_code == 403


async def test_what_a_mesh_cannot_do_with_models_is_said(gateway: Gateway) -> None:
    async with an_app(gateway) as app:
        for ask in (
            app.copy("tiny", "copy"),
            app.create("new", from_="tiny"),
            app.push("tiny"),
        ):
            with pytest.raises(ollama.ResponseError, match="cannot") as caught:
                await ask
            assert caught.value.status_code == 501
    for method in ("HEAD", "POST"):
        response = await gateway.http.request(method, "/api/blobs/sha256:" + "a" * 64)
        assert response.status_code == 501
