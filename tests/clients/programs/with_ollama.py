"""Ollama's own package for Python."""

from __future__ import annotations

import ollama
import trial


def client_with(key: str) -> ollama.Client:
    return ollama.Client(host=trial.URL, headers={"authorization": f"Bearer {key}"})


client = client_with(trial.KEY)
stranger = client_with(trial.WRONG_KEY)
narrow = client_with(trial.NARROW_KEY)


def ask(model: str = trial.MODEL, text: str = trial.CAPITAL, by: ollama.Client = client) -> str | None:
    return by.chat(model=model, messages=[{"role": "user", "content": text}]).message.content


def pieces(model: str, text: str = trial.COUNT):
    for part in client.chat(model=model, messages=[{"role": "user", "content": text}], stream=True):
        yield part.message.content


def tools() -> str:
    offered = [{"type": "function", "function": trial.WEATHER}]
    talk = [{"role": "user", "content": trial.CALL}]
    message = client.chat(model=trial.SKILLED, messages=talk, tools=offered).message
    (call,) = message.tool_calls
    found = trial.is_call(call.function.name, call.function.arguments)
    talk += [message, {"role": "tool", "tool_name": "weather", "content": "sunny"}]
    trial.said_sunny(client.chat(model=trial.SKILLED, messages=talk, tools=offered).message.content)
    return found


def json_schema() -> str:
    talk = [{"role": "user", "content": trial.JSON}]
    return trial.is_pair(client.chat(model=trial.SKILLED, messages=talk, format=trial.PAIR).message.content)


def models() -> str:
    names = [model.model for model in client.list().models]
    assert any(name.removesuffix(":latest") == trial.MODEL for name in names), names
    assert "completion" in client.show(trial.MODEL).capabilities
    return f"{len(names)} models"


def refused(status: int, call) -> str:
    return trial.refused(ollama.ResponseError, status, call)


def quota() -> str:
    ask(by=narrow)
    return refused(429, lambda: ask(by=narrow))


def cancel() -> str:
    parts = pieces(trial.ENDLESS)
    return trial.left(parts, parts.close)


trial.run(
    {
        "chat": lambda: trial.said_paris(ask()),
        "stream": lambda: trial.counted(pieces(trial.MODEL)),
        "tools": tools,
        "json_schema": json_schema,
        "embeddings": lambda: trial.are_vectors(
            client.embed(model=trial.SKILLED, input=list(trial.TEXTS)).embeddings
        ),
        "models": models,
        "unknown": lambda: refused(404, lambda: ask(trial.UNKNOWN)),
        "key": lambda: refused(401, lambda: ask(by=stranger)),
        "quota": quota,
        "cancel": cancel,
        "killed": lambda: trial.broken(ollama.ResponseError, pieces(trial.DOOMED)),
    }
)
