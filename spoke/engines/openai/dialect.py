"""How servers of the OpenAI HTTP API differ in what they take. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one kind of server calls things that the API itself has no word for, or several."""

    repeat_penalty: str
    """What the repeat penalty is called."""
    knows_sampling: bool = True
    """Whether it is known to take `top_k`, `min_p` and the repeat penalty."""
    names_tools: bool = True
    """Whether one tool can be demanded by its name; others are told of that tool alone."""
    prompt_schema: str = ""
    """What a schema for the continuation of a raw prompt is called; "response_format" is the API's own word for chats."""
    thoughts: str = ""
    """What earlier thoughts of the assistant are called; they are left out when empty."""
    tells_stop_when_verbose: bool = False
    """Whether it only tells which stop text ended an answer when it is asked to tell everything."""
    takes_template_kwargs: bool = True
    """Whether thinking is switched for the chat template, and not by the API's `reasoning_effort` alone."""
    wants_dates_as_patterns: bool = False
    """Whether it takes a `format` of dates for less than it says."""


LLAMA_CPP: Final = Dialect(
    repeat_penalty="repeat_penalty",
    names_tools=False,  # it takes a name for "auto"
    prompt_schema="json_schema",
    thoughts="reasoning_content",
    tells_stop_when_verbose=True,
    wants_dates_as_patterns=True,
)
VLLM: Final = Dialect(
    repeat_penalty="repetition_penalty", prompt_schema="response_format", thoughts="reasoning"
)
SGLANG: Final = Dialect(
    repeat_penalty="repetition_penalty", prompt_schema="response_format", thoughts="reasoning_content"
)
PLAIN: Final = Dialect(repeat_penalty="repeat_penalty", knows_sampling=False, takes_template_kwargs=False)
"""Whatever else there is."""

BY_OWNER: Final = {"llamacpp": LLAMA_CPP, "vllm": VLLM, "sglang": SGLANG}
"""By what a server says in its list of models about whose they are."""
