import json

import pytest

from hubspoke.types import Capability
from spoke.engines.openai.dialect import LLAMA_CPP
from spoke.engines.openai.models import Served
from spoke.engines.openai.props import told

SERVED = Served("m", 2048, LLAMA_CPP, frozenset({Capability.SAMPLING}))
CONFIGURED = frozenset({Capability.CHAT, Capability.TOOLS, Capability.TOOL_CHOICE})


def props(template: str, *, tools: bool) -> bytes:
    caps = {"supports_tools": tools, "supports_tool_calls": tools, "supports_system_role": True}
    return json.dumps({"chat_template": template, "chat_template_caps": caps, "n_ctx": 5}).encode()


def test_a_template_with_tools_and_thoughts_says_so():
    found = told(SERVED, props("<think>{{ tools }}", tools=True))

    assert found.capabilities(CONFIGURED) == CONFIGURED | {Capability.SAMPLING, Capability.THINKING}


def test_a_template_without_tools_is_believed_more_than_the_settings():
    found = told(SERVED, props("{{ messages }}", tools=False))

    assert found.capabilities(CONFIGURED) == {Capability.CHAT, Capability.SAMPLING}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"chat_template": 5}',
        b'{"chat_template_caps": {}}',
        b'{"x": ' + b"[" * 5000,
    ],
)
def test_what_makes_no_sense_tells_nothing(body: bytes):
    assert told(SERVED, body) == SERVED
