"""OpenAI's own package for Python."""

from __future__ import annotations

import openai
import trial
from trial import KEY, URL

client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
stranger = client.with_options(api_key=trial.WRONG_KEY)
narrow = client.with_options(api_key=trial.NARROW_KEY)


def ask(model: str = trial.MODEL, text: str = trial.CAPITAL, by: openai.OpenAI = client) -> str | None:
    answer = by.chat.completions.create(model=model, messages=[{"role": "user", "content": text}])
    return answer.choices[0].message.content


def stream(model: str, text: str = trial.COUNT):
    return client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}], stream=True
    )


def pieces(chunks):
    return (choice.delta.content for chunk in chunks for choice in chunk.choices)


def tools() -> str:
    offered = [{"type": "function", "function": trial.WEATHER}]
    talk = [{"role": "user", "content": trial.CALL}]
    message = (
        client.chat.completions.create(model=trial.SKILLED, messages=talk, tools=offered).choices[0].message
    )
    (call,) = message.tool_calls
    found = trial.is_call(call.function.name, call.function.arguments)
    talk += [message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    answer = client.chat.completions.create(model=trial.SKILLED, messages=talk, tools=offered)
    trial.said_sunny(answer.choices[0].message.content)
    return found


def json_schema() -> str:
    answer = client.chat.completions.create(
        model=trial.SKILLED,
        messages=[{"role": "user", "content": trial.JSON}],
        response_format={"type": "json_schema", "json_schema": {"name": "pair", "schema": trial.PAIR}},
    )
    return trial.is_pair(answer.choices[0].message.content)


def embeddings() -> str:
    made = client.embeddings.create(model=trial.SKILLED, input=list(trial.TEXTS))
    return trial.are_vectors([one.embedding for one in made.data])


def models() -> str:
    names = [model.id for model in client.models.list()]
    assert trial.MODEL in names
    assert client.models.retrieve(trial.MODEL).id == trial.MODEL
    return f"{len(names)} models"


def cancel() -> str:
    chunks = stream(trial.ENDLESS)
    return trial.left(pieces(chunks), chunks.close)


trial.run(
    {
        "chat": lambda: trial.said_paris(ask()),
        "stream": lambda: trial.counted(pieces(stream(trial.MODEL))),
        "tools": tools,
        "json_schema": json_schema,
        "embeddings": embeddings,
        "models": models,
        "unknown": lambda: trial.raised(openai.NotFoundError, lambda: ask(trial.UNKNOWN)),
        "key": lambda: trial.raised(openai.AuthenticationError, lambda: ask(by=stranger)),
        "quota": lambda: trial.raised_at_the_second(openai.RateLimitError, lambda: ask(by=narrow)),
        "cancel": cancel,
        "killed": lambda: trial.broken(openai.APIError, pieces(stream(trial.DOOMED))),
    }
)
