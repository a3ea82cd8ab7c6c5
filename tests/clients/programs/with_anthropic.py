"""Anthropic's own package for Python."""

from __future__ import annotations

import json

import anthropic
import trial

client = anthropic.Anthropic(base_url=trial.URL, api_key=trial.KEY, max_retries=0)
stranger = client.with_options(api_key=trial.WRONG_KEY)
narrow = client.with_options(api_key=trial.NARROW_KEY)


def ask(model: str = trial.MODEL, text: str = trial.CAPITAL, by: anthropic.Anthropic = client) -> str:
    return text_of(
        by.messages.create(model=model, max_tokens=200, messages=[{"role": "user", "content": text}])
    )


def text_of(message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def stream(model: str, text: str = trial.COUNT):
    return client.messages.stream(model=model, max_tokens=200, messages=[{"role": "user", "content": text}])


def pieces(model: str):
    with stream(model) as events:
        yield from events.text_stream


def tools() -> str:
    offered = [{**trial.WEATHER, "input_schema": trial.WEATHER["parameters"]}]
    del offered[0]["parameters"]
    talk = [{"role": "user", "content": trial.CALL}]
    message = client.messages.create(model=trial.SKILLED, max_tokens=200, messages=talk, tools=offered)
    (call,) = (block for block in message.content if block.type == "tool_use")
    found = trial.is_call(call.name, call.input)
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    talk += [{"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
    answer = client.messages.create(model=trial.SKILLED, max_tokens=200, messages=talk, tools=offered)
    trial.said_sunny(text_of(answer))
    return found


def json_schema() -> str:
    answer = client.messages.create(
        model=trial.SKILLED,
        max_tokens=200,
        messages=[{"role": "user", "content": trial.JSON}],
        output_config={"format": {"type": "json_schema", "schema": trial.PAIR}},
    )
    return trial.is_pair(json.loads(text_of(answer)))


def models() -> str:
    names = [model.id for model in client.models.list()]
    assert trial.MODEL in names
    counted = client.messages.count_tokens(
        model=trial.MODEL, messages=[{"role": "user", "content": trial.CAPITAL}]
    )
    assert counted.input_tokens > 0
    return f"{len(names)} models"


def cancel() -> str:
    with stream(trial.ENDLESS) as events:
        return trial.left(events.text_stream, events.close)


trial.run(
    {
        "chat": lambda: trial.said_paris(ask()),
        "stream": lambda: trial.counted(pieces(trial.MODEL)),
        "tools": tools,
        "json_schema": json_schema,
        "models": models,
        "unknown": lambda: trial.raised(anthropic.NotFoundError, lambda: ask(trial.UNKNOWN)),
        "key": lambda: trial.raised(anthropic.AuthenticationError, lambda: ask(by=stranger)),
        "quota": lambda: trial.raised_at_the_second(anthropic.RateLimitError, lambda: ask(by=narrow)),
        "cancel": cancel,
        "killed": lambda: trial.broken(anthropic.APIError, pieces(trial.DOOMED)),
    }
)
