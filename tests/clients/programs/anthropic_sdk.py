"""Anthropic's SDK against a gateway: BASE_URL KEY MODEL. Prints one JSON object a line, each about one use."""

import json
import sys

import anthropic

WEATHER = {
    "name": "weather",
    "description": "Tells the weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
HELLO = [{"role": "user", "content": "hello"}]


def tell(what, **facts):
    sys.stdout.write(json.dumps({"what": what, **facts}) + "\n")


def chat(client, model):
    made = client.messages.create(model=model, max_tokens=32, messages=HELLO)
    texts = "".join(block.text for block in made.content if block.type == "text")
    tell("chat", text=texts, stop_reason=made.stop_reason, usage=made.usage.input_tokens, id=made._request_id)


def stream(client, model):
    with client.messages.stream(model=model, max_tokens=32, messages=HELLO) as events:
        kinds = [event.type for event in events]
        made = events.get_final_message()
    texts = "".join(block.text for block in made.content if block.type == "text")
    tell(
        "stream", text=texts, first=kinds[0], last=kinds[-1],
        usage=[made.usage.input_tokens, made.usage.output_tokens],
    )  # fmt: skip


def tools(client, model):
    asked = {"model": model, "max_tokens": 64, "tools": [WEATHER], "messages": [*HELLO]}
    thinking = {"type": "enabled", "budget_tokens": 1024}
    with client.messages.stream(**asked, thinking=thinking) as events:
        made = events.get_final_message()
    calls = [block for block in made.content if block.type == "tool_use"]
    thoughts = [[block.thinking, block.signature] for block in made.content if block.type == "thinking"]
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "sun"} for call in calls]
    asked["messages"] += [
        {"role": "assistant", "content": made.content},
        {"role": "user", "content": results or "go on"},
    ]
    again = client.messages.create(**asked)
    tell(
        "tools", calls=[[call.name, call.input] for call in calls], thoughts=thoughts,
        stop_reason=made.stop_reason, went_on=again.type,
    )  # fmt: skip


def errors(client, model):
    try:
        client.messages.create(model="no-such-model", max_tokens=9, messages=HELLO)
    except anthropic.NotFoundError as error:
        tell("unknown model", type=error.body["error"]["type"], request_id=error.request_id)
    try:
        with_tool = [{"type": "web_search_20250305", "name": "web_search"}]
        client.messages.create(model=model, max_tokens=9, messages=HELLO, tools=with_tool)
    except anthropic.BadRequestError as error:
        tell("server tool", type=error.body["error"]["type"])
    try:
        client.copy(api_key="hsk_wrong").messages.create(model=model, max_tokens=9, messages=HELLO)
    except anthropic.AuthenticationError as error:
        tell("wrong key", type=error.body["error"]["type"])


def count(client, model):
    tell("count_tokens", tokens=client.messages.count_tokens(model=model, messages=HELLO).input_tokens)


def models(client, model):
    tell(
        "models",
        ids=[found.id for found in client.models.list(limit=1)],
        one=client.models.retrieve(model).id,
    )


if __name__ == "__main__":
    base_url, key, model = sys.argv[1:]
    client = anthropic.Anthropic(base_url=base_url, api_key=key, max_retries=0)
    for use in (chat, stream, tools, errors, count, models):
        use(client, model)
