"""Requests as servers of the OpenAI HTTP API want them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from hubspoke.errors import InvalidRequest, Unsupported
from hubspoke.schemas import fault_of
from hubspoke.types import Calling, Effort
from spoke.engines.openai.dates import with_real_dates
from spoke.engines.openai.turns import turns
from spoke.engines.schema_cost import ENUM_MAX, PROPERTIES_MAX, REPEATS_MAX, Intricate, refuse_large

if TYPE_CHECKING:
    from hubspoke.types import JsonFormat, Request, Sampling, Tool
    from spoke.engines.json_text import Json
    from spoke.engines.openai.dialect import Dialect

CHAT_PATH: Final = "/v1/chat/completions"
COMPLETION_PATH: Final = "/v1/completions"
SCHEMA_NAME: Final = "answer"

# 32 bits is what every server takes, and llama.cpp reads the largest of them as "any seed".
SEEDS: Final = 2**32 - 1

ECHO_CHARS_MAX: Final = 256 * 1024
"""Up to this llama.cpp is asked to tell everything: it says the whole prompt again then, in one event."""
GRAMMAR_SHARE: Final = 8
"""How much longer than a schema the grammar is at most that llama.cpp makes of it, and says too."""

_ANY_OBJECT: Final = '{"type":"object"}'
_NO_PARAMETERS: Final = '{"type":"object","properties":{}}'
_IN_CHATS: Final = "response_format"


@dataclass(frozen=True, slots=True)
class Call:
    """What to send, and where to."""

    path: str
    body: dict[str, Json]


def streamed(model: str, request: Request, dialect: Dialect) -> Call:
    """Ask *model* for a stream with the usage at its end. What the request leaves open is not mentioned.

    Raise Unsupported for what a server of that dialect has no way to be asked.
    """
    body: dict[str, Json] = {"model": model, "stream": True, "stream_options": {"include_usage": True}}
    body |= _sampling(request.sampling, dialect)
    if request.max_output_tokens:
        body["max_tokens"] = request.max_output_tokens
    if request.stop:
        body["stop"] = list(request.stop)
        if dialect.tells_stop_when_verbose and _echo_chars(request) <= ECHO_CHARS_MAX:
            body["verbose"] = True
    if not request.messages:
        return Call(COMPLETION_PATH, body | {"prompt": request.prompt} | _prompt_format(request, dialect))
    body["messages"] = turns(request.messages, dialect)
    if request.format is not None:
        body[_IN_CHATS] = _format(request.format, dialect)
    return Call(CHAT_PATH, body | _tools(request, dialect) | _thinking(request.thinking, dialect))


def _echo_chars(request: Request) -> int:
    """Reckon how much text of the request comes back with a verbose answer."""
    schemas = [tool.description + tool.parameters for tool in request.tools]
    if request.format is not None:
        schemas.append(request.format.schema)
    texts = [request.prompt]
    for turn in request.messages:
        texts += [turn.text, turn.thinking, *(call.arguments for call in turn.tool_calls)]
    return sum(map(len, texts)) + GRAMMAR_SHARE * sum(map(len, schemas))


def _sampling(sampling: Sampling, dialect: Dialect) -> dict[str, Json]:
    """`top_k`, `min_p` and the repeat penalty are not OpenAI's own, but common; a server that lacks them says so."""
    named: dict[str, Json] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "seed": None if sampling.seed is None else sampling.seed % SEEDS,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        dialect.repeat_penalty: sampling.repeat_penalty,
    }
    return {name: value for name, value in named.items() if value is not None}


def _format(wanted: JsonFormat, dialect: Dialect) -> dict[str, Json]:
    if not wanted.schema:
        return {"type": "json_object"}
    schema = _kept(wanted.schema, dialect)
    return {"type": "json_schema", "json_schema": {"name": SCHEMA_NAME, "schema": schema, "strict": True}}


def _prompt_format(request: Request, dialect: Dialect) -> dict[str, Json]:
    if request.format is None:
        return {}
    if not dialect.prompt_schema:
        raise Unsupported("the engine keeps to a format in conversations alone, and not after a raw prompt")
    if dialect.prompt_schema == _IN_CHATS:
        return {_IN_CHATS: _format(request.format, dialect)}
    return {dialect.prompt_schema: _kept(request.format.schema or _ANY_OBJECT, dialect)}


def _tools(request: Request, dialect: Dialect) -> dict[str, Json]:
    if not request.tools:
        return {}
    choice = request.tool_choice
    told = request.tools
    chosen: Json = choice.mode.value
    if choice.name and dialect.names_tools:
        chosen = {"type": "function", "function": {"name": choice.name}}
    elif choice.name:
        told = tuple(tool for tool in told if tool.name == choice.name)
    written: dict[str, Json] = {"tools": [_tool(tool) for tool in told], "tool_choice": chosen}
    if choice.parallel is not None and choice.mode is not Calling.NONE:
        written["parallel_tool_calls"] = choice.parallel
    return written


def _tool(tool: Tool) -> dict[str, Json]:
    function: dict[str, Json] = {"name": tool.name, "parameters": _parsed(tool.parameters or _NO_PARAMETERS)}
    if tool.description:
        function["description"] = tool.description
    return {"type": "function", "function": function}


def _thinking(effort: Effort | None, dialect: Dialect) -> dict[str, Json]:
    """Say how much to think. Templates know two names for whether at all, and take no offence at the other one."""
    if effort is None:
        return {}
    if not dialect.takes_template_kwargs:
        return {"reasoning_effort": effort.value}
    thinks = effort is not Effort.NONE
    switched: dict[str, Json] = {"chat_template_kwargs": {"enable_thinking": thinks, "thinking": thinks}}
    return {**switched, "reasoning_effort": effort.value} if thinks else switched


def _kept(schema: str, dialect: Dialect) -> Json:
    """Give *schema* in words that the server keeps to."""
    parsed = _parsed(schema)
    return with_real_dates(parsed) if dialect.wants_dates_as_patterns else parsed


def _parsed(schema: str) -> Json:
    try:
        parsed: Json = msgspec.json.decode(schema)
        refuse_large(parsed)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest("a schema of the request is no JSON") from error
    except Intricate as error:
        raise InvalidRequest(
            f"a schema of the request is too large: at most {ENUM_MAX} choices, {PROPERTIES_MAX} properties of an object "
            f"and {REPEATS_MAX} repetitions are taken"
        ) from error
    if fault := fault_of(parsed):
        raise InvalidRequest(f"a schema of the request {fault}")
    return parsed
