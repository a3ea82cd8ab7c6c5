"""The double of Ollama, asked by the real package as any program would: it must be as inconvenient as the real one."""

import asyncio
import base64
import json
import math
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import ollama
import pytest

from spoke.models.store import SHIPPED
from tests.contract.bench import LONG, REVERSE, SOON_S
from tests.fakes.ollama import OllamaDouble

PNG = b"\x89PNG\r\n\x1a\n"
ABLE = ("completion", "tools", "vision", "thinking", "embedding")
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
GREEDY = {"temperature": 0}


def asked(text: str, **more: object) -> list[dict[str, object]]:
    return [{"role": "user", "content": text, **more}]


@pytest.fixture
async def client(double: OllamaDouble):
    async with ollama.AsyncClient(double.url, trust_env=False) as made:
        yield made


async def raw(double: OllamaDouble, method: str, path: str, body: object) -> httpx.Response:
    """Ask what the package does not, or not in this way."""
    async with httpx.AsyncClient(base_url=double.url, trust_env=False, timeout=SOON_S) as http:
        return await http.request(method, path, json=body)


# Answers.


async def test_it_answers_whole_or_in_pieces(client: ollama.AsyncClient):
    whole = await client.chat("tiny", asked(REVERSE[0]), options=GREEDY)
    pieces = [part async for part in await client.generate("tiny:latest", REVERSE[0], stream=True)]

    assert whole.message.content == REVERSE[1]
    assert (whole.done_reason, whole.prompt_eval_count > 0) == ("stop", True)
    assert [part.done for part in pieces][-2:] == [False, True]


async def test_what_says_nothing_of_a_stream_gets_one(double: OllamaDouble):
    answer = await raw(double, "POST", "/api/chat", {"model": "tiny", "messages": asked("hello")})

    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert len(lines) > 2
    assert lines[-1]["done"]


async def test_it_cuts_a_long_prompt_in_silence(client: ollama.AsyncClient):
    answer = await client.chat("tiny", asked("a" * 5000), options={"num_predict": 4})
    raw_answer = await client.generate("tiny", "a" * 5000, raw=True, options={"num_predict": 4})

    assert answer.done
    assert max(answer.prompt_eval_count, raw_answer.prompt_eval_count) < 2048


async def test_a_prompt_goes_into_the_template_unless_it_is_raw(client: ollama.AsyncClient):
    template = "<|user|>{{ .System }} {{ .Prompt }}<|end|><|assistant|>"
    filled = await client.generate("tiny", "abcde", system="reverse", template=template, options=GREEDY)
    as_it_is = await client.generate(
        "tiny", "<|user|>reverse abcde<|end|><|assistant|>ed", raw=True, options=GREEDY
    )

    assert (filled.response, as_it_is.response) == (REVERSE[1], "cba")
    with pytest.raises(ollama.ResponseError, match="raw mode does not support template"):
        await client.generate("tiny", "x", raw=True, template=template)


