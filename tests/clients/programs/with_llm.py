"""Simon Willison's `llm`, as its command line: OpenAI's dialect by its own file of models, Ollama's by llm-ollama.

MESH_DIALECT names the dialect: openai or ollama.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import trial

IS_OPENAI = os.environ["MESH_DIALECT"] == "openai"
HOME = Path(tempfile.mkdtemp(prefix="llm-"))
LLM = str(Path(sys.executable).parent / "llm")
RUN_S_MAX = 60


def names_of_models() -> None:
    """Tell `llm` which models there are, as llm-ollama asks by itself."""
    lines = []
    for model in (trial.MODEL, trial.SKILLED, trial.UNKNOWN, trial.ENDLESS, trial.DOOMED):
        lines += [f"- model_id: mesh-{model}", f"  model_name: {model}", f'  api_base: "{trial.URL}/v1"']
        lines += ["  api_key_name: mesh", "  supports_schema: true", "  supports_tools: true"]
    (HOME / "extra-openai-models.yaml").write_text("\n".join(lines), encoding="utf-8")
    (HOME / "templates").mkdir(exist_ok=True)


def name_of(model: str) -> str:
    return f"mesh-{model}" if IS_OPENAI else f"ollama/{model}"


def environment(key: str) -> dict[str, str]:
    (HOME / "keys.json").write_text(json.dumps({"mesh": key}), encoding="utf-8")
    return {**os.environ, "LLM_USER_PATH": str(HOME), "OLLAMA_HOST": trial.URL, "OLLAMA_API_KEY": key}


def ran(*words: str, key: str = trial.KEY) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (LLM, *words),
        env=environment(key),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_S_MAX,
    )


def said(*words: str) -> str:
    done = ran(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def started(model: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        (LLM, "-m", name_of(model), trial.COUNT),
        env=environment(trial.KEY),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def refused(word: str, *, model: str = trial.MODEL, key: str = trial.KEY) -> str:
    done = ran("-m", name_of(model), trial.CAPITAL, key=key)
    assert done.returncode != 0, done.stdout
    assert word in done.stderr, done.stderr
    return done.stderr.strip().splitlines()[-1][:200]


def quota() -> str:
    assert ran("-m", name_of(trial.MODEL), trial.CAPITAL, key=trial.NARROW_KEY).returncode == 0
    return refused("429", key=trial.NARROW_KEY)


def tools() -> str:
    function = 'def weather(city: str) -> str:\n    "Say what the weather is."\n    return "sunny"\n'
    answer = said("-m", name_of(trial.SKILLED), "--functions", function, "--no-stream", trial.CALL)
    return trial.said_sunny(answer)


def json_schema() -> str:
    return trial.is_pair(said("-m", name_of(trial.SKILLED), "--schema", json.dumps(trial.PAIR), trial.JSON))


def models() -> str:
    lines = said("models", "list").splitlines()
    found = [line for line in lines if trial.MODEL in line]
    assert found, lines
    return found[0]


def cancel() -> str:
    process = started(trial.ENDLESS)
    assert process.stdout is not None
    first = process.stdout.read(3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=RUN_S_MAX)
    return f"left after {first!r}"


def killed() -> str:
    process = started(trial.DOOMED)
    assert process.stdout is not None
    assert process.stdout.read(3)
    trial.tell(feature="killed", began=True)
    _, errors = process.communicate(timeout=RUN_S_MAX)
    assert process.returncode != 0, errors
    return errors.strip().splitlines()[-1][:200]


if IS_OPENAI:
    names_of_models()
trial.run(
    {
        "chat": lambda: trial.said_paris(said("-m", name_of(trial.MODEL), "--no-stream", trial.CAPITAL)),
        "stream": lambda: trial.counted(said("-m", name_of(trial.MODEL), trial.COUNT)),
        "tools": tools,
        "json_schema": json_schema,
        "models": models,
        "unknown": lambda: refused(trial.UNKNOWN, model=trial.UNKNOWN),
        "key": lambda: refused("401", key=trial.WRONG_KEY),
        "quota": quota,
        "cancel": cancel,
        "killed": killed,
    }
)
shutil.rmtree(HOME)
