"""LiteLLM, which speaks the dialect that MESH_DIALECT names: openai, ollama_chat or anthropic."""

from __future__ import annotations

import os

import litellm
import openai
import trial

DIALECT = os.environ["MESH_DIALECT"]
BASE = f"{trial.URL}/v1" if DIALECT == "openai" else trial.URL

litellm.suppress_debug_info = True


def complete(text: str, model: str, key: str = trial.KEY, **more: object):
    talk = more.pop("messages", [{"role": "user", "content": text}])
    return litellm.completion(
        model=f"{DIALECT}/{model}",
        messages=talk,
        api_base=BASE,
        api_key=key,
        num_retries=0,
        max_retries=0,
        **more,
    )


def ask(model: str = trial.MODEL, key: str = trial.KEY) -> str | None:
    return complete(trial.CAPITAL, model, key).choices[0].message.content


def stream(model: str):
    return complete(trial.COUNT, model, stream=True)


def pieces(chunks):
    return (choice.delta.content for chunk in chunks for choice in chunk.choices)


def tools() -> str:
    offered = [{"type": "function", "function": trial.WEATHER}]
    message = complete(trial.CALL, trial.SKILLED, tools=offered).choices[0].message
    (call,) = message.tool_calls
    found = trial.is_call(call.function.name, call.function.arguments)
    result = {"role": "tool", "tool_call_id": call.id, "name": "weather", "content": "sunny"}
    talk = [{"role": "user", "content": trial.CALL}, message.model_dump(), result]
    answer = complete("", trial.SKILLED, messages=talk, tools=offered)
    trial.said_sunny(answer.choices[0].message.content)
    return found


def json_schema() -> str:
    wanted = {"type": "json_schema", "json_schema": {"name": "pair", "schema": trial.PAIR}}
    answer = complete(trial.JSON, trial.SKILLED, response_format=wanted)
    return trial.is_pair(answer.choices[0].message.content)


def embeddings() -> str:
    kind = "ollama" if DIALECT == "ollama_chat" else DIALECT
    made = litellm.embedding(
        model=f"{kind}/{trial.SKILLED}", input=list(trial.TEXTS), api_base=BASE, api_key=trial.KEY
    )
    return trial.are_vectors([one["embedding"] for one in made.data])


def cancel() -> str:
    chunks = stream(trial.ENDLESS)
    return trial.left(pieces(chunks), chunks.completion_stream.close)


trial.run(
    {
        "chat": lambda: trial.said_paris(ask()),
        "stream": lambda: trial.counted(pieces(stream(trial.MODEL))),
        "tools": tools,
        "json_schema": json_schema,
        "embeddings": embeddings,
        "unknown": lambda: trial.raised(litellm.NotFoundError, lambda: ask(trial.UNKNOWN)),
        "key": lambda: trial.raised(litellm.AuthenticationError, lambda: ask(key=trial.WRONG_KEY)),
        "quota": lambda: trial.raised_at_the_second(
            litellm.RateLimitError, lambda: ask(key=trial.NARROW_KEY)
        ),
        "cancel": cancel,
        "killed": lambda: trial.broken(openai.APIError, pieces(stream(trial.DOOMED))),
    }
)
