import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from hubspoke.errors import Unsupported
from spoke.models import catalogue, store
from spoke.models.store import SHIPPED, ModelStore
from tests.fakes.gguf import LLAMA, header, u32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "models"
    path.mkdir()
    return path


@asynccontextmanager
async def opened(*folders: Path) -> AsyncIterator[ModelStore]:
    models = ModelStore(folders, folders[-1].parent / "state" / "catalogue.json")
    try:
        yield models
    finally:
        await models.aclose()


async def names(*folders: Path) -> list[str]:
    async with opened(*folders) as models:
        return [model.name for model in await models.models()]


@asynccontextmanager
async def owned(folder: Path, *others: Path) -> AsyncIterator[ModelStore]:
    models = ModelStore((folder, *others), folder.parent / "state" / "catalogue.json", own=folder)
    try:
        yield models
    finally:
        await models.aclose()


async def deleted(models: ModelStore, name: str) -> list[str]:
    await models.models()
    await models.remove(await models.own_files(name))
    return [model.name for model in await models.models()]


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("*.gguf")]


def called(name: str) -> bytes:
    return header({**LLAMA, "general.name": name})


async def test_the_shipped_models_are_listed_with_the_digests_that_were_shipped():
    shipped = dict(line.split()[::-1] for line in (SHIPPED / "SHA256SUMS").read_text().splitlines())

    models = ModelStore([SHIPPED], Path(os.devnull) / "none")
    found = await models.models()
    await models.aclose()

    assert {model.path.name: model.digest for model in found} == {
        name: f"sha256:{digest}" for name, digest in shipped.items()
    }
    assert [model.name for model in found] == ["nano", "tiny"]


async def test_a_model_goes_by_the_name_that_it_gives_itself(folder: Path):
    (folder / "whatever.gguf").write_bytes(called("qwen2.5:7b"))

    assert await names(folder) == ["qwen2.5:7b"]


async def test_a_name_that_nobody_can_type_gives_way_to_the_files(folder: Path):
    (folder / "Qwen2.5 7B_Instruct.Q4_K_M.gguf").write_bytes(called("Qwen2.5 7B Instruct"))

    assert await names(folder) == ["qwen2.5-7b_instruct.q4_k_m"]


async def test_models_that_give_themselves_the_same_name_go_by_their_files(folder: Path):
    (folder / "a-q4.gguf").write_bytes(called("a"))
    (folder / "a-q8.gguf").write_bytes(header({**LLAMA, "general.name": "a", "general.file_type": u32(7)}))

    assert await names(folder) == ["a-q4", "a-q8"]


async def test_of_files_with_the_same_name_the_first_folder_wins(folder: Path, tmp_path: Path):
    other = tmp_path / "other"
    other.mkdir()
    (folder / "a.gguf").write_bytes(called("a"))
    (other / "a.gguf").write_bytes(called("a") + b"other")

    async with opened(folder, other) as models:
        (found,) = await models.models()

    assert found.path == folder / "a.gguf"


async def test_what_cannot_be_run_by_itself_is_not_listed(folder: Path):
    (folder / "garbage.gguf").write_bytes(b"garbage")
    (folder / "part.gguf").write_bytes(header({**LLAMA, "split.count": u32(2)}))
    (folder / "eyes.gguf").write_bytes(header({**LLAMA, "general.type": "mmproj"}))
    (folder / "link.gguf").symlink_to(folder / "nowhere")
    (folder / "notes.txt").write_text("not a model")

    assert await names(folder) == []


async def test_a_folder_that_is_not_there_has_no_models(tmp_path: Path):
    assert await names(tmp_path / "never-made") == []


async def test_files_that_come_and_go_are_noticed(folder: Path):
    async with opened(folder) as models:
        before = await models.models()
        (folder / "a.gguf").write_bytes(called("a"))
        (meanwhile,) = await models.models()
        (folder / "a.gguf").unlink()
        after = await models.models()

    assert (before, meanwhile.name, after) == ((), "a", ())


async def test_a_file_that_changes_gets_a_new_digest(folder: Path):
    path = folder / "a.gguf"
    async with opened(folder) as models:
        path.write_bytes(called("a"))
        (before,) = await models.models()
        path.write_bytes(called("a") + b"more")
        (after,) = await models.models()

    assert before.digest != after.digest
    assert after.digest == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


async def test_a_file_is_read_once_even_over_a_restart(folder: Path):
    path = folder / "a.gguf"
    path.write_bytes(called("a"))
    before = await names(folder)
    written = path.stat().st_mtime_ns
    path.write_bytes(called("b"))
    os.utime(
        path, ns=(written, written)
    )  # as long and as old as before: only who reads it sees the difference

    assert await names(folder) == before == ["a"]


