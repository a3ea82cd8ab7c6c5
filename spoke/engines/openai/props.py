"""What a llama-server tells of its model beside the list: what its chat template knows. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from hubspoke.types import Capability
from spoke.core.templates import knows_thinking
from spoke.engines.json_text import NOT_JSON

if TYPE_CHECKING:
    from spoke.engines.openai.models import Served

PATH: Final = "/props"


class _TemplateCapabilities(msgspec.Struct):
    supports_tools: bool
    supports_tool_calls: bool


class _Props(msgspec.Struct):
    chat_template: str
    chat_template_caps: _TemplateCapabilities


def told(served: Served, props: bytes) -> Served:
    """Add to *served* what *props* tell of it; nothing when they make no sense, as those of older servers."""
    try:
        found = msgspec.json.decode(props, type=_Props)
    except NOT_JSON:
        return served
    template = found.chat_template_caps
    # It leaves tools out in silence when its template has no place for them.
    calls = template.supports_tools and template.supports_tool_calls
    known = {
        Capability.TOOLS: calls,
        Capability.TOOL_CHOICE: calls,
        Capability.THINKING: knows_thinking(found.chat_template),
    }
    return replace(
        served,
        known=served.known | {capability for capability, is_there in known.items() if is_there},
        lacking=frozenset(capability for capability, is_there in known.items() if not is_there),
    )
