"""Pulls, as Ollama tells of them. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from hubspoke.errors import EngineTimeout, EngineTruncated, InvalidRequest, Unsupported
from hubspoke.types import PullStep
from spoke.engines.ollama.models import BYTES_MAX, is_of_cloud
from spoke.engines.openai.models import is_name

if TYPE_CHECKING:
    from ollama import ProgressResponse

STALL_S: Final = 600.0
"""How long a pull may get no further. Ollama tries each part again for minutes, and says nothing while it checks a file."""
LAST: Final = "success"
OTHERWISE: Final = "working"
"""The step for words that are not passed on, as they may name a path."""

_PLAIN_WORDS: Final = re.compile(r"[a-z0-9][a-z0-9 ]{0,79}")


def refuse(model: str) -> None:
    """Raise InvalidRequest for what is no name, Unsupported for a model that only runs in Ollama's cloud."""
    if not is_name(model):
        raise InvalidRequest("that is no name of a model; take one of Ollama's library, such as 'qwen3:0.6b'")
    if is_of_cloud(model):
        raise Unsupported(
            f"{model!r} runs in Ollama's cloud, and a private mesh sends nothing away; pull one that runs here"
        )


class Pull:
    """Reads the parts of one pull in order. Each is of the whole pull, or of the one layer that is on its way."""

    def __init__(self, now_s: float) -> None:
        self._step: PullStep | None = None
        self._moved_at_s = now_s
        self._is_done = False

    def read(self, part: ProgressResponse, now_s: float) -> PullStep | None:
        """Give the step that a part tells of, None when it is no news.

        Raise EngineTimeout when nothing has moved for `STALL_S`: Ollama says the same a dozen times a second.
        """
        status = part.status or ""
        self._is_done = status == LAST
        completed_bytes, total_bytes = _bytes(part.completed), _bytes(part.total)
        step = PullStep(
            status if _PLAIN_WORDS.fullmatch(status) else OTHERWISE,
            min(completed_bytes, total_bytes or completed_bytes),
            total_bytes,
        )
        if step == self._step:
            if now_s - self._moved_at_s > STALL_S:
                raise EngineTimeout(
                    f"nothing has come for {STALL_S:g} s; check that machine's network and pull again"
                )
            return None
        self._step, self._moved_at_s = step, now_s
        return step

    def finish(self) -> None:
        """Raise EngineTruncated unless the pull has come to its end."""
        if not self._is_done:
            raise EngineTruncated("Ollama broke the pull off; pull again, and it goes on from there")


def _bytes(told: int | None) -> int:
    return min(max(told or 0, 0), BYTES_MAX)
