"""Model files that are not what they should be, or not any more, as the embedded engine meets them."""

from pathlib import Path

import pytest

from hubspoke.clock import SystemClock
from hubspoke.errors import LoadFailed, UnknownModel
from hubspoke.types import Capability, LoadPlan, ModelState
from spoke.engines.llamacpp.build import Build
from spoke.engines.llamacpp.engine import EmbeddedEngine
from spoke.gpu.none import NoGpus
from spoke.models.store import ModelStore
from spoke.platform import here
from tests.contract.bench import LONG, ask, begun, chat, children, collected, described, renamed
from tests.fakes.gguf import LLAMA, Typed, header, u32

CONTEXT_TOKENS = 2048


@pytest.mark.parametrize("keep", [500_000, 60_000])
async def test_a_file_that_is_cut_short_is_refused_without_naming_it(
    embedded: EmbeddedEngine, tmp_path: Path, keep: int
):
    (tmp_path / "cut.gguf").write_bytes(renamed("tiny", "torn")[:keep])

    with pytest.raises(LoadFailed) as refused:
        await embedded.load("torn", CONTEXT_TOKENS)

    assert str(tmp_path) not in refused.value.message
    assert (await described(embedded, "torn")).state is ModelState.COLD


async def test_a_sound_header_with_nonsense_behind_it_is_refused(embedded: EmbeddedEngine, tmp_path: Path):
    (tmp_path / "odd.gguf").write_bytes(header({**LLAMA, "general.name": "odd"}) + bytes(100_000))

    with pytest.raises(LoadFailed):
        await embedded.load("odd", 512)


async def test_a_file_without_a_sound_header_is_no_model(embedded: EmbeddedEngine, tmp_path: Path):
    (tmp_path / "garbage.gguf").write_bytes(b"garbage" * 1000)

    with pytest.raises(UnknownModel):
        await embedded.load("garbage", CONTEXT_TOKENS)


GENERATES = {Capability.COMPLETION, Capability.SAMPLING, Capability.JSON_SCHEMA}
TEMPLATE = "{% if tools %}{{ tools }}{% endif %}<think>{{ messages }}"


@pytest.mark.parametrize(
    ("fields", "capabilities"),
    [
        ({}, GENERATES),
        ({"tokenizer.chat_template": "{{ messages }}"}, GENERATES | {Capability.CHAT}),
        (
            {"tokenizer.chat_template": TEMPLATE},
            GENERATES | {Capability.CHAT, Capability.TOOLS, Capability.TOOL_CHOICE, Capability.THINKING},
        ),
        ({"llama.pooling_type": u32(1)}, {Capability.EMBED}),
        (
            {"llama.pooling_type": u32(1), "tokenizer.chat_template": "{{ messages }}"},
            GENERATES | {Capability.CHAT, Capability.EMBED},
        ),
    ],
    ids=["plain", "chat", "tools and thoughts", "vectors", "both"],
)
async def test_what_a_model_can_be_asked_for_is_in_its_header(
    embedded: EmbeddedEngine,
    tmp_path: Path,
    fields: dict[str, Typed | str],
    capabilities: set[Capability],
):
    plain = {name: value for name, value in LLAMA.items() if "template" not in name}
    (tmp_path / "made.gguf").write_bytes(header({**plain, "general.name": "made", **fields}))

    assert (await described(embedded, "made")).capabilities == capabilities


@pytest.mark.parametrize("name", ["made.mmproj.gguf", "mmproj-made.gguf"])
async def test_a_projector_beside_a_model_lets_it_see_and_takes_memory(
    embedded: EmbeddedEngine, tmp_path: Path, name: str
):
    model, projector = header({**LLAMA, "general.name": "seer"}), header({"general.architecture": "clip"})
    (tmp_path / "made.gguf").write_bytes(model)
    blind = await described(embedded, "seer")

    (tmp_path / name).write_bytes(projector)
    seeing = await described(embedded, "seer")

    assert seeing.capabilities - blind.capabilities == {Capability.VISION}
    assert seeing.size_bytes == len(model) + len(projector)
    assert seeing.digest == blind.digest


async def test_a_plan_larger_than_the_model_is_cut_to_the_model(store: ModelStore):
    engine = EmbeddedEngine(
        store,
        plan=LoadPlan(1, 8192),
        platform=here(),
        clock=SystemClock(),
        build=Build(SystemClock()),
        cards=NoGpus(),
    )

    assert (await described(engine, "tiny")).plan == LoadPlan(1, 2048)


async def test_contexts_are_rounded_up_as_llama_cpp_does(embedded: EmbeddedEngine):
    assert (await embedded.load("tiny", 300)).context_tokens == 512


async def test_a_model_whose_file_has_changed_is_another_model(embedded: EmbeddedEngine, tmp_path: Path):
    path = tmp_path / "mine.gguf"
    path.write_bytes(renamed("tiny", "mine"))
    await embedded.load("mine", CONTEXT_TOKENS)
    before = await described(embedded, "mine")

    path.with_suffix(".new").write_bytes(renamed("nano", "mine"))
    path.with_suffix(".new").replace(path)
    after = await described(embedded, "mine")

    assert (before.state, after.state) == (ModelState.LOADED, ModelState.COLD)
    assert before.digest != after.digest
    assert children() == []
    await embedded.load("mine", CONTEXT_TOKENS)
    assert (await ask(embedded, "mine", chat("hello")))[0] == "Hello! I am a nano model."


async def test_a_model_whose_file_has_gone_leaves_memory_when_its_answers_are_done(
    embedded: EmbeddedEngine, tmp_path: Path
):
    path = tmp_path / "mine.gguf"
    path.write_bytes(renamed("tiny", "mine"))
    await embedded.load("mine", CONTEXT_TOKENS)
    answer = await begun(embedded, "mine", chat(LONG[0]))

    path.unlink()
    names = [model.name for model in await embedded.models()]

    assert names == ["nano", "tiny"]
    assert (await collected(answer))[0] == LONG[1][1:]
    await embedded.models()
    assert children() == []
