"""Instructor, on top of OpenAI's package, in each of its three modes."""

from __future__ import annotations

import instructor
import openai
import trial
from instructor.core import InstructorRetryException
from pydantic import BaseModel

MODES = (instructor.Mode.TOOLS, instructor.Mode.JSON, instructor.Mode.JSON_SCHEMA)


class Pair(BaseModel):
    name: str
    n: int


def ask(
    mode: instructor.Mode = instructor.Mode.TOOLS, model: str = trial.SKILLED, key: str = trial.KEY
) -> str:
    client = openai.OpenAI(base_url=f"{trial.URL}/v1", api_key=key, max_retries=0)
    pair = instructor.from_openai(client, mode=mode).create(
        model=model,
        response_model=Pair,
        messages=[{"role": "user", "content": trial.JSON}],
        max_retries=0,
    )
    return trial.is_pair(pair.model_dump())


def refused(kind: type[Exception], call) -> str:
    """Give the error of OpenAI's package, which Instructor may have wrapped."""
    error = trial.caught((kind, InstructorRetryException), call)
    assert isinstance(error, kind) or kind.__name__ in repr(error.__cause__), repr(error)
    return trial.shown(error)


def quota() -> str:
    ask(key=trial.NARROW_KEY)
    return refused(openai.RateLimitError, lambda: ask(key=trial.NARROW_KEY))


trial.run(
    {
        "tools": lambda: ask(instructor.Mode.TOOLS),
        "json_schema": lambda: ", ".join(f"{mode.name} {ask(mode)}" for mode in MODES),
        "unknown": lambda: refused(openai.NotFoundError, lambda: ask(model=trial.UNKNOWN)),
        "key": lambda: refused(openai.AuthenticationError, lambda: ask(key=trial.WRONG_KEY)),
        "quota": quota,
    }
)
