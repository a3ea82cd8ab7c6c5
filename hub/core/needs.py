"""What a request wants of a model, so that it only goes where all of it can be done."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from hub.core.types import Ask
from hubspoke.types import Calling, Capability, Effort, EmbedRequest, Request, Speaker

if TYPE_CHECKING:
    from hubspoke.types import Message, Sampling, SpokeId

Asked: TypeAlias = Request | EmbedRequest
"""Whatever a spoke can be given to do."""


def ask_of(
    request: Asked,
    *,
    now: float,
    timeout_s: float | None,
    only: SpokeId | None = None,
    excluded: frozenset[SpokeId] = frozenset(),
) -> Ask:
    """Give *request*, which has *timeout_s* left and may not run everywhere, as the scheduler sees it."""
    return Ask(
        model=request.model,
        needs=needs(request),
        prompt_bytes=_prompt_bytes(request),
        max_output_tokens=1 if isinstance(request, EmbedRequest) else request.max_output_tokens,
        priority=request.priority,
        arrived_at=now,
        deadline_at=None if timeout_s is None else now + timeout_s,
        excluded=excluded,
        only=only,
    )


def needs(request: Asked) -> frozenset[Capability]:
    """Say what a model has to be capable of for *request*."""
    if isinstance(request, EmbedRequest):
        return frozenset({Capability.EMBED})
    wanted = {Capability.CHAT if request.messages else Capability.COMPLETION}
    if request.format is not None:
        wanted.add(Capability.JSON_SCHEMA)
    if request.tools or any(_uses_tools(turn) for turn in request.messages):
        wanted.add(Capability.TOOLS)
    if request.tool_choice.mode is Calling.REQUIRED or request.tool_choice.parallel is False:
        wanted.add(Capability.TOOL_CHOICE)
    if any(turn.images for turn in request.messages):
        wanted.add(Capability.VISION)
    # A model that cannot think does as it is told when it is told not to.
    if request.thinking not in {None, Effort.NONE}:
        wanted.add(Capability.THINKING)
    if _is_beyond_openai(request.sampling):
        wanted.add(Capability.SAMPLING)
    return frozenset(wanted)


def _uses_tools(turn: Message) -> bool:
    return bool(turn.tool_calls) or turn.speaker is Speaker.TOOL


def _is_beyond_openai(sampling: Sampling) -> bool:
    return any(value is not None for value in (sampling.top_k, sampling.min_p, sampling.repeat_penalty))


def _prompt_bytes(request: Asked) -> int:
    """Count the bytes of text that share one context. What a picture comes to, only the engine knows."""
    if isinstance(request, EmbedRequest):
        return max(len(text.encode()) for text in request.inputs)
    texts = [request.prompt]
    for turn in request.messages:
        texts += [turn.text, *(call.arguments for call in turn.tool_calls)]
    for tool in request.tools:
        texts += [tool.description, tool.parameters]
    return sum(len(text.encode()) for text in texts)
