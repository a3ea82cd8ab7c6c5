"""What a chat template knows, as far as its words tell. Only llama.cpp could tell for sure, and it would have to load the model."""

from __future__ import annotations

from typing import Final

TOOL_WORDS: Final = ("tools",)
THINKING_WORDS: Final = ("<think>", "thinking", "reasoning_content", "reasoning_effort")


def knows_tools(template: str) -> bool:
    """Whether it has a place for tools."""
    return any(word in template for word in TOOL_WORDS)


def knows_thinking(template: str) -> bool:
    """Whether it has a place for thoughts, or a switch for them."""
    return any(word in template for word in THINKING_WORDS)
