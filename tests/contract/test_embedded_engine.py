"""What only the embedded engine has: child processes that crash, hang on, and must never be left behind."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import msgspec
import psutil
import pytest

from hubspoke.clock import SystemClock
from hubspoke.errors import EngineCrashed, EngineUnavailable, LoadFailed, ModelNotLoaded
from hubspoke.loop import run
from hubspoke.types import LoadPlan, ModelState
from spoke.engines.llamacpp.build import Build
from spoke.engines.llamacpp.crashes import CRASHES_MAX, WINDOW_S
from spoke.engines.llamacpp.engine import EmbeddedEngine
from spoke.engines.llamacpp.launch import Serve
from spoke.gpu.none import NoGpus
from spoke.models.store import SHIPPED, ModelStore
from spoke.platform import Platform, here
from tests.contract.bench import (
    CHILD,
    LONG,
    LOOPBACK,
    REVERSE,
    SOON_S,
    ask,
    begun,
    chat,
    children,
    collected,
    described,
    going_on,
)

CONTEXT_TOKENS = 2048


@dataclass(slots=True)
class Clock:
    """A clock that goes forward when told."""

    time_s: float = 0.0

    def monotonic(self) -> float:
        return self.time_s

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time_s, UTC)


def only_child() -> psutil.Process:
    (child,) = children()
    return child


def wait_until_gone(process: psutil.Process) -> None:
    """Wait for a process that is not ours to end. Whoever adopts it may take long to see that it did."""
    ends_at = time.monotonic() + SOON_S
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < ends_at


def engine_of(store: ModelStore, platform: Platform, clock: Clock | SystemClock) -> EmbeddedEngine:
    return EmbeddedEngine(
        store,
        plan=LoadPlan(2, CONTEXT_TOKENS),
        platform=platform,
        clock=clock,
        build=Build(clock),
        cards=NoGpus(),
    )


# Crashes.


async def test_a_child_that_is_killed_in_an_answer_is_a_crash_and_the_model_loads_again(
    embedded: EmbeddedEngine,
):
    await embedded.load("tiny", CONTEXT_TOKENS)
    answer = await begun(embedded, "tiny", going_on())

    only_child().kill()
    with pytest.raises(EngineCrashed):
        await collected(answer)

    assert (await described(embedded, "tiny")).state is ModelState.COLD
    with pytest.raises(ModelNotLoaded):
        await ask(embedded, "tiny", chat("hello"))
    await embedded.load("tiny", CONTEXT_TOKENS)
    assert (await ask(embedded, "tiny", chat(REVERSE[0])))[0] == REVERSE[1]


async def test_a_model_that_crashes_again_and_again_is_left_alone_for_a_while(store: ModelStore):
    clock = Clock()
    engine = engine_of(store, here(), clock)
    for _ in range(CRASHES_MAX):
        await engine.load("tiny", CONTEXT_TOKENS)
        only_child().kill()
        while (await described(engine, "tiny")).state is ModelState.LOADED:
            pass
        clock.time_s += 10

    with pytest.raises(LoadFailed, match=f"crashed {CRASHES_MAX} times"):
        await engine.load("tiny", CONTEXT_TOKENS)
    await engine.load("nano", CONTEXT_TOKENS)
    clock.time_s += WINDOW_S
    assert (await engine.load("tiny", CONTEXT_TOKENS)).slots == 2
    await engine.aclose()


async def test_an_answer_under_way_when_the_engine_stops_is_no_crash(embedded: EmbeddedEngine):
    await embedded.load("tiny", CONTEXT_TOKENS)
    answer = await begun(embedded, "tiny", going_on())

    await embedded.aclose()

    with pytest.raises(EngineUnavailable):
        # What had arrived before is still read.
        await collected(answer)


async def test_an_answer_that_starts_after_the_model_has_gone_says_so(embedded: EmbeddedEngine):
    await embedded.load("tiny", CONTEXT_TOKENS)
    answer = embedded.generate("tiny", chat("hello"))
    await embedded.unload("tiny")

    with pytest.raises(ModelNotLoaded):
        await collected(answer)


# Processes.


async def test_two_models_run_in_two_processes(embedded: EmbeddedEngine):
    await embedded.load("tiny", CONTEXT_TOKENS)
    await embedded.load("nano", CONTEXT_TOKENS)

    assert len(children()) == 2
    hello = await ask(embedded, "nano", chat("hello"))
    assert hello[0] == "Hello! I am a nano model."


async def test_unloading_ends_the_process(embedded: EmbeddedEngine):
    await embedded.load("tiny", CONTEXT_TOKENS)
    child = only_child()

    await embedded.unload("tiny")

    assert not child.is_running()


async def test_a_child_that_hangs_is_killed(embedded: EmbeddedEngine):
    await embedded.load("tiny", CONTEXT_TOKENS)
    child = only_child()
    child.suspend()

    async with asyncio.timeout(SOON_S):
        await embedded.unload("tiny")

    assert not child.is_running()


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
async def test_a_child_leaves_signals_to_the_agent(embedded: EmbeddedEngine):
    await embedded.load("tiny", CONTEXT_TOKENS)
    answer = await begun(embedded, "tiny", chat(LONG[0]))

    only_child().send_signal(signal.SIGTERM)
    only_child().send_signal(signal.SIGINT)

    assert (await collected(answer))[0] == LONG[1][1:]


@pytest.mark.skipif(sys.platform == "win32", reason="looks at a POSIX session")
async def test_a_child_is_in_a_session_of_its_own(embedded: EmbeddedEngine):
    await embedded.load("tiny", CONTEXT_TOKENS)

    assert os.getsid(only_child().pid) == only_child().pid


async def test_the_key_is_neither_in_the_arguments_nor_in_the_environment(embedded: EmbeddedEngine):
    os.environ["HUBSPOKE_JOIN_TOKEN"] = "hs1.secret"
    try:
        await embedded.load("tiny", CONTEXT_TOKENS)
    finally:
        del os.environ["HUBSPOKE_JOIN_TOKEN"]

    child = only_child()
    assert child.cmdline()[1:] == ["-P", "-m", CHILD]
    assert not [name for name in child.environ() if name.startswith("HUBSPOKE_")]


async def test_over_loopback_nobody_gets_in_without_the_key(store: ModelStore):
    engine = engine_of(store, LOOPBACK, SystemClock())
    await engine.load("tiny", CONTEXT_TOKENS)
    (listener,) = [c for c in only_child().net_connections() if c.status == psutil.CONN_LISTEN]

    async with httpx.AsyncClient(trust_env=False) as stranger:
        url = f"http://{listener.laddr.ip}:{listener.laddr.port}/v1/chat/completions"
        body = {"messages": [{"role": "user", "content": "hello"}]}
        without = await stranger.post(url, json=body)
        wrong = await stranger.post(url, json=body, headers={"Authorization": "Bearer wrong"})
    await engine.aclose()

    assert listener.laddr.ip == "127.0.0.1"
    assert (without.status_code, wrong.status_code) == (401, 401)


def modes_in(folder: Path) -> list[int]:
    return [stat.S_IMODE(entry.stat().st_mode) for entry in folder.iterdir()]


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give an empty directory for temporary files, whose path is short enough for sockets in it."""
    with tempfile.TemporaryDirectory(prefix="t") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


