"""Which clients of other vendors are run against the gateway, and what each of them is to show."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Final

from tools.vendors import NODE, NODE_PROGRAMS, REQUIREMENTS, chosen

FEATURES: Final = (
    "chat",
    "stream",
    "tools",
    "json_schema",
    "embeddings",
    "models",
    "unknown",
    "key",
    "quota",
    "cancel",
    "killed",
)
ASKING: Final = tuple(feature for feature in FEATURES if feature not in {"embeddings", "models"})
"""What whoever asks models can do."""
SHORT: Final = "openai,ollama"
"""The families that run without being asked for: both are there in seconds."""
CHOICE: Final = "CLIENTS"
"""The environment variable that names families, with commas between them: `all`, and `aider`, which is heavy."""


@dataclass(frozen=True, slots=True)
class Client:
    """One client: the *family* whose environment it runs in, the *package* whose version counts, and its program."""

    name: str
    family: str
    package: str
    program: str
    features: tuple[str, ...] = FEATURES
    dialect: str = ""
    """For a program that speaks several."""

    @property
    def version(self) -> str:
        """Give the version that is pinned."""
        if self.family == NODE:
            pinned = json.loads((NODE_PROGRAMS / "package.json").read_text(encoding="utf-8"))
            return str(pinned["dependencies"][self.package])
        text = (REQUIREMENTS / f"{self.family}.txt").read_text(encoding="utf-8")
        found = re.search(rf"^{re.escape(self.package)}==(\S+)", text, re.MULTILINE)
        assert found is not None, f"{self.family}.txt does not pin {self.package}"
        return found[1]

    @property
    def id(self) -> str:
        """Give a name that a file can have."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


def _without(*features: str) -> tuple[str, ...]:
    return tuple(feature for feature in FEATURES if feature not in features)


CLIENTS: Final = (
    Client("openai (Python)", "openai", "openai", "with_openai.py"),
    Client("openai (Python), responses", "openai", "openai", "with_openai_responses.py", ASKING),
    Client("openai (Node)", NODE, "openai", "with_openai.mjs"),
    Client("ollama (Python)", "ollama", "ollama", "with_ollama.py"),
    Client("ollama (Node)", NODE, "ollama", "with_ollama.mjs"),
    Client("anthropic (Python)", "anthropic", "anthropic", "with_anthropic.py", _without("embeddings")),
    Client("anthropic (Node)", NODE, "@anthropic-ai/sdk", "with_anthropic.mjs", _without("embeddings")),
    Client("litellm, openai/", "litellm", "litellm", "with_litellm.py", _without("models"), "openai"),
    Client(
        "litellm, ollama_chat/", "litellm", "litellm", "with_litellm.py", _without("models"), "ollama_chat"
    ),
    Client("litellm, anthropic/", "litellm", "litellm", "with_litellm.py", ASKING, "anthropic"),
    Client(
        "langchain-openai", "langchain", "langchain-openai", "with_langchain.py", _without("models"), "openai"
    ),
    Client(
        "langchain-ollama", "langchain", "langchain-ollama", "with_langchain.py", _without("models"), "ollama"
    ),
    Client(
        "llama-index, OpenAILike",
        "llama-index",
        "llama-index-llms-openai-like",
        "with_llama_index.py",
        _without("models"),
        "openai",
    ),
    Client(
        "llama-index, Ollama",
        "llama-index",
        "llama-index-llms-ollama",
        "with_llama_index.py",
        _without("models"),
        "ollama",
    ),
    Client(
        "instructor",
        "instructor",
        "instructor",
        "with_instructor.py",
        ("tools", "json_schema", "unknown", "key", "quota"),
    ),
    Client("pydantic-ai, OpenAI", "pydantic-ai", "pydantic-ai-slim", "with_pydantic_ai.py", ASKING, "openai"),
    Client(
        "pydantic-ai, Anthropic",
        "pydantic-ai",
        "pydantic-ai-slim",
        "with_pydantic_ai.py",
        ASKING,
        "anthropic",
    ),
    Client("llm", "llm", "llm", "with_llm.py", _without("embeddings"), "openai"),
    # A key that is wrong is no error to it: it finds no models then.
    Client("llm, llm-ollama", "llm", "llm-ollama", "with_llm.py", _without("embeddings", "key"), "ollama"),
    Client("aider", "aider", "aider-chat", "with_aider.py", ("chat", "stream", "unknown", "key")),
)


def families() -> list[str]:
    """Give the families that are to run now."""
    return chosen(os.environ.get(CHOICE, SHORT))


def wanted() -> list[Client]:
    """Give the clients that are to run now."""
    asked = families()
    return [client for client in CLIENTS if client.family in asked]
