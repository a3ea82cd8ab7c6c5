"""The HTTP address of the demo's mesh: an app's key, and the line of curl that asks with it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httpx
import msgspec

from examples.demo.programs import Failure
from examples.demo.waiting import WAIT_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from examples.demo.questions import Question

ROUTE: Final = "/v1/chat/completions"
SERVED_BY: Final = "x-hubspoke-spoke"


@dataclass(frozen=True, slots=True)
class Asking:
    """What an app needs to ask a question over HTTP."""

    url: str
    key: str
    question: Question

    @property
    def curl(self) -> str:
        """What to type for it."""
        headers = (word for header in self._headers.items() for word in ("-H", ": ".join(header)))
        words = ("curl", "-s", self.url + ROUTE, *headers, "-d", msgspec.json.encode(self._body).decode())
        return shlex.join(words)

    async def ask(self) -> tuple[str, str]:
        """Ask, and give the answer and who gave it; raise Failure."""
        try:
            async with httpx.AsyncClient(base_url=self.url, timeout=WAIT_S, trust_env=False) as http:
                response = await http.post(ROUTE, headers=self._headers, json=self._body)
        except httpx.HTTPError as error:
            raise _failed(f"{self.url} does not answer: {error}") from error
        if not response.is_success:
            raise _failed(f"{self.url} refuses: {response.text}")
        answer = msgspec.json.decode(response.content, type=_Completion)
        return answer.choices[0].message.content, response.headers[SERVED_BY]

    @property
    def _headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    @property
    def _body(self) -> Mapping[str, object]:
        message = {"role": "user", "content": self.question.prompt}
        return {"model": self.question.model, "messages": [message]}


class _Message(msgspec.Struct):
    content: str


class _Choice(msgspec.Struct):
    message: _Message


class _Completion(msgspec.Struct):
    choices: list[_Choice]


def _failed(message: str) -> Failure:
    return Failure(message, advice="That is a defect of the gateway: please report it.")