@pytest.mark.skipif(not here().has_unix_sockets, reason="this system has no unix sockets")
async def test_the_socket_lies_where_nobody_else_gets_and_goes_with_the_process(
    store: ModelStore, temporary: Path
):
    engine = engine_of(store, here(), SystemClock())
    await engine.load("tiny", CONTEXT_TOKENS)
    listening = only_child().net_connections("inet")
    modes = modes_in(temporary)

    await engine.aclose()

    assert (modes, listening) == ([0o700], [])
    assert modes_in(temporary) == []


@pytest.mark.skipif(not here().has_unix_sockets, reason="this system has no unix sockets")
async def test_the_socket_of_a_child_that_crashed_is_removed_too(store: ModelStore, temporary: Path):
    engine = engine_of(store, here(), SystemClock())
    await engine.load("tiny", CONTEXT_TOKENS)

    only_child().kill()
    while (await described(engine, "tiny")).state is ModelState.LOADED:
        pass
    modes = modes_in(temporary)
    await engine.aclose()

    assert modes == []


@pytest.mark.skipif(not here().has_unix_sockets, reason="this system has no unix sockets")
async def test_where_paths_are_too_long_for_a_socket_loopback_will_do(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("long" * 20)))
    engine = engine_of(store, here(), SystemClock())

    await engine.load("tiny", CONTEXT_TOKENS)

    assert (await ask(engine, "tiny", chat(REVERSE[0])))[0] == REVERSE[1]
    await engine.aclose()


