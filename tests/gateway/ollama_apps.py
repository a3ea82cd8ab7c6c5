"""Ollama's own Python client, and a model that can do all that its clients ask for."""

from __future__ import annotations

import base64
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import ollama

from hubspoke.types import Capability
from tests.fakes.engine import a_model

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.gateway.conftest import Gateway

PNG = b"\x89PNG\r\n\x1a\n" + b"a picture"
PNG_BASE64 = base64.b64encode(PNG).decode()
HELLO = [{"role": "user", "content": "hello"}]
ABLE = a_model(capabilities=frozenset(Capability) - {Capability.EMBED})
VECTORS = a_model("vectors", digest="", capabilities=frozenset({Capability.EMBED}))


@asynccontextmanager
async def an_app(gateway: Gateway, key: str | None = None) -> AsyncIterator[ollama.AsyncClient]:
    """Connect Ollama's client, with the gateway's key or another."""
    headers = {"authorization": f"Bearer {key or gateway.key}"}
    async with ollama.AsyncClient(host=gateway.url, headers=headers, trust_env=False) as app:
        yield app


def lines(text: str) -> list[dict[str, object]]:
    """Read a stream of lines, none of which is blank."""
    assert text.endswith("\n")
    return [json.loads(line) for line in text.removesuffix("\n").split("\n")]
