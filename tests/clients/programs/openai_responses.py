"""OpenAI's SDK against the Responses API of a gateway: BASE_URL (without /v1) KEY MODEL. Prints one JSON object a line."""

import json
import sys

import openai

WEATHER = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}


def tell(what, **facts):
    sys.stdout.write(json.dumps({"what": what, **facts}) + "\n")


def chat(client, model):
    made = client.responses.create(model=model, input="hello", instructions="be brief", metadata={"a": "b"})
    tell(
        "chat",
        text=made.output_text,
        status=made.status,
        usage=made.usage.total_tokens,
        metadata=made.metadata,
    )


def stream(client, model):
    with client.responses.stream(model=model, input="hello") as events:
        kinds = [event.type for event in events]
        made = events.get_final_response()
    tell("stream", text=made.output_text, first=kinds[0], last=kinds[-1])


def tools(client, model):
    said = [{"role": "user", "content": "hello"}]
    with client.responses.stream(model=model, input=said, tools=[WEATHER]) as events:
        made = events.get_final_response()
    calls = [item for item in made.output if item.type == "function_call"]
    thoughts = [part.text for item in made.output if item.type == "reasoning" for part in item.content or []]
    said += [item.model_dump(exclude_none=True) for item in made.output]
    said += [{"type": "function_call_output", "call_id": call.call_id, "output": "sun"} for call in calls]
    again = client.responses.create(model=model, input=said, tools=[WEATHER])
    tell(
        "tools", calls=[[call.name, json.loads(call.arguments)] for call in calls], thoughts=thoughts,
        went_on=again.status,
    )  # fmt: skip


def errors(client, model):
    try:
        client.responses.create(model="no-such-model", input="hello")
    except openai.NotFoundError as error:
        tell("unknown model", code=error.code)
    try:
        client.responses.create(model=model, input="hello", previous_response_id="resp_1")
    except openai.APIStatusError as error:
        tell("previous response", status=error.status_code, message=error.body["message"])


if __name__ == "__main__":
    base_url, key, model = sys.argv[1:]
    client = openai.OpenAI(base_url=f"{base_url}/v1", api_key=key, max_retries=0)
    for use in (chat, stream, tools, errors):
        use(client, model)
