"""OpenAI's own package for Python, by way of the Responses API."""

from __future__ import annotations

import openai
import trial
from trial import KEY, URL

client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
stranger = client.with_options(api_key=trial.WRONG_KEY)
narrow = client.with_options(api_key=trial.NARROW_KEY)


def ask(model: str = trial.MODEL, by: openai.OpenAI = client) -> str:
    return by.responses.create(model=model, input=trial.CAPITAL).output_text


def stream(model: str):
    return client.responses.create(model=model, input=trial.COUNT, stream=True)


def pieces(events):
    return (event.delta for event in events if event.type == "response.output_text.delta")


def tools() -> str:
    offered = [{"type": "function", **trial.WEATHER, "strict": False}]
    talk = [{"role": "user", "content": trial.CALL}]
    with client.responses.stream(model=trial.SKILLED, input=talk, tools=offered) as events:
        made = events.until_done().get_final_response()
    (call,) = (item for item in made.output if item.type == "function_call")
    found = trial.is_call(call.name, call.arguments)
    talk += [item.model_dump(exclude_none=True) for item in made.output]
    talk += [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
    trial.said_sunny(client.responses.create(model=trial.SKILLED, input=talk, tools=offered).output_text)
    return found


def json_schema() -> str:
    wanted = {"format": {"type": "json_schema", "name": "pair", "schema": trial.PAIR, "strict": True}}
    return trial.is_pair(
        client.responses.create(model=trial.SKILLED, input=trial.JSON, text=wanted).output_text
    )


def cancel() -> str:
    events = stream(trial.ENDLESS)
    return trial.left(pieces(events), events.close)


def killed() -> str:
    """The stream ends with an event that says so: OpenAI's package raises for `error` events alone."""
    last = None

    def heard():
        nonlocal last
        for last in stream(trial.DOOMED):
            if last.type == "response.output_text.delta":
                yield last.delta
        if last.type == "response.failed":
            raise RuntimeError(last.response.error.message)

    return trial.broken((openai.APIError, RuntimeError), heard())


trial.run(
    {
        "chat": lambda: trial.said_paris(ask()),
        "stream": lambda: trial.counted(pieces(stream(trial.MODEL))),
        "tools": tools,
        "json_schema": json_schema,
        "unknown": lambda: trial.raised(openai.NotFoundError, lambda: ask(trial.UNKNOWN)),
        "key": lambda: trial.raised(openai.AuthenticationError, lambda: ask(by=stranger)),
        "quota": lambda: trial.raised_at_the_second(openai.RateLimitError, lambda: ask(by=narrow)),
        "cancel": cancel,
        "killed": killed,
    }
)
