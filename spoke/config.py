"""The agent's settings: section `[spoke]` of hubspoke.toml, overruled by HUBSPOKE_SPOKE_* in the environment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from msgspec import Meta
from msgspec.structs import force_setattr

from hubspoke.config import Settings
from hubspoke.errors import InvalidRequest
from hubspoke.types import Capability, LoadPlan
from pki.address import Address, parse_address
from pki.errors import BadAddress

if TYPE_CHECKING:
    from collections.abc import Mapping

AUTO: Final = "auto"
OFF: Final = "off"
OWN_ENGINES: Final = frozenset({"embedded", "ollama"})
"""Names that no other engine of a spoke may have."""


class OpenAiServer(Settings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An outside server of the OpenAI HTTP API, as a table `[[spoke.openai]]`."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
    """The engine's name on this spoke: lower-case letters, digits and hyphens; neither "embedded" nor "ollama"."""
    url: Annotated[str, Meta(pattern=r"^https?://[^\s/@?#]+[^\s@?#]*$")]
    """Where it is, with or without "/v1": "http://127.0.0.1:8000". Over https the system's authorities are trusted."""
    key_file: str = ""
    """File that holds the server's API key, and nothing else. The key itself is never written here."""
    key_env: str = ""
    """Environment variable that holds the API key, as an alternative to `key_file`."""
    slots: Annotated[int, Meta(ge=1, le=256)] = 4
    """Requests that each of its models runs side by side; it would queue more of them where the hub cannot see it."""
    context_tokens: Annotated[int, Meta(ge=256, le=1 << 27)] = 32_768
    """Context of a model where the server does not tell, as vLLM, SGLang and llama-server do."""

    capabilities: tuple[Capability, ...] = (
        Capability.CHAT,
        Capability.COMPLETION,
        Capability.JSON_SCHEMA,
        Capability.TOOLS,
        Capability.TOOL_CHOICE,
    )
    """What its models can be asked for: "chat", "completion", "json_schema", "tools", "tool_choice" (calls that are
    demanded), "vision", "thinking", "embed" and "sampling" (`top_k`, `min_p`, `repeat_penalty`).

    Servers do not tell, except that "sampling" is known of vLLM, SGLang and llama-server, and "vision", "thinking" and both
    of tools of a llama-server with one model. The hub refuses what is not listed, so a server whose models only make
    vectors has `["embed"]`.
    """

    @property
    def base_url(self) -> str:
        """The URL that the API's paths follow on."""
        return self.url.rstrip("/").removesuffix("/v1")

    def api_key(self, env: Mapping[str, str]) -> str:
        """Read the key, "" when none is configured; raise InvalidRequest when it cannot be had."""
        if self.key_file and self.key_env:
            raise InvalidRequest(f"engine {self.name!r} has both key_file and key_env; keep one of them")
        if not self.key_file and not self.key_env:
            return ""
        key = (_read(self.name, self.key_file) if self.key_file else env.get(self.key_env, "")).strip()
        if not key or not key.isascii() or not key.isprintable():
            raise InvalidRequest(f"engine {self.name!r}: no API key in {self.key_file or self.key_env}")
        return key


class SpokeConfig(Settings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a spoke can be told. Everything has a default that suits a machine with one card."""

    slots: Annotated[int, Meta(ge=1, le=256)] = 8
    """Requests that run side by side, over all models. Each is an open stream, which costs next to nothing while idle;
    how many of them one model takes is the model's own affair."""
    hubs: tuple[Address, ...] = ()
    """Mesh addresses of the hub, "host:port"; those that the identity came with when empty."""
    models_dir: str = ""
    """Folder with GGUF files for the embedded engine; `models` below the spoke's state when empty."""
    models: tuple[str, ...] = ()
    """Names of the models to offer, of the folder's and the shipped ones; all of them when empty."""
    context_tokens: Annotated[int, Meta(ge=256, le=1 << 20)] = 4096
    """Context of each slot of a model, unless the model was made for less."""
    model_slots: Annotated[int, Meta(ge=1, le=64)] = 4
    """Requests that one model of the embedded engine runs side by side, and never more than `slots`."""
    ollama: str = AUTO
    """Where Ollama is: "auto" looks at OLLAMA_HOST, or port 11434 of this machine, and says nothing where there is none;
    an address such as "127.0.0.1:11434" says that there is one, and that its absence is a fault; "off" does not look."""
    ollama_slots: Annotated[int, Meta(ge=1, le=64)] = 1
    """Requests that one model of Ollama runs side by side: what OLLAMA_NUM_PARALLEL says there, whose default is 1.
    Ollama does not tell, and queues what is beyond it where the hub cannot see it."""
    openai: tuple[OpenAiServer, ...] = ()
    """Outside servers of the OpenAI HTTP API (vLLM, SGLang, llama-server, LM Studio), each an engine of its own name.
    In the file alone: the environment has no way to write tables."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def plan(self) -> LoadPlan:
        """How the embedded engine loads a model: with no more slots than the spoke has, as each costs memory."""
        return LoadPlan(slots=min(self.model_slots, self.slots), context_tokens=self.context_tokens)

    def models_folder(self, state: Path) -> Path:
        """Say which folder has the GGUF files of a spoke that keeps its state in *state*."""
        return Path(self.models_dir).expanduser() if self.models_dir else state / "models"

    def __post_init__(self) -> None:
        """Parse the addresses, and refuse engines that would be taken for each other."""
        force_setattr(self, "hubs", tuple(_hub(text) for text in self.hubs))
        names = [server.name for server in self.openai]
        if clashing := {name for name in names if names.count(name) > 1 or name in OWN_ENGINES}:
            raise ValueError(
                f"two engines are called {' and '.join(sorted(clashing))}; give each its own name"
            )


def _hub(text: str) -> Address:
    try:
        return parse_address(text)
    except BadAddress as error:
        raise ValueError(f"hubs: {error}") from error


def _read(engine: str, key_file: str) -> str:
    try:
        return Path(key_file).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"engine {engine!r}: its key file cannot be read: {error}") from error
