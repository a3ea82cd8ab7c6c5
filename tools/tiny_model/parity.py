"""Check a shipped file in llama.cpp: `python -m tools.tiny_model.parity tiny /tmp/tiny_model`.

Prints as a Markdown table how often the file answers rightly, and how often it says the same as the
PyTorch model it came from. Thoughts and calls are compared as llama.cpp's parser hands them out. Exits with 1
where either is too seldom.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import torch

from hub.core.delegation import plans, review

from .calls import Call, Tool
from .chats import Chat, chat, earlier_turns, required
from .delegation_skills import TINY_DELEGATION_LATER
from .export import load, shipped_path
from .model import Llama
from .recipes import RECIPES, FullRecipe, Recipe
from .server import Json, Server, serve
from .skills import no_tools, word
from .tool_skills import call, toolset
from .vocabulary import Mark, Message, prompt

# Not the seed of any training, so the words are new to the model.
SEED = 4242
CASES_PER_SKILL = 50
EARLIER_TURNS = 2
ANSWER_TOKENS_MAX = 250
SCHEMAS = {"plan": plans.SCHEMA, "review": review.SCHEMA, "second review": review.SCHEMA}
SAME_SHARE_MIN = 0.98
RIGHT_SHARE_MIN = 0.95


@dataclass(frozen=True, slots=True)
class Score:
    """How many of *cases* llama.cpp answered rightly, and how many of the *texts* among them like PyTorch.

    A call is no text: llama.cpp holds the model to the declared tools, PyTorch does not.
    """

    cases: int = 0
    right: int = 0
    texts: int = 0
    same: int = 0

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.cases + other.cases,
            self.right + other.right,
            self.texts + other.texts,
            self.same + other.same,
        )

    def __str__(self) -> str:
        return f"{self.right} / {self.cases} | {self.same} / {self.texts}"

    @property
    def is_good(self) -> bool:
        """Say whether a model with this score may ship."""
        return self.right >= RIGHT_SHARE_MIN * self.cases and self.same >= SAME_SHARE_MIN * self.texts


def cases(recipe: Recipe, rng: Random) -> Iterator[tuple[str, list[Chat]]]:
    """Draw the chats to check by, each group with its name."""
    skills = tuple(recipe.skills.values())
    for name, skill in recipe.skills.items():
        for place, turns in (("first turn", 0), ("later turn", EARLIER_TURNS)):
            drawn = (chat(skill(rng), earlier_turns(skills, rng, turns)) for _ in range(CASES_PER_SKILL))
            yield f"{name}, {place}", [Chat(messages) for messages in drawn]
    if isinstance(recipe, FullRecipe):
        yield from _full_cases(recipe, rng)


def _full_cases(recipe: FullRecipe, rng: Random) -> Iterator[tuple[str, list[Chat]]]:
    skills = tuple(recipe.skills.values())
    for name, skill in recipe.skills.items():
        plain = [chat(skill(rng)) for _ in range(CASES_PER_SKILL)]
        yield f"{name}, not to think", [Chat(_thoughtless(each), may_think=False) for each in plain]
        yield f"{name}, with tools", [Chat(each, toolset(rng)) for each in plain]
    yield "no tools", [Chat(chat(no_tools(rng))) for _ in range(CASES_PER_SKILL)]
    for name, tool_skill in recipe.tool_skills.items():
        for place, turns in (("first turn", 0), ("later turn", EARLIER_TURNS)):
            toolsets = [toolset(rng) for _ in range(CASES_PER_SKILL)]
            calls = [chat(tool_skill(rng, tools), earlier_turns(skills, rng, turns)) for tools in toolsets]
            yield f"{name}, {place}", [Chat(*each) for each in zip(calls, toolsets, strict=True)]
        yield (
            f"{name}, not to think",
            [Chat(*each, may_think=False) for each in zip(calls, toolsets, strict=True)],
        )
    toolsets = [toolset(rng) for _ in range(CASES_PER_SKILL)]
    texts = [chat(required(rng.choice(skills)(rng), tools)) for tools in toolsets]
    yield "required", [Chat(*each, must_call=True) for each in zip(texts, toolsets, strict=True)]
    yield "another named", [_renamed(rng) for _ in range(CASES_PER_SKILL)]
    for name, skill in {**recipe.delegation_skills, **TINY_DELEGATION_LATER}.items():
        plain = [chat(skill(rng)) for _ in range(CASES_PER_SKILL)]
        schema = SCHEMAS[name]
        yield f"{name}, first turn", [Chat(each) for each in plain]
        yield f"{name}, as the hub asks", [Chat(each, may_think=False, schema=schema) for each in plain]


def _renamed(rng: Random) -> Chat:
    """Ask for a tool that is not declared, so that the only one that is has to do."""
    tool = toolset(rng)[0]
    asked, called, *_ = chat(call(rng, [tool]))
    other = Message(Mark.USER, asked.text.replace(tool.name, word(rng), 1))
    return Chat([other, called], (tool,), must_call=True)


def answer(server: Server, question: Chat) -> Message:
    """Let llama.cpp say its likeliest answer to *question*."""
    request: dict[str, Json] = {
        "messages": _as_openai(question.messages),
        "temperature": 0,
        "max_tokens": ANSWER_TOKENS_MAX,
        "chat_template_kwargs": {} if question.may_think else {"enable_thinking": False},
    }
    if question.schema:
        form = {"name": "answer", "schema": json.loads(question.schema), "strict": True}
        request["response_format"] = {"type": "json_schema", "json_schema": form}
    if question.tools:
        request["tools"] = [_declared(tool) for tool in question.tools]
        request["tool_choice"] = "required" if question.must_call else "auto"
    message = server.post("/v1/chat/completions", request)["choices"][0]["message"]
    calls = [each["function"] for each in message.get("tool_calls", [])]
    return Message(
        Mark.ASSISTANT,
        message["content"] or "",
        message.get("reasoning_content", ""),
        tuple(Call(each["name"], each["arguments"]) for each in calls),
    )


def _as_openai(messages: Sequence[Message]) -> list[Json]:
    """Write *messages* as the OpenAI API wants them; a result answers the call that is due."""
    written: list[Json] = []
    due: list[str] = []
    for number, message in enumerate(messages):
        if message.is_result:
            written.append({"role": "tool", "tool_call_id": due.pop(0), "content": message.text})
            continue
        said: dict[str, Json] = {"role": message.role.word, "content": message.text}
        if message.thought:
            said["reasoning_content"] = message.thought
        if message.calls:
            due = [f"{number}-{place}" for place in range(len(message.calls))]
            said["tool_calls"] = [
                {"id": name, "type": "function", "function": {"name": each.name, "arguments": each.arguments}}
                for name, each in zip(due, message.calls, strict=True)
            ]
        written.append(said)
    return written


def _declared(tool: Tool) -> Json:
    parameters = {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in tool.parameters},
        "required": [name for name, _ in tool.parameters],
    }
    return {"type": "function", "function": {"name": tool.name, "parameters": parameters}}


def _thoughtless(messages: Sequence[Message]) -> list[Message]:
    return [replace(message, thought="") for message in messages]


def _score(model: Llama, server: Server, chats: Sequence[Chat]) -> Score:
    """Ask for every answer in the last turn of each chat."""
    score = Score()
    for each in chats:
        last_asked = max(i for i, message in enumerate(each.messages) if _is_asked(message))
        for place in range(last_asked + 1, len(each.messages)):
            expected = each.messages[place]
            if expected.role is not Mark.ASSISTANT:
                continue
            question = replace(each, messages=each.messages[:place])
            said = answer(server, question)
            score += Score(1, int(said == expected), *_compared(model, question, said))
    return score


def _compared(model: Llama, question: Chat, said: Message) -> tuple[int, int]:
    """Count the text in *said*, and the one that PyTorch says too."""
    if said.calls:
        return 0, 0
    tokens = prompt(question.messages, question.tools, may_think=question.may_think)
    return 1, int(model.says(tokens, said.written))


def _is_asked(message: Message) -> bool:
    return message.role is Mark.USER and not message.is_result


def _report(name: str, folder: Path) -> Score:
    """Print the table of *name* line by line, and return the sum."""
    total = Score()
    model = load(name, folder)
    print(f"| {name} | right | same as PyTorch |\n|---|---|---|")
    with serve(shipped_path(name)) as server:
        for asked, chats in cases(RECIPES[name], Random(SEED)):
            score = _score(model, server, chats)
            print(f"| {asked} | {score} |", flush=True)
            total += score
    print(f"| all | {total} |", flush=True)
    return total


def main() -> None:
    """Parse the command line and check one model."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("model", choices=RECIPES)
    arguments.add_argument("folder", type=Path, help="where train left the checkpoints")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    sys.exit(0 if _report(options.model, options.folder).is_good else 1)


if __name__ == "__main__":
    main()
