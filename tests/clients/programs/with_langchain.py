"""LangChain, with the package for the dialect that MESH_DIALECT names: openai or ollama."""

from __future__ import annotations

import os

import ollama
import openai
import trial
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_ollama import ChatOllama, OllamaEmbeddings
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

IS_OPENAI = os.environ["MESH_DIALECT"] == "openai"


def chat(model: str = trial.MODEL, key: str = trial.KEY):
    if IS_OPENAI:
        return ChatOpenAI(base_url=f"{trial.URL}/v1", api_key=key, model=model, max_retries=0)
    return ChatOllama(base_url=trial.URL, model=model, client_kwargs=headers(key))


def headers(key: str) -> dict[str, object]:
    return {"headers": {"authorization": f"Bearer {key}"}}


def ask(model: str = trial.MODEL, key: str = trial.KEY) -> str:
    return chat(model, key).invoke(trial.CAPITAL).text


def pieces(model: str):
    for chunk in chat(model).stream(trial.COUNT):
        yield chunk.text


def tools() -> str:
    able = chat(trial.SKILLED).bind_tools([{"type": "function", "function": trial.WEATHER}])
    asked = HumanMessage(trial.CALL)
    message = able.invoke([asked])
    (call,) = message.tool_calls
    found = trial.is_call(call["name"], call["args"])
    trial.said_sunny(able.invoke([asked, message, ToolMessage("sunny", tool_call_id=call["id"])]).text)
    return found


def json_schema() -> str:
    wanted = {"title": "pair", **trial.PAIR}
    return trial.is_pair(
        chat(trial.SKILLED).with_structured_output(wanted, method="json_schema").invoke(trial.JSON)
    )


def embeddings() -> str:
    if IS_OPENAI:
        embedder = OpenAIEmbeddings(
            base_url=f"{trial.URL}/v1",
            api_key=trial.KEY,
            model=trial.SKILLED,
            check_embedding_ctx_length=False,  # else it sends the tokens of a model of OpenAI's
        )
    else:
        embedder = OllamaEmbeddings(base_url=trial.URL, model=trial.SKILLED, client_kwargs=headers(trial.KEY))
    return trial.are_vectors(embedder.embed_documents(list(trial.TEXTS)))


def refused(status: int, kind: type[Exception], call) -> str:
    return trial.refused(kind if IS_OPENAI else ollama.ResponseError, status, call)


def quota() -> str:
    ask(key=trial.NARROW_KEY)
    return refused(429, openai.RateLimitError, lambda: ask(key=trial.NARROW_KEY))


def cancel() -> str:
    parts = pieces(trial.ENDLESS)
    return trial.left(parts, parts.close)


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
