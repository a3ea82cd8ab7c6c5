"""Whatever is sent to a route of Ollama's dialect: what comes back is of its shape, and never our fault."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubspoke.errors import Unsupported
from hubspoke.types import Capability, PullStep
from tests.fakes.engine import FakeEngine, a_model
from tests.gateway.ollama_apps import PNG_BASE64

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from tests.gateway.conftest import Gateway

TEXTS = st.sampled_from(["", "tiny", "json", "user", "low", "0s", "5m", PNG_BASE64]) | st.text(max_size=20)
NUMBERS = st.integers() | st.floats() | st.sampled_from([0, 1, -1, 2**31, 2**32, 2**63, 2**64, 1e300])
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
PICTURES = st.lists(st.just(PNG_BASE64), max_size=2)


def some(**fields: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    """Give objects that have some of *fields*."""
    return st.fixed_dictionaries({}, optional=fields)


OPTIONS = some(
    num_predict=st.integers(-2, 100) | NUMBERS,
    temperature=st.floats(0, 2) | NUMBERS,
    top_k=st.integers(0, 100) | NUMBERS,
    top_p=st.floats(0.1, 1) | NUMBERS,
    min_p=st.floats(0, 1) | NUMBERS,
    seed=st.integers(-1, 2**31) | NUMBERS,
    stop=TEXTS | st.lists(TEXTS, max_size=3),
    repeat_penalty=st.floats(0.5, 2) | NUMBERS,
    presence_penalty=st.floats(0, 1) | NUMBERS,
    mirostat=st.just(0) | NUMBERS,
    num_ctx=NUMBERS,
)
CALL = st.fixed_dictionaries(
    {
        "function": st.fixed_dictionaries(
            {"name": st.just("weather"), "arguments": st.dictionaries(TEXTS, ANYTHING, max_size=2)}
        )
    },
    optional={"id": TEXTS},
)
TURNS = st.one_of(
    st.fixed_dictionaries({"role": st.just("user"), "content": TEXTS}, optional={"images": PICTURES}),
    st.fixed_dictionaries({"role": st.just("system"), "content": TEXTS}),
    st.fixed_dictionaries(
        {"role": st.just("assistant")},
        optional={"content": TEXTS, "thinking": TEXTS, "tool_calls": st.lists(CALL, max_size=2)},
    ),
    st.fixed_dictionaries(
        {"role": st.just("tool"), "content": TEXTS},
        optional={"tool_name": st.just("weather") | TEXTS, "tool_call_id": TEXTS},
    ),
)
TOOLS = st.lists(
    st.fixed_dictionaries(
        {
            "function": some(
                name=st.just("weather"), description=TEXTS, parameters=st.dictionaries(TEXTS, ANYTHING)
            )
        }
    ),
    max_size=1,
)
COMMON = {
    "options": OPTIONS,
    "format": st.sampled_from(["", "json", {"type": "object"}]),
    "think": st.sampled_from([True, False, "low"]),
    "keep_alive": NUMBERS | TEXTS,
    "stream": st.booleans(),
}
USUAL: dict[str, dict[str, st.SearchStrategy[object]]] = {
    "/api/chat": {**COMMON, "messages": st.lists(TURNS, max_size=4), "tools": TOOLS},
    "/api/generate": {
        **COMMON,
        "prompt": TEXTS,
        "system": TEXTS,
        "images": PICTURES,
        "raw": st.booleans(),
        "context": st.lists(st.integers(), max_size=1),
    },
    "/api/embed": {
        "input": TEXTS | st.lists(TEXTS, max_size=3),
        "dimensions": NUMBERS,
        "truncate": st.booleans(),
    },
    "/api/embeddings": {"prompt": TEXTS},
    "/api/show": {"verbose": st.booleans()},
    "/api/pull": {"stream": st.booleans(), "insecure": st.booleans()},
    "/api/delete": {},
    "/api/create": {"from": TEXTS},
    "/api/copy": {"source": TEXTS, "destination": TEXTS},
    "/api/push": {},
    "/api/blobs/sha256:abc": {},
}
"""What clients send to each route, for the most part as it has to be."""


def asks(path: str) -> st.SearchStrategy[tuple[str, object]]:
    """Give bodies for *path*: usual ones, ones with a field that holds anything, and anything."""
    named = {"model": st.just("new" if path in {"/api/pull", "/api/delete"} else "tiny")}
    usual = st.fixed_dictionaries(named, optional=USUAL[path])
    fields = st.sampled_from(["model", "name", *USUAL[path]])
    spoilt = st.builds(lambda body, field, value: {**body, field: value}, usual, fields, ANYTHING)
    return st.tuples(st.just(path), usual | spoilt | ANYTHING)


def check(response: httpx.Response) -> None:
    assert response.status_code < 500 or response.status_code == 501, response.text
    told = [json.loads(line) for line in response.text.splitlines()]
    if response.status_code >= 400:
        (error,) = told
        assert isinstance(error["error"], str)
        assert set(error) == {"error", "hubspoke"}
    else:
        assert told or response.request.method == "DELETE"
        assert all(isinstance(line, dict) and "error" not in line for line in told), told


class Keeper(FakeEngine):
    """Deletes what was pulled, and no more: every example needs the model that was there."""

    async def delete(self, model: str) -> None:
        if model == "tiny":
            raise Unsupported("it is not the spoke's to delete")
        await super().delete(model)


@pytest.fixture
async def asked(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway with a spoke that can do everything. All examples share it: what one leaves must not hurt the next."""
    engine = Keeper(a_model(capabilities=frozenset(Capability)))
    engine.pull_steps = [PullStep("pulling manifest")]
    async with gateway.spoke(engine):
        yield gateway.http


# One gateway for all examples is what is meant: what one of them leaves behind must not hurt the next.
@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ask=st.sampled_from(sorted(USUAL)).flatmap(asks))
async def test_any_json_gets_an_answer_or_an_error_of_the_dialect(
    asked: httpx.AsyncClient, ask: tuple[str, object]
) -> None:
    path, body = ask
    method = "DELETE" if path == "/api/delete" else "POST"
    check(await asked.request(method, path, content=json.dumps(body)))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(sorted(USUAL)), body=st.binary(max_size=20))
async def test_any_bytes_get_an_error_of_the_dialect(
    asked: httpx.AsyncClient, path: str, body: bytes
) -> None:
    method = "DELETE" if path == "/api/delete" else "POST"
    check(await asked.request(method, path, content=body))
