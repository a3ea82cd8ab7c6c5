"""Which engines a spoke has, by its configuration."""

from pathlib import Path

import pytest

from hubspoke.config import load
from hubspoke.errors import InvalidRequest
from spoke.agent import outside_engines
from spoke.config import OpenAiServer, SpokeConfig
from spoke.gpu.none import NoGpus

TABLE = """
[[spoke.openai]]
name = "vllm"
url = "http://127.0.0.1:8000/v1/"
slots = 16
"""


def configured(folder: Path, text: str) -> SpokeConfig:
    file = folder / "hubspoke.toml"
    file.write_text(text)
    return load(SpokeConfig, "spoke", file, {})


async def names(config: SpokeConfig) -> list[str]:
    engines = tuple(outside_engines(config, NoGpus()))
    for engine in engines:
        await engine.aclose()
    return [engine.name for engine in engines]


async def test_ollama_is_looked_for_when_nothing_is_configured():
    assert await names(SpokeConfig()) == ["ollama"]


async def test_what_is_off_is_not_looked_for():
    assert await names(SpokeConfig(ollama="off")) == []


async def test_each_server_is_an_engine(tmp_path: Path):
    config = configured(tmp_path, TABLE + TABLE.replace("vllm", "lm-studio"))

    assert await names(config) == ["ollama", "vllm", "lm-studio"]
    assert (config.openai[0].base_url, config.openai[0].slots) == ("http://127.0.0.1:8000", 16)


@pytest.mark.parametrize(
    "text",
    [
        TABLE + TABLE,
        TABLE.replace("vllm", "ollama"),
        TABLE.replace("vllm", "embedded"),
        TABLE.replace("vllm", "My Server"),
        TABLE.replace("http://127.0.0.1:8000/v1/", "127.0.0.1:8000"),
        TABLE.replace("http://127.0.0.1", "http://me:secret@127.0.0.1"),
        TABLE.replace("slots = 16", "slots = 0"),
        TABLE.replace("slots = 16", 'api_key = "secret"'),
    ],
    ids=["twice", "ollama", "embedded", "name", "no URL", "user", "slots", "key in the file"],
)
def test_a_table_that_makes_no_sense_is_refused(tmp_path: Path, text: str):
    with pytest.raises(InvalidRequest) as refused:
        configured(tmp_path, text)

    assert "secret" not in refused.value.message


async def test_an_ollama_that_has_no_address_is_refused():
    with pytest.raises(InvalidRequest):
        await names(SpokeConfig(ollama="ftp://den"))


def server(**changes: str) -> OpenAiServer:
    return OpenAiServer(name="vllm", url="http://den:8000", **changes)


def test_a_key_is_read_from_a_file_or_the_environment(tmp_path: Path):
    (tmp_path / "key").write_text("sesame\n")

    assert server().api_key({}) == ""
    assert server(key_file=str(tmp_path / "key")).api_key({}) == "sesame"
    assert server(key_env="VLLM_KEY").api_key({"VLLM_KEY": "sesame"}) == "sesame"


@pytest.mark.parametrize("key", ["", " \n", "two\nlines", "schlüssel"])
def test_a_key_that_is_none_is_refused_and_not_repeated(tmp_path: Path, key: str):
    (tmp_path / "key").write_text(key)

    with pytest.raises(InvalidRequest) as refused:
        server(key_file=str(tmp_path / "key")).api_key({})

    assert not key.strip() or key not in refused.value.message


def test_a_key_that_cannot_be_had_is_refused(tmp_path: Path):
    with pytest.raises(InvalidRequest, match="cannot be read"):
        server(key_file=str(tmp_path / "nothing")).api_key({})
    with pytest.raises(InvalidRequest, match="VLLM_KEY"):
        server(key_env="VLLM_KEY").api_key({})
    with pytest.raises(InvalidRequest, match="one of them"):
        server(key_env="VLLM_KEY", key_file="key").api_key({})
