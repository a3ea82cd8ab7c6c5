"""What engines say, drawn: chunks of the OpenAI API and parts of Ollama's, mostly sound, and now and then not."""

from typing import Final

from tests.fuzz.draw import Draw, written

CHUNKS_MAX: Final = 10
PIECES: Final = (
    "",
    "a",
    "{}",
    '{"n"',
    ": 1}",
    "{",
    "}",
    "[]",
    "\u2028",
    "\x00",
    "null",
    "NaN",
    "1e999",
    "[" * 1100,
)
NAMES: Final = ("weather", "", "clock", "a b")
IDS: Final = ("", "call_0", "call_1", "x", "é" * 200)
REASONS: Final = ("stop", "length", "tool_calls", None, "function_call", "abort")


def chunks(draw: Draw) -> list[str]:
    """Give the chunks of one answer; most end it."""
    said: list[object] = [_chunk(draw) for _ in range(draw.byte() % CHUNKS_MAX)]
    if not draw.rarely():
        said.append({"choices": [{"delta": {}, "finish_reason": draw.one_of(REASONS[:3])}]})
    return [written(chunk) for chunk in said]


def parts(draw: Draw, *, is_chat: bool) -> list[str]:
    """Give the lines of one answer of Ollama's; most end it."""
    said = [_part(draw, is_chat=is_chat) for _ in range(draw.byte() % CHUNKS_MAX)]
    if not draw.rarely():
        said.append({**_part(draw, is_chat=is_chat), "done": True, "done_reason": draw.one_of(REASONS)})
    return [written(part) for part in said]


def _chunk(draw: Draw) -> object:
    if draw.rarely():
        return draw.json()
    chunk: dict[str, object] = {"choices": draw.many(lambda: _choice(draw), 2)}
    if draw.rarely():
        chunk["error"] = draw.json()
    if draw.byte() % 4 == 1:
        chunk["usage"] = _some(draw, {"prompt_tokens": draw.number(), "completion_tokens": draw.number()})
        chunk["timings"] = _some(draw, {"prompt_n": draw.number(), "prompt_ms": draw.number()})
    return chunk


def _choice(draw: Draw) -> object:
    delta = {
        "content": draw.one_of(PIECES),
        "reasoning_content": draw.text(),
        "reasoning": draw.text(),
        "tool_calls": draw.many(lambda: _call(draw), 3),
    }
    choice = {"delta": _some(draw, delta), "text": draw.text(), "finish_reason": draw.one_of(REASONS)}
    return _some(draw, choice)


def _call(draw: Draw) -> object:
    arguments = draw.object() if draw.rarely() else draw.one_of(PIECES)
    function = _some(draw, {"name": draw.one_of(NAMES), "arguments": arguments})
    call = {"index": draw.byte() % 4, "id": draw.one_of(IDS), "function": function}
    return _some(draw, call)


def _part(draw: Draw, *, is_chat: bool) -> dict[str, object]:
    counts = {"prompt_eval_count": draw.number(), "eval_count": draw.number(), "eval_duration": draw.number()}
    head = {"model": "m", "done": False, **(_some(draw, counts) if draw.flag() else {})}
    if draw.rarely():
        head["error"] = draw.json()
    if not is_chat:
        return {**head, "response": draw.text()}
    message: dict[str, object] = {"role": "assistant", "content": draw.text(), "thinking": draw.text()}
    if draw.flag():
        message["tool_calls"] = draw.many(lambda: _ollama_call(draw), 3)
    return {**head, "message": message}


def _ollama_call(draw: Draw) -> object:
    arguments = draw.json() if draw.rarely() else draw.object()
    return {"function": _some(draw, {"name": draw.one_of(NAMES), "arguments": arguments})}


def _some(draw: Draw, fields: dict[str, object]) -> dict[str, object]:
    """Leave some fields out, and let some be null or what they must not be."""
    there: dict[str, object] = {}
    for name, value in fields.items():
        match draw.byte() % 16:
            case 0:
                pass
            case 1:
                there[name] = None
            case 2:
                there[name] = draw.json()
            case _:
                there[name] = value
    return there
