"""LlamaIndex, with the package for the dialect that MESH_DIALECT names: openai or ollama."""

from __future__ import annotations

import gc
import os

import ollama
import openai
import trial
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.ollama import OllamaEmbedding
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.ollama import Ollama
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

IS_OPENAI = os.environ["MESH_DIALECT"] == "openai"


class Pair(BaseModel):
    name: str
    n: int


def model_of(name: str = trial.MODEL, key: str = trial.KEY):
    if IS_OPENAI:
        return OpenAILike(
            model=name,
            api_base=f"{trial.URL}/v1",
            api_key=key,
            is_chat_model=True,
            is_function_calling_model=True,
            should_use_structured_outputs=True,
            max_retries=0,
        )
    client = ollama.Client(host=trial.URL, headers={"authorization": f"Bearer {key}"})
    return Ollama(model=name, base_url=trial.URL, client=client)


def ask(model: str = trial.MODEL, key: str = trial.KEY) -> str | None:
    return model_of(model, key).chat([ChatMessage(trial.CAPITAL)]).message.content


def pieces(model: str):
    for part in model_of(model).stream_chat([ChatMessage(trial.COUNT)]):
        yield part.delta


def weather(city: str) -> str:
    """Say what the weather is."""
    return f"sunny in {city}"


def tools() -> str:
    able = model_of(trial.SKILLED)
    offered = [FunctionTool.from_defaults(weather)]
    answer = able.chat_with_tools(offered, user_msg=trial.CALL)
    (call,) = able.get_tool_calls_from_response(answer)
    found = trial.is_call(call.tool_name, call.tool_kwargs)
    result = ChatMessage(
        role="tool", content="sunny", additional_kwargs={"tool_call_id": call.tool_id, "name": "weather"}
    )
    talk = [ChatMessage(trial.CALL), answer.message, result]
    trial.said_sunny(able.chat_with_tools(offered, chat_history=talk).message.content)
    return found


def json_schema() -> str:
    answer = model_of(trial.SKILLED).as_structured_llm(Pair).chat([ChatMessage(trial.JSON)])
    return trial.is_pair(answer.raw.model_dump())


def embeddings() -> str:
    if IS_OPENAI:
        embedder = OpenAILikeEmbedding(
            model_name=trial.SKILLED, api_base=f"{trial.URL}/v1", api_key=trial.KEY
        )
    else:
        given = {"headers": {"authorization": f"Bearer {trial.KEY}"}}
        embedder = OllamaEmbedding(model_name=trial.SKILLED, base_url=trial.URL, client_kwargs=given)
    return trial.are_vectors(embedder.get_text_embedding_batch(list(trial.TEXTS)))


def refused(status: int, kind: type[Exception], call) -> str:
    return trial.refused(kind if IS_OPENAI else ollama.ResponseError, status, call)


def quota() -> str:
    ask(key=trial.NARROW_KEY)
    return refused(429, openai.RateLimitError, lambda: ask(key=trial.NARROW_KEY))


def cancel() -> str:
    def leave() -> None:
        parts.close()
        gc.collect()  # LlamaIndex keeps a stream that was left in a cycle of references, open until then

    parts = pieces(trial.ENDLESS)
    return trial.left(parts, leave)


trial.run(
    {
        "chat": lambda: trial.said_paris(ask()),
        "stream": lambda: trial.counted(pieces(trial.MODEL)),
        "tools": tools,
        "json_schema": json_schema,
        "embeddings": embeddings,
        "unknown": lambda: refused(404, openai.NotFoundError, lambda: ask(trial.UNKNOWN)),
        "key": lambda: refused(401, openai.AuthenticationError, lambda: ask(key=trial.WRONG_KEY)),
        "quota": quota,
        "cancel": cancel,
        "killed": lambda: trial.broken((openai.APIError, ollama.ResponseError), pieces(trial.DOOMED)),
    }
)
