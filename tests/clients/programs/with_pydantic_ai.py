"""Pydantic AI, on top of the package for the dialect that MESH_DIALECT names: openai or anthropic."""

from __future__ import annotations

import asyncio
import os

import anthropic
import openai
import trial
from pydantic import BaseModel
from pydantic_ai import Agent, ModelHTTPError, NativeOutput
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

IS_OPENAI = os.environ["MESH_DIALECT"] == "openai"


class Pair(BaseModel):
    name: str
    n: int


def model_of(name: str = trial.MODEL, key: str = trial.KEY):
    if IS_OPENAI:
        client = openai.AsyncOpenAI(base_url=f"{trial.URL}/v1", api_key=key, max_retries=0)
        return OpenAIChatModel(name, provider=OpenAIProvider(openai_client=client))
    claude = anthropic.AsyncAnthropic(base_url=trial.URL, api_key=key, max_retries=0)
    return AnthropicModel(name, provider=AnthropicProvider(anthropic_client=claude))


def ask(model: str = trial.MODEL, key: str = trial.KEY) -> str:
    return Agent(model_of(model, key)).run_sync(trial.CAPITAL).output


async def texts(model: str, begun=None, *, is_all: bool = True) -> list[str]:
    heard: list[str] = []
    async with Agent(model_of(model)).run_stream(trial.COUNT) as answer:
        async for piece in answer.stream_text(delta=True, debounce_by=None):
            if begun is not None and not heard:
                begun()
            heard.append(piece)
            if not is_all:
                break
    return heard


def tools() -> str:
    calls: list[str] = []
    agent = Agent(model_of(trial.SKILLED))

    @agent.tool_plain
    def weather(city: str) -> str:
        """Say what the weather is."""
        calls.append(city)
        return "sunny"

    trial.said_sunny(agent.run_sync(trial.CALL).output)
    return trial.is_call("weather", {"city": calls[0]})


def json_schema() -> str:
    native = Agent(model_of(trial.SKILLED), output_type=NativeOutput(Pair)) if IS_OPENAI else None
    by_tool = Agent(model_of(trial.SKILLED), output_type=Pair)
    found = [
        trial.is_pair(agent.run_sync(trial.JSON).output.model_dump()) for agent in (native, by_tool) if agent
    ]
    return ", ".join(found)


def refused(status: int, call) -> str:
    return trial.refused(ModelHTTPError, status, call)


def quota() -> str:
    ask(key=trial.NARROW_KEY)
    return refused(429, lambda: ask(key=trial.NARROW_KEY))


def killed() -> str:
    def begun() -> None:
        trial.tell(feature="killed", began=True)

    try:
        heard = asyncio.run(texts(trial.DOOMED, begun))
    except (openai.APIError, anthropic.APIError, ModelHTTPError) as error:
        return trial.shown(error)
    raise AssertionError(f"the stream ended as if {heard!r} were all of it")


trial.run(
    {
        "chat": lambda: trial.said_paris(ask()),
        "stream": lambda: trial.counted(asyncio.run(texts(trial.MODEL))),
        "tools": tools,
        "json_schema": json_schema,
        "unknown": lambda: refused(404, lambda: ask(trial.UNKNOWN)),
        "key": lambda: refused(401, lambda: ask(key=trial.WRONG_KEY)),
        "quota": quota,
        "cancel": lambda: f"left after {asyncio.run(texts(trial.ENDLESS, is_all=False))}",
        "killed": killed,
    }
)
