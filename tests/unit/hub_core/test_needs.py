"""What a request wants of a model."""

import pytest

from hub.core.needs import ask_of, needs
from hubspoke.types import (
    Calling,
    Capability,
    Effort,
    EmbedRequest,
    Image,
    JsonFormat,
    Message,
    Priority,
    Request,
    Sampling,
    Speaker,
    Tool,
    ToolCall,
    ToolChoice,
)

HELLO = Message(Speaker.USER, "hello")
RESULT = Message(Speaker.TOOL, "42", tool_name="answer")
CALLED = Message(Speaker.ASSISTANT, "", tool_calls=(ToolCall("answer", "{}"),))


def a_question(*turns: Message, **given: object) -> Request:
    return Request("m", messages=turns or (HELLO,), **given)


@pytest.mark.parametrize(
    ("request_", "more"),
    [
        (a_question(), set()),
        (a_question(format=JsonFormat()), {Capability.JSON_SCHEMA}),
        (a_question(format=JsonFormat('{"type":"object"}')), {Capability.JSON_SCHEMA}),
        (a_question(tools=(Tool("f"),)), {Capability.TOOLS}),
        (a_question(tools=(Tool("f"),), tool_choice=ToolChoice(Calling.NONE)), {Capability.TOOLS}),
        (
            a_question(tools=(Tool("f"),), tool_choice=ToolChoice(Calling.REQUIRED)),
            {Capability.TOOLS, Capability.TOOL_CHOICE},
        ),
        (
            a_question(tools=(Tool("f"),), tool_choice=ToolChoice(parallel=False)),
            {Capability.TOOLS, Capability.TOOL_CHOICE},
        ),
        (a_question(tools=(Tool("f"),), tool_choice=ToolChoice(parallel=True)), {Capability.TOOLS}),
        (a_question(HELLO, CALLED, RESULT), {Capability.TOOLS}),
        (a_question(RESULT), {Capability.TOOLS}),
        (a_question(Message(Speaker.USER, "", images=(Image(b"x"),))), {Capability.VISION}),
        (a_question(thinking=Effort.LOW), {Capability.THINKING}),
        (a_question(thinking=Effort.NONE), set()),
        (a_question(sampling=Sampling(temperature=1.0, top_p=0.5, seed=1)), set()),
        (a_question(sampling=Sampling(frequency_penalty=1.0, presence_penalty=1.0)), set()),
        (a_question(sampling=Sampling(top_k=3)), {Capability.SAMPLING}),
        (a_question(sampling=Sampling(min_p=0.0)), {Capability.SAMPLING}),
        (a_question(sampling=Sampling(repeat_penalty=1.1)), {Capability.SAMPLING}),
    ],
)
def test_a_conversation_needs_what_it_uses(request_, more):
    assert needs(request_) == {Capability.CHAT} | more


def test_a_raw_prompt_needs_completion():
    assert needs(Request("m", prompt="x")) == {Capability.COMPLETION}


def test_texts_need_a_model_that_makes_vectors():
    assert needs(EmbedRequest("m", ("a",))) == {Capability.EMBED}


def test_what_shares_a_context_is_counted_together():
    turns = (HELLO, CALLED, RESULT)
    ask = ask_of(a_question(*turns, tools=(Tool("f", "does it", "{}"),)), now=1.0, timeout_s=None)
    assert ask.prompt_bytes == len("hello" + "{}" + "42" + "does it" + "{}")


def test_texts_have_a_context_each():
    ask = ask_of(
        EmbedRequest("m", ("a", "bcd", "\u00e4\u00e4"), priority=Priority.BATCH), now=1.0, timeout_s=2.0
    )
    assert (ask.prompt_bytes, ask.deadline_at, ask.priority) == (4, 3.0, Priority.BATCH)
