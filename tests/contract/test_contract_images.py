"""What engine adapters promise of images, checked on a real engine with a real model and eyes that make no sense."""

import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from hubspoke.errors import InvalidRequest
from hubspoke.types import Capability, FinishReason, Image, Message, Request, Speaker
from spoke.engines.openai.engine import OpenAiEngine
from spoke.models.store import ModelStore
from spoke.platform import here
from tests.contract.bench import GREEDY, REVERSE, Bench, answered, ask, begun, chat, described, renamed
from tests.contract.conftest import CONFIGURED, PLAN, an_embedded_engine, an_openai_server
from tests.fakes.gguf import projector
from tests.fakes.images import png

TINY_EMBEDDING_LENGTH = 128
PATCHES = 4


def look(*images: bytes) -> Request:
    turn = Message(Speaker.USER, "hello", images=tuple(Image(image) for image in images))
    return Request("m", messages=(turn,), sampling=GREEDY)


@pytest.fixture(params=["embedded", "openai"])
async def seer(request: pytest.FixtureRequest, store: ModelStore, tmp_path: Path) -> AsyncIterator[Bench]:
    """Give a bench whose model is loaded and sees."""
    (tmp_path / "model.gguf").write_bytes(renamed("tiny", "seer"))
    (tmp_path / "model.mmproj.gguf").write_bytes(projector(TINY_EMBEDDING_LENGTH))
    if request.param == "embedded":
        engine = an_embedded_engine(store, here())
        await engine.load("seer", PLAN.context_tokens)
        yield Bench(engine, engine, "seer")
        await engine.aclose()
    else:
        async with an_openai_server(store, "seer") as (_, endpoint):
            outside = OpenAiEngine("vllm", endpoint, PLAN, CONFIGURED)
            yield Bench(outside, outside, "seer")
            await outside.aclose()


async def test_a_model_with_eyes_is_listed_as_seeing(seer: Bench):
    assert Capability.VISION in (await described(seer.engine, seer.model)).capabilities


async def test_images_are_seen_before_the_text(seer: Bench):
    blind = await answered(seer.engine, seer.model, chat("hello"))
    one = await answered(seer.engine, seer.model, look(png(8, 8)))
    two = await answered(seer.engine, seer.model, look(png(8, 8), png(20, 10)))

    assert one.finished.reason in FinishReason
    assert one.finished.usage.prompt_tokens >= blind.finished.usage.prompt_tokens + PATCHES
    assert two.finished.usage.prompt_tokens >= one.finished.usage.prompt_tokens + PATCHES


async def test_what_is_no_image_is_refused(seer: Bench):
    with pytest.raises(InvalidRequest):
        await answered(seer.engine, seer.model, look(png(8, 8)[:40]))

    assert (await ask(seer.engine, seer.model, chat(REVERSE[0])))[0] == REVERSE[1]


@pytest.mark.skipif(sys.platform == "win32", reason="puts a shell script on the path")
async def test_what_is_no_image_is_not_handed_to_a_program_on_the_path(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "model.gguf").write_bytes(renamed("tiny", "seer"))
    (tmp_path / "mmproj-model.gguf").write_bytes(projector(TINY_EMBEDDING_LENGTH))
    for program in ("ffprobe", "ffmpeg"):
        (tmp_path / program).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    engine = an_embedded_engine(store, here())
    await engine.load("seer", PLAN.context_tokens)

    with pytest.raises(InvalidRequest):
        await answered(engine, "seer", look(png(8, 8)[:40]))
    await engine.aclose()

    assert not (tmp_path / "ran").exists()


async def test_closing_an_answer_about_an_image_frees_its_slot(seer: Bench):
    for _ in range(2 * seer.slots):
        async with aclosing(await begun(seer.engine, seer.model, look(png(64, 64)))):
            pass

    assert (await ask(seer.engine, seer.model, chat(REVERSE[0])))[0] == REVERSE[1]