async def test_calls_and_thoughts_are_beside_the_text(client: ollama.AsyncClient, double: OllamaDouble):
    double.capabilities["tiny"] = ABLE
    call = {"function": {"name": "weather", "arguments": {"city": "Zürich"}}}
    double.script = [{"thinking": "Hm."}, {"content": "Let me see."}, {"tool_calls": [call]}]

    whole = await client.chat("tiny", asked("weather?"), tools=[WEATHER], think="low")
    pieces = [part async for part in await client.chat("tiny", asked("weather?"), stream=True)]

    assert (whole.message.thinking, whole.message.content) == ("Hm.", "Let me see.")
    assert whole.message.tool_calls[0].function.arguments == {"city": "Zürich"}
    assert whole.done_reason == "stop"
    assert [bool(piece.message.tool_calls) for piece in pieces] == [False, False, True, False]


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"tools": [WEATHER]}, "does not support tools"),
        ({"think": True}, '"nano" does not support thinking'),
        ({"format": 7}, "invalid format"),
        ({"think": "hard"}, "think must be"),
        ({"keep_alive": "soon"}, "invalid duration"),
        (
            {"messages": asked("what is it?", images=[base64.b64encode(PNG).decode()])},
            "image input is not supported",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_a_model_cannot_do_is_refused(double: OllamaDouble, extra: dict[str, object], said: str):
    answer = await raw(double, "POST", "/api/chat", {"model": "nano", "messages": asked("hi")} | extra)

    assert answer.status_code in {400, 500}
    assert said in answer.json()["error"]


async def test_a_model_with_eyes_takes_pictures(client: ollama.AsyncClient, double: OllamaDouble):
    double.capabilities["tiny"] = ABLE

    answer = await client.chat("tiny", asked(REVERSE[0], images=[PNG]), options=GREEDY)

    assert answer.message.content == REVERSE[1]


async def test_a_model_without_words_does_not_chat(client: ollama.AsyncClient, double: OllamaDouble):
    double.capabilities["tiny"] = ("embedding",)

    with pytest.raises(ollama.ResponseError, match="does not support chat"):
        await client.chat("tiny", asked("hello"))
    assert (await client.embed("tiny", [], keep_alive=-1)).embeddings == []
    assert [process.model for process in (await client.ps()).models] == ["tiny:latest"]


# Vectors.


async def test_texts_become_vectors_of_length_one(client: ollama.AsyncClient, double: OllamaDouble):
    double.capabilities["tiny"] = ABLE

    two = await client.embed("tiny", ["good morning", "good evening"])
    short = await client.embed("tiny", "good morning", dimensions=4)

    assert [round(math.hypot(*vector), 4) for vector in two.embeddings] == [1.0, 1.0]
    assert two.embeddings[0] != two.embeddings[1]
    assert (len(short.embeddings[0]), two.prompt_eval_count > 0) == (4, True)


async def test_a_text_that_is_too_long_is_cut_in_silence_unless_told_not_to(
    client: ollama.AsyncClient, double: OllamaDouble
):
    double.capabilities["tiny"] = ABLE

    assert (await client.embed("tiny", "a" * 5000)).prompt_eval_count <= 2048
    with pytest.raises(ollama.ResponseError, match="the input length exceeds the context length"):
        await client.embed("tiny", "a" * 5000, truncate=False)


# Memory.


async def test_it_loads_anew_when_the_context_differs(client: ollama.AsyncClient, double: OllamaDouble):
    for context_tokens in (512, 512, 1024):
        await client.chat("tiny", asked("hello"), options={"num_ctx": context_tokens})

    assert double.loads == [("tiny", 512), ("tiny", 1024)]


async def test_vectors_load_a_model_anew_that_may_not_shift(client: ollama.AsyncClient, double: OllamaDouble):
    double.capabilities["tiny"] = ABLE
    await raw(double, "POST", "/api/chat", {"model": "tiny", "shift": False})

    await client.embed("tiny", "hello")
    await client.chat("tiny", asked("hello"))

    assert len(double.loads) == 2


async def test_a_model_goes_when_it_is_told_to(client: ollama.AsyncClient, double: OllamaDouble):
    double.on_cards = 0.5
    await client.chat("tiny", [], keep_alive=-1)
    (running,) = (await client.ps()).models
    unloaded = await client.chat("tiny", [], keep_alive=0)

    assert (running.model, running.context_length) == ("tiny:latest", 2048)
    assert running.size_vram == running.size // 2
    assert unloaded.done_reason == "unload"
    assert (await client.ps()).models == []


@pytest.mark.parametrize(("told", "kept_s"), [("5m", 300), ("1h30m", 5400), (7, 7), (None, 300)])
async def test_a_model_says_until_when_it_stays(
    client: ollama.AsyncClient, told: str | int | None, kept_s: int
):
    before = datetime.now(UTC)
    await client.generate("tiny", "", keep_alive=told)
    (running,) = (await client.ps()).models

    assert timedelta(0) <= running.expires_at - before - timedelta(seconds=kept_s) < timedelta(seconds=SOON_S)


async def test_it_shows_what_a_model_can(client: ollama.AsyncClient, double: OllamaDouble):
    double.capabilities["tiny"] = ABLE

    assert (await client.show("tiny")).capabilities == list(ABLE)
    assert (await client.show("nano")).capabilities[0] == "completion"


# Coming and going.


async def test_a_pull_tells_of_its_layers(client: ollama.AsyncClient, double: OllamaDouble):
    await client.delete("tiny")
    assert [model.model for model in (await client.list()).models] == ["nano:latest"]

    steps = [step async for step in await client.pull("tiny", stream=True)]

    (weights, *small) = dict.fromkeys(step.digest for step in steps if step.digest)
    of_weights = [step.completed for step in steps if step.digest == weights]
    assert [steps[0].status, *(step.status for step in steps[-3:])] == [
        "pulling manifest", "verifying sha256 digest", "writing manifest", "success",
    ]  # fmt: skip
    assert of_weights[0] is None
    assert of_weights[1:] == sorted(of_weights[1:])
    assert (of_weights[-1] < steps[1].total, len(small)) == (True, 2)
    assert "tiny:latest" in {model.model for model in (await client.list()).models}


async def test_a_pull_goes_on_from_where_it_was_given_up(client: ollama.AsyncClient, double: OllamaDouble):
    await client.delete("tiny")
    parts = await client.pull("tiny", stream=True)
    async for step in parts:
        if step.completed:
            break
    await parts.aclose()

    again = [step async for step in await client.pull("tiny", stream=True)]

    assert again[1].completed >= step.completed
    assert (await client.pull("tiny")).status == "success"


async def test_a_copy_is_the_same_model_by_another_name(client: ollama.AsyncClient):
    await client.copy("tiny", "other:small")
    digests = {model.model: model.digest for model in (await client.list()).models}
    answer = await client.chat("other:small", asked(REVERSE[0]), options=GREEDY)
    await client.delete("other:small")

    assert digests["other:small"] == digests["tiny:latest"]
    assert answer.message.content == REVERSE[1]
    assert len((await client.list()).models) == 2


async def test_a_model_is_made_of_another_one(client: ollama.AsyncClient):
    made = await client.create("bob", from_="tiny", system="You are bob.")
    answer = await client.chat("bob", asked("who are you"), options=GREEDY)
    digests = {model.model: model.digest for model in (await client.list()).models}

    assert digests["bob:latest"] != digests["tiny:latest"]
    assert (made.status, answer.message.content) == ("success", "I am bob.")


async def test_a_model_is_made_of_an_uploaded_file(client: ollama.AsyncClient, double: OllamaDouble):
    (file,) = SHIPPED.glob("tiny*.gguf")
    digest = await client.create_blob(file)
    await client.create("uploaded", files={file.name: digest})

    assert (await raw(double, "HEAD", f"/api/blobs/{digest}", None)).status_code == 200
    assert (await raw(double, "HEAD", f"/api/blobs/sha256:{'0' * 64}", None)).status_code == 404
    assert "uploaded:latest" in {model.model for model in (await client.list()).models}


async def test_a_file_that_is_not_what_it_says_is_refused(double: OllamaDouble):
    answer = await raw(double, "POST", f"/api/blobs/sha256:{'0' * 64}", "something else")

    assert (answer.status_code, "digest mismatch" in answer.json()["error"]) == (400, True)


async def test_it_knows_nothing_of_what_it_does_not_have(client: ollama.AsyncClient):
    with pytest.raises(ollama.ResponseError, match="model 'nope' not found"):
        await client.chat("nope", asked(LONG[0]))
    with pytest.raises(ollama.ResponseError, match="file does not exist"):
        [step async for step in await client.pull("nope", stream=True)]
    with pytest.raises(ollama.ResponseError, match="model 'nope' not found"):
        await client.delete("nope")
    with pytest.raises(ollama.ResponseError, match='model "nope" not found'):
        await client.copy("nope", "other")
    with pytest.raises(ollama.ResponseError, match="does not support embeddings"):
        await client.embed("nano", "hello")


async def test_it_is_a_program_too(tmp_path: Path):
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fakes.ollama_program", str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(2 * SOON_S):
        ready, url = (await program.stdout.readline()).decode().split()
        async with ollama.AsyncClient(url, trust_env=False) as client:
            models = (await client.list()).models
        program.terminate()
        await program.communicate()

    assert ready == "ready"
    assert {model.model for model in models} == {"tiny:latest", "nano:latest"}
