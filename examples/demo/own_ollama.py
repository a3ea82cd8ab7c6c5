"""The Ollama that may run on this machine: the demo lets a third spoke find it, if it is there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hubspoke.errors import EngineTimeout, EngineUnavailable, MeshError
from hubspoke.types import Capability
from spoke.engines.ollama.address import usual_address
from spoke.engines.ollama.server import OllamaServer

if TYPE_CHECKING:
    from spoke.engines.ollama.http import OllamaClient


@dataclass(frozen=True, slots=True)
class Found:
    """An Ollama that answers at *url*, and the smallest model that it can hold a conversation with."""

    url: str
    version: str
    model: str


async def find() -> Found | str:
    """Look where Ollama usually is; give a sentence that says why the demo goes on without one."""
    server = OllamaServer(usual_address(os.environ))
    try:
        version = await server.version()
        model = await _smallest(server)
    except (EngineUnavailable, EngineTimeout):
        return f"no Ollama answers at {server.url}"
    except MeshError as error:
        return f"what answers at {server.url} is not to be used: {error.message}"
    finally:
        await server.aclose()
    if not model:
        return f"the one at {server.url} has no model to ask; `ollama pull` brings one"
    return Found(server.url, version, model)


async def _smallest(server: OllamaServer) -> str:
    from spoke.engines.ollama.http import OllamaClient  # noqa: PLC0415  # only where there is an Ollama

    client = OllamaClient(server)
    for listed in sorted(await client.listed(), key=lambda model: model.size_bytes):
        if await _converses(client, listed.short):
            return listed.short
    return ""


async def _converses(client: OllamaClient, model: str) -> bool:
    return Capability.CHAT in (await client.facts(model)).capabilities
