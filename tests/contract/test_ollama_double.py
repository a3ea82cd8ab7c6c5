"""The double of Ollama, asked by the real package as any program would: it must be as inconvenient as the real one."""

import ollama
import pytest

from tests.contract.bench import LONG, REVERSE
from tests.fakes.ollama import OllamaDouble


def asked(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.fixture
async def client(double: OllamaDouble):
    async with ollama.AsyncClient(double.url, trust_env=False) as made:
        yield made


async def test_it_answers_whole_or_in_pieces(client: ollama.AsyncClient):
    whole = await client.chat("tiny", asked(REVERSE[0]), options={"temperature": 0})
    pieces = [part async for part in await client.generate("tiny:latest", REVERSE[0], stream=True)]

    assert whole.message.content == REVERSE[1]
    assert (whole.done_reason, whole.prompt_eval_count > 0) == ("stop", True)
    assert [part.done for part in pieces][-2:] == [False, True]


async def test_it_loads_anew_when_the_context_differs(client: ollama.AsyncClient, double: OllamaDouble):
    for context_tokens in (512, 512, 1024):
        await client.chat("tiny", asked("hello"), options={"num_ctx": context_tokens})

    assert double.loads == [("tiny", 512), ("tiny", 1024)]


async def test_it_cuts_a_long_prompt_in_silence(client: ollama.AsyncClient):
    answer = await client.chat("tiny", asked("a" * 5000), options={"num_predict": 4})

    assert answer.done
    assert answer.prompt_eval_count < 2048


async def test_a_model_goes_when_it_is_told_to(client: ollama.AsyncClient):
    await client.chat("tiny", [], keep_alive=-1)
    (running,) = (await client.ps()).models
    unloaded = await client.chat("tiny", [], keep_alive=0)

    assert (running.model, running.context_length) == ("tiny:latest", 2048)
    assert unloaded.done_reason == "unload"
    assert (await client.ps()).models == []


async def test_it_knows_nothing_of_what_it_does_not_have(client: ollama.AsyncClient):
    with pytest.raises(ollama.ResponseError, match="model 'nope' not found"):
        await client.chat("nope", asked(LONG[0]))
    with pytest.raises(ollama.ResponseError, match="file does not exist"):
        [step async for step in await client.pull("nope", stream=True)]
    with pytest.raises(ollama.ResponseError, match="does not support embeddings"):
        await client.embed("tiny", "hello")
