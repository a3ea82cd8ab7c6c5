"""Who may come in over HTTP, and what is said to who may not."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from hub.certificate import keep_gateway_fresh
from hub.config import GatewayConfig, RolesConfig
from hubspoke.admin import AdminClient
from hubspoke.types import KeyPlan, Priority
from pki.address import parse_host
from pki.identity import Role
from pki.profiles import GATEWAY_LIFETIME
from tests.fakes.clock import MovableClock
from tests.fakes.engine import FakeEngine, Gate, a_model
from tests.fakes.hub import make_mesh
from tests.gateway.conftest import a_gateway

if TYPE_CHECKING:
    from pathlib import Path

    from tests.gateway.conftest import Gateway

ASK = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}
CHAT = "/v1/chat/completions"


async def test_without_a_key_nobody_asks_and_the_answer_says_how_to_get_one(gateway: Gateway) -> None:
    for headers in ({}, {"authorization": "Bearer nonsense"}, {"x-api-key": gateway.key[:-1]}):
        async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as stranger:
            response = await stranger.post(CHAT, json=ASK, headers=headers)
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (401, "invalid_api_key")
        assert "hubspoke key create" in error["message"]


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
async def test_a_key_is_taken_from_either_header(gateway: Gateway, header: str) -> None:
    value = f"bearer {gateway.key}" if header == "authorization" else gateway.key
    async with gateway.spoke(FakeEngine(a_model())), httpx.AsyncClient(trust_env=False) as http:
        response = await http.post(gateway.url + CHAT, json=ASK, headers={header: value})
    assert response.status_code == 200


async def test_a_key_that_was_revoked_is_refused_from_then_on(gateway: Gateway) -> None:
    async with AdminClient(gateway.hub.admin.directory) as admin:
        assert (await gateway.http.get("/v1/models")).status_code == 200
        await admin.revoke_key("tests")
        assert (await gateway.http.get("/v1/models")).status_code == 401


async def test_on_the_loopback_no_key_is_needed_where_that_is_configured(tmp_path: Path) -> None:
    async with (
        a_gateway(tmp_path, GatewayConfig(port=0, keyless=True)) as gateway,
        httpx.AsyncClient(base_url=gateway.url, trust_env=False) as anybody,
    ):
        assert (await anybody.get("/v1/models")).status_code == 200
        wrong = await anybody.get("/v1/models", headers={"authorization": "Bearer wrong"})
        assert wrong.status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 400),
        ({"host": "["}, 400),
        ({"host": ""}, 400),
        ({"host": "localhost:1"}, 200),
        ({"host": "192.168.1.20:7445"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"host": "localhost:1", "origin": "http://localhost:1"}, 200),
        ({"host": "localhost:1", "origin": "http://localhost:2"}, 403),
        ({"x-hubspoke-hop": "1"}, 508),
    ],
)
async def test_a_web_page_or_a_mesh_does_not_come_in(
    gateway: Gateway, headers: dict[str, str], status: int
) -> None:
    response = await gateway.http.get("/v1/models", headers=headers)
    assert response.status_code == status
    assert response.headers["x-hubspoke-mesh"] == "hubspoke.internal"


async def test_a_page_that_is_named_may_ask_from_a_browser(tmp_path: Path) -> None:
    page = "https://chat.example.net"
    settings = GatewayConfig(port=0, origins=("https://Chat.example.net/",))
    async with a_gateway(tmp_path, settings) as gateway:
        preflight = {"origin": page, "access-control-request-method": "POST"}
        allowed = await gateway.http.options(CHAT, headers=preflight)
        refused = await gateway.http.options(CHAT, headers=preflight | {"origin": "https://evil.example"})
        answer = await gateway.http.get("/v1/models", headers={"origin": page})
    assert allowed.headers["access-control-allow-origin"] == page
    assert "access-control-allow-origin" not in refused.headers
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, page)
    assert answer.headers["access-control-expose-headers"] == "*"


async def test_a_key_asks_only_the_models_that_it_names(gateway: Gateway) -> None:
    key = await gateway.new_key(KeyPlan("narrow", models=("other",)))
    async with gateway.spoke(FakeEngine(a_model())):
        response = await gateway.http.post(CHAT, json=ASK, headers={"authorization": f"Bearer {key}"})
    assert (response.status_code, response.json()["error"]["type"]) == (403, "permission_error")


async def test_a_key_for_a_model_is_good_for_the_names_that_stand_for_it(tmp_path: Path) -> None:
    settings = GatewayConfig(port=0, aliases={"gpt-4o-mini": "tiny", "gpt-4o": "large"})
    roles = RolesConfig(orchestrator=("none-has-it", "tiny"))
    async with a_gateway(tmp_path, settings, roles) as gateway:
        key = await gateway.new_key(KeyPlan("narrow", models=("tiny",)))
        headers = {"authorization": f"Bearer {key}"}
        engine = FakeEngine(a_model("large", slots=2, digest="sha256:" + "b" * 64), a_model("tiny", slots=2))
        async with gateway.spoke(engine):
            asked = {}
            for name in ("tiny", "gpt-4o-mini", "orchestrator", "auto", "large", "gpt-4o"):
                response = await gateway.http.post(CHAT, json=ASK | {"model": name}, headers=headers)
                asked[name] = (response.status_code, response.headers.get("x-hubspoke-model"))
            listed = [model["id"] for model in (await gateway.http.get("/v1/models")).json()["data"]]
    good = (200, "tiny")
    assert {name: asked[name] for name in ("tiny", "gpt-4o-mini", "orchestrator", "auto")} == dict.fromkeys(
        ("tiny", "gpt-4o-mini", "orchestrator", "auto"), good
    )
    assert {asked[name][0] for name in ("large", "gpt-4o")} == {403}
    assert {"gpt-4o-mini", "orchestrator"} <= set(listed)


async def test_what_a_key_may_not_ask_is_not_listed_for_it(tmp_path: Path) -> None:
    settings = GatewayConfig(port=0, aliases={"small": "tiny", "big": "large", "any": "auto"})
    async with a_gateway(tmp_path, settings, RolesConfig(orchestrator=("large", "tiny"))) as gateway:
        narrow = {"authorization": f"Bearer {await gateway.new_key(KeyPlan('narrow', models=('tiny',)))}"}
        roles = {"authorization": f"Bearer {await gateway.new_key(KeyPlan('roles', models=('orch*',)))}"}
        other = a_model("large", digest="sha256:" + "b" * 64)
        seen = {}
        async with gateway.spoke(FakeEngine(other, a_model("tiny"))):
            for who, headers in (("all", {}), ("narrow", narrow), ("roles", roles)):
                openai = (await gateway.http.get("/v1/models", headers=headers)).json()["data"]
                version = {**headers, "anthropic-version": "2023-06-01"}
                anthropic = (await gateway.http.get("/v1/models", headers=version)).json()["data"]
                tags = (await gateway.http.get("/api/tags", headers=headers)).json()["models"]
                loaded = (await gateway.http.get("/api/ps", headers=headers)).json()["models"]
                names = {model["id"] for model in openai}
                assert {model["id"] for model in anthropic} == names
                assert {model["name"].removesuffix(":latest") for model in tags} == names
                seen[who] = names, {model["name"] for model in loaded}
            shown = [
                (await gateway.http.get("/v1/models/large", headers=narrow)).status_code,
                (await gateway.http.get("/v1/models/any", headers=narrow)).json()["spokes"],
                (await gateway.http.post("/api/show", json={"model": "large"}, headers=narrow)).status_code,
                (await gateway.http.post("/api/show", json={"model": "tiny"}, headers=narrow)).status_code,
            ]
    assert seen == {
        "all": (
            {"tiny", "large", "small", "big", "any", "orchestrator"},
            {"tiny:latest", "large:latest"},
        ),
        "narrow": ({"tiny", "small", "any"}, {"tiny:latest"}),
        "roles": ({"orchestrator"}, set()),
    }
    assert shown == [403, ["den"], 403, 200]


async def test_a_role_that_a_second_choice_plays_says_whom_it_stands_in_for(tmp_path: Path) -> None:
    settings = GatewayConfig(port=0, aliases={"gpt-4o": "tiny"})
    roles = RolesConfig(orchestrator=("large", "tiny"))
    async with a_gateway(tmp_path, settings, roles) as gateway:
        engines = FakeEngine(a_model()), FakeEngine(a_model("large", digest="sha256:" + "b" * 64))

        async def told(model: str) -> str | None:
            response = await gateway.http.post(CHAT, json=ASK | {"model": model})
            assert response.status_code == 200
            return response.headers.get("x-hubspoke-degraded-from")

        async with gateway.spoke(engines[0]):
            assert [await told(name) for name in ("orchestrator", "gpt-4o", "tiny", "auto")] == [
                "large",
                None,
                None,
                None,
            ]
            async with gateway.spoke(engines[1], "attic"):
                assert await told("orchestrator") is None


async def test_a_rate_that_is_used_up_is_told_with_when_to_come_back(gateway: Gateway) -> None:
    key = await gateway.new_key(KeyPlan("slow", requests_per_minute=1))
    headers = {"authorization": f"Bearer {key}"}
    async with gateway.spoke(FakeEngine(a_model())):
        began_at = time.monotonic()
        first = await gateway.http.post(CHAT, json=ASK, headers=headers)
        second = await gateway.http.post(CHAT, json=ASK, headers=headers)
        took_s = time.monotonic() - began_at
    assert (first.status_code, first.headers["x-ratelimit-remaining-requests"]) == (200, "0")
    assert (second.status_code, second.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert 59 - took_s <= int(second.headers["retry-after"]) <= 60
    assert "x-should-retry" not in second.headers


async def test_tokens_are_metered_and_a_day_that_is_used_up_is_told(gateway: Gateway) -> None:
    key = await gateway.new_key(KeyPlan("small", tokens_per_day=9))
    headers = {"authorization": f"Bearer {key}"}
    async with gateway.spoke(FakeEngine(a_model())), AdminClient(gateway.hub.admin.directory) as admin:
        assert (await gateway.http.post(CHAT, json=ASK, headers=headers)).status_code == 200
        refused = await gateway.http.post(CHAT, json=ASK | {"stream": True}, headers=headers)
        (info,) = [key for key in await admin.keys() if key.plan.name == "small"]
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")
    assert refused.headers["x-should-retry"] == "false"
    assert 1 <= int(refused.headers["retry-after"]) <= 86_400
    (usage,) = info.usage
    assert (usage.model, usage.requests, usage.prompt_tokens, usage.output_tokens) == ("tiny", 1, 7, 2)


async def test_a_batch_key_lets_others_go_first(gateway: Gateway) -> None:
    key = await gateway.new_key(KeyPlan("night", priority=Priority.BATCH))
    engine = FakeEngine(a_model(slots=1), script=["a", gate := Gate(), "b"])
    async with gateway.spoke(engine, slots=1), asyncio.TaskGroup() as group:
        headers = {"authorization": f"Bearer {key}"}
        tasks = [group.create_task(gateway.http.post(CHAT, json=ASK, headers=headers))]
        await gate.reached.wait()
        gate.open()
        await asyncio.wait(tasks)
    assert [request.priority for request in engine.requests] == [Priority.BATCH]


async def test_more_requests_at_a_time_than_are_served_are_refused_at_once(tmp_path: Path) -> None:
    engine = FakeEngine(a_model(), script=["a", gate := Gate(), "b"])
    async with (
        a_gateway(tmp_path, GatewayConfig(port=0, requests_max=1)) as gateway,
        gateway.spoke(engine),
        asyncio.TaskGroup() as group,
    ):
        first = group.create_task(gateway.http.post(CHAT, json=ASK))
        await gate.reached.wait()
        second = await gateway.http.post(CHAT, json=ASK)
        gate.open()
    assert (first.result().status_code, second.status_code) == (200, 429)
    assert second.json()["error"]["code"] == "queue_full"


async def test_elsewhere_than_on_the_loopback_it_is_https_with_the_mesh_s_own_certificate(
    tmp_path: Path,
) -> None:
    settings = GatewayConfig(port=0, listen="0.0.0.0")
    async with a_gateway(tmp_path, settings) as gateway:
        trusted = ssl.create_default_context(cafile=gateway.hub.made.hub.anchors)
        url = f"https://localhost:{gateway.hub.ports.gateway[0]}"
        headers = {"authorization": f"Bearer {gateway.key}"}
        async with httpx.AsyncClient(base_url=url, verify=trusted, trust_env=False) as http:
            assert (await http.get("/v1/models", headers=headers)).status_code == 200
            assert (await http.get("/v1/models")).status_code == 401
        with pytest.raises(httpx.ConnectError):
            async with httpx.AsyncClient(trust_env=False) as stranger:
                await stranger.get(f"{url}/v1/models")
        with pytest.raises(httpx.RemoteProtocolError):
            async with httpx.AsyncClient(trust_env=False) as plain:
                await plain.get(url.replace("https", "http"))


async def test_nothing_older_than_tls_1_3_is_spoken(tmp_path: Path) -> None:
    async with a_gateway(tmp_path, GatewayConfig(port=0, listen="0.0.0.0")) as gateway:
        old = ssl.create_default_context(cafile=gateway.hub.made.hub.anchors)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        async with httpx.AsyncClient(verify=old, trust_env=False) as http:
            with pytest.raises(httpx.ConnectError):
                await http.get(f"https://localhost:{gateway.hub.ports.gateway[0]}/v1/models")


async def test_who_is_turned_away_is_written_down_and_not_what_they_have_shown(tmp_path: Path) -> None:
    async with a_gateway(tmp_path, GatewayConfig(port=0)) as gateway:
        for _ in range(100):
            answer = await gateway.http.get(
                "/v1/models", headers={"authorization": "Bearer hsk_secret_of_mine"}
            )
            assert answer.status_code == 401
        assert (await gateway.http.get("/v1/models", headers={"host": "evil.example"})).status_code == 400
    text = (tmp_path / "hub" / "audit.jsonl").read_text()
    assert "secret_of_mine" not in text
    lines = [line for line in map(json.loads, text.splitlines()) if line["event"] == "gateway.denied"]
    assert [line["peer"] for line in lines] == ["127.0.0.1"] * 6
    assert sum(line.get("repeats", 1) for line in lines) == 100


async def test_a_certificate_of_the_mesh_is_as_good_as_a_key(tmp_path: Path) -> None:
    settings = GatewayConfig(port=0, listen="0.0.0.0")
    async with a_gateway(tmp_path, settings) as gateway:
        url = f"https://localhost:{gateway.hub.ports.gateway[0]}/v1/models"
        for name, role, status in (("laptop", Role.APP, 200), ("den", Role.SPOKE, 403)):
            files = await gateway.hub.join(name, role)
            context = ssl.create_default_context(cafile=gateway.hub.made.hub.anchors)
            context.load_cert_chain(files.identity)
            async with httpx.AsyncClient(verify=context, trust_env=False) as http:
                assert (await http.get(url)).status_code == status


def test_the_certificate_is_renewed_at_half_of_its_life_and_learns_new_addresses(tmp_path: Path) -> None:
    files = make_mesh(tmp_path).hub
    first = files.load_gateway()
    clock = MovableClock()
    clock.move(GATEWAY_LIFETIME.total_seconds() / 4)
    keep_gateway_fresh(files, (parse_host("192.168.7.7"),), clock)
    assert files.load_gateway().chain == first.chain
    clock.move(GATEWAY_LIFETIME.total_seconds() / 2)
    keep_gateway_fresh(files, (parse_host("192.168.7.7"),), clock)
    renewed = files.load_gateway()
    assert renewed.not_after - first.not_after >= GATEWAY_LIFETIME / 2 - timedelta(seconds=1)
    assert renewed.hosts == (*first.hosts, "192.168.7.7")
