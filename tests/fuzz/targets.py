"""What is fuzzed, by name. Each takes any bytes, and raises only when something is wrong with our code."""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from tests.fuzz import identity
from tests.fuzz.bodies import bodies
from tests.fuzz.engines import ollama_engine, openai_engine, sse
from tests.fuzz.writers import writers

Target: TypeAlias = Callable[[bytes], None]

TARGETS: Final[Mapping[str, Target]] = {
    "writers": writers,
    "bodies": bodies,
    "sse": sse,
    "openai": openai_engine,
    "ollama": ollama_engine,
    **identity.TARGETS,
}