@pytest.mark.skipif(sys.platform == "win32", reason="looks for zombies")
async def test_a_child_dies_with_its_agent_even_when_that_is_killed(tmp_path: Path):
    agent = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.contract.agent_to_kill", tmp_path, stdout=subprocess.PIPE
    )
    assert agent.stdout is not None
    async with asyncio.timeout(SOON_S):
        assert await agent.stdout.readline() == b"loaded\n"
    (child,) = children(agent.pid)

    agent.kill()
    await agent.communicate()

    await asyncio.to_thread(wait_until_gone, child)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the child notices once its model is loaded")
async def test_a_child_dies_with_its_agent_in_the_middle_of_a_load(tmp_path: Path):
    endless = tmp_path / "pipe.gguf"
    os.mkfifo(endless)  # to open it lasts for as long as nobody writes
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", CHILD), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    order = Serve("endless", str(endless), slots=1, context_tokens=256, threads=1, api_key="k")
    child.stdin.write(msgspec.json.encode(order) + b"\n")
    async with asyncio.timeout(SOON_S):
        while not _is_about_to_load(child.pid):  # noqa: ASYNC110  # another process sets no event of ours
            await asyncio.sleep(0)

        child.stdin.close()

        await child.communicate()
    assert child.returncode == -signal.SIGIO


def _is_about_to_load(pid: int) -> bool:
    """Whether a child has made the end of its stdin a signal, which is the last that it does before the load."""
    told = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/fdinfo/0").read_text().splitlines())
    return bool(int(told["flags"], 8) & os.O_ASYNC)


async def test_one_engine_runs_on_uvloop_as_well():
    def loop_name() -> str:
        return type(asyncio.get_running_loop()).__module__

    async def main() -> tuple[str, str]:
        with tempfile.TemporaryDirectory() as folder:
            store = ModelStore([SHIPPED], Path(folder) / "catalogue.json")
            engine = engine_of(store, here(), SystemClock())
            await engine.load("tiny", CONTEXT_TOKENS)
            text, _ = await ask(engine, "tiny", chat(REVERSE[0]))
            await engine.aclose()
            await store.aclose()
            return loop_name(), text

    name, text = await asyncio.to_thread(run, main)

    assert text == REVERSE[1]
    assert name == ("asyncio" if sys.platform == "win32" else "uvloop")


# Builds that do not run here.


async def test_a_build_that_does_not_start_is_a_fault(
    embedded: EmbeddedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "xllamacpp.py").write_text("raise ImportError('no wheel for this machine')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    info = await embedded.probe()

    assert "xllamacpp" in info.fault
    assert str(tmp_path) not in info.fault
    with pytest.raises(EngineCrashed):
        await embedded.load("tiny", CONTEXT_TOKENS)


@pytest.mark.skipif(sys.platform == "win32", reason="kills itself with a POSIX signal")
async def test_a_processor_that_is_too_old_is_a_fault(
    embedded: EmbeddedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "xllamacpp.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    assert "processor lacks instructions" in (await embedded.probe()).fault
