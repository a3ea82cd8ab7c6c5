"""`/api/chat` and `/api/generate`. Without anything to answer, they load a model, or let go of it."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from hub.gateway.ollama import lines
from hub.gateway.ollama.bodies import (
    ChatBody,
    GenerateBody,
    chat_request,
    generate_request,
    wants_out_of_memory,
)
from hub.gateway.ollama.lines import CHAT, GENERATE, Form, Heading, LineVoice
from hub.gateway.ollama.telling import Telling
from hub.gateway.parsing import parse
from hubspoke.types import Loading, Waiting

if TYPE_CHECKING:
    from hub.gateway.access import Principal
    from hub.gateway.exchange import Exchange
    from hub.gateway.front import Front
    from hub.gateway.ollama.bodies import Asked
    from hubspoke.types import Request


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and how the answer is to look."""

    request: Request
    heading: Heading
    form: Form
    is_streamed: bool

    @staticmethod
    def of(body: Asked, request: Request, form: Form, front: Front) -> Question:
        """Give what *body*, which stands for *request*, asks now."""
        heading = Heading(body.model, front.now(), front.monotonic())
        return Question(request, heading, form, body.stream is not False)

    def voice(self, front: Front) -> LineVoice:
        """Give how the answer is told line by line."""
        return LineVoice(self.heading, self.form, front.monotonic)

    def waited_s(self, front: Front) -> float:
        """Say how long the answer is awaited already."""
        return front.monotonic() - self.heading.began_s


async def chat(front: Front, exchange: Exchange, principal: Principal) -> None:
    """Answer a conversation."""
    body = parse(await exchange.body(), ChatBody)
    question = Question.of(body, chat_request(body), CHAT, front)
    if question.request.messages:
        await _answer(front, exchange, principal, question)
    else:
        await _prepare(front, exchange, principal, question, body.keep_alive)


async def generate(front: Front, exchange: Exchange, principal: Principal) -> None:
    """Answer a prompt, or continue it when it is raw."""
    body = parse(await exchange.body(), GenerateBody)
    question = Question.of(body, generate_request(body), GENERATE, front)
    if body.prompt or body.images:
        await _answer(front, exchange, principal, question)
    else:
        await _prepare(front, exchange, principal, question, body.keep_alive)


async def _answer(front: Front, exchange: Exchange, principal: Principal, question: Question) -> None:
    if question.is_streamed:
        await front.stream(exchange, principal, question.request, question.voice(front))
        return
    answer = await front.whole(exchange, principal, question.request)
    content = lines.whole(question.heading, question.form, answer, question.waited_s(front))
    await exchange.respond(200, msgspec.json.encode(content))


async def _prepare(
    front: Front,
    exchange: Exchange,
    principal: Principal,
    question: Question,
    keep_alive: float | str | None,
) -> None:
    """Load the model, or let go of it, as far as whoever asks may do that."""
    lets_go = wants_out_of_memory(keep_alive)
    telling = Telling(exchange)
    if lets_go:
        await front.let_go(exchange, principal, question.request.model)
    else:
        await telling.follow(_load(front, exchange, principal, question, telling))
    content = lines.done(
        question.heading, question.form, "unload" if lets_go else "load", question.waited_s(front)
    )
    await telling.conclude(content)


async def _load(
    front: Front, exchange: Exchange, principal: Principal, question: Question, telling: Telling
) -> None:
    voice = question.voice(front)
    async with aclosing(front.load(exchange, principal, question.request.model)) as events:
        async for event in events:
            if isinstance(event, Loading) and question.is_streamed:
                waiting = Waiting(event.spoke, event.elapsed_s, event.expected_s)
                telling.note(voice.waiting(waiting))