async def test_first_looks_that_overlap_find_the_same(folder: Path):
    (folder / "a.gguf").write_bytes(called("a"))
    async with opened(folder) as models:
        found = await asyncio.gather(*(models.models() for _ in range(20)))

    assert {tuple(model.name for model in look) for look in found} == {("a",)}


async def test_a_damaged_catalogue_is_made_anew(folder: Path):
    (folder / "a.gguf").write_bytes(called("a"))
    before = await names(folder)
    (kept,) = (folder.parent / "state").iterdir()
    kept.write_text("{")

    assert await names(folder) == before
    assert len(catalogue.load(kept)) == 1


async def test_a_catalogue_of_another_version_is_not_believed(tmp_path: Path):
    path = tmp_path / "catalogue.json"
    path.write_text('{"version": 0, "files": []}')

    assert catalogue.load(path) == {}


async def test_a_large_file_is_listed_once_it_has_been_read(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store, "PATIENCE_S", 0.0)
    (folder / "a.gguf").write_bytes(called("a"))
    async with opened(folder) as models, asyncio.timeout(10):
        first = await models.models()
        while not (found := await models.models()):
            pass

    assert first == ()
    assert found[0].name == "a"


async def test_a_store_that_is_closed_stops_reading(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store, "PATIENCE_S", 0.0)
    monkeypatch.setattr(catalogue, "CHUNK_BYTES", 1)
    (folder / "a.gguf").write_bytes(called("a") + bytes(20_000_000))
    models = ModelStore([folder], folder.parent / "catalogue.json")
    await models.models()

    async with asyncio.timeout(5):
        await models.aclose()

    assert not (folder.parent / "catalogue.json").exists()


async def test_a_state_directory_that_cannot_be_written_costs_only_the_memory(folder: Path):
    shutil.copy(SHIPPED / "nano-q8_0.gguf", folder)
    models = ModelStore([folder], Path(os.devnull) / "catalogue.json")

    (found,) = await models.models()
    await models.aclose()

    assert found.name == "nano"


# Deleting.


async def test_a_model_is_deleted_with_its_copies_and_what_lets_it_see(folder: Path):
    for name in ("a", "copy"):
        (folder / f"{name}.gguf").write_bytes(called("a"))
    (folder / "a.mmproj.gguf").write_bytes(header({"general.architecture": "clip"}))
    (folder / "b.gguf").write_bytes(called("b"))

    async with owned(folder) as models:
        assert await deleted(models, "a") == ["b"]

    assert files(folder) == ["b.gguf"]


async def test_of_a_link_only_the_link_is_deleted(folder: Path, tmp_path: Path):
    (tmp_path / "weights.gguf").write_bytes(called("a"))
    (folder / "a.gguf").symlink_to(tmp_path / "weights.gguf")

    async with owned(folder) as models:
        assert await deleted(models, "a") == []

    assert (files(tmp_path), files(folder)) == (["weights.gguf"], [])


async def test_a_folder_that_the_spoke_was_pointed_to_is_left_alone(folder: Path, tmp_path: Path):
    (folder / "a.gguf").write_bytes(called("a"))
    link = tmp_path / "link"
    link.symlink_to(folder)

    for make in (opened(folder), owned(link)):
        async with make as models:
            with pytest.raises(Unsupported, match="pointed to"):
                await deleted(models, "a")
    assert (folder / "a.gguf").exists()


async def test_a_model_with_a_copy_elsewhere_is_not_half_deleted(folder: Path, tmp_path: Path):
    other = tmp_path / "other"
    other.mkdir()
    for place in (folder, other):
        (place / "a.gguf").write_bytes(called("a"))

    async with owned(folder, other) as models:
        with pytest.raises(Unsupported):
            await deleted(models, "a")
    assert (folder / "a.gguf").exists()


async def test_what_came_with_hubspoke_stays(tmp_path: Path):
    models = ModelStore([SHIPPED], tmp_path / "catalogue.json", own=SHIPPED)
    async with aclosing(models):
        with pytest.raises(Unsupported, match="came with"):
            await deleted(models, "tiny")


async def test_what_the_machine_does_not_let_go_of_is_said_without_a_path(folder: Path):
    (folder / "a.gguf").mkdir()

    async with owned(folder) as models:
        with pytest.raises(Unsupported, match="its log") as refused:
            await models.remove([folder / "a.gguf"])
    assert str(folder) not in refused.value.message
