"""Check a shipped file in llama.cpp: `python -m tools.tiny_model.parity tiny /tmp/tiny_model`.

Prints as a Markdown table how often the file answers rightly, and how often it says the same as the
PyTorch model it came from. Exits with 1 where either is too seldom.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
import xllamacpp

from . import vocabulary
from .chats import chat, earlier_turns
from .export import load, shipped_path
from .model import Llama
from .recipes import RECIPES
from .vocabulary import Message

# Not the seed of any training, so the words are new to the model.
SEED = 4242
CASES_PER_SKILL = 50
EARLIER_TURNS = 2
ANSWER_TOKENS_MAX = 200
SAME_SHARE_MIN = 0.98
RIGHT_SHARE_MIN = 0.95


@dataclass(frozen=True, slots=True)
class Score:
    """How many of *cases* llama.cpp answered rightly, and how many it answered like PyTorch."""

    cases: int = 0
    right: int = 0
    same: int = 0

    def __add__(self, other: "Score") -> "Score":
        return Score(self.cases + other.cases, self.right + other.right, self.same + other.same)

    @property
    def is_good(self) -> bool:
        """Say whether a model with this score may ship."""
        return self.right >= RIGHT_SHARE_MIN * self.cases and self.same >= SAME_SHARE_MIN * self.cases


def scores(name: str, model: Llama, server: xllamacpp.Server) -> Iterator[tuple[str, Score]]:
    """Yield each skill of *name* with its score, asked as the first turn of a chat and as a later one."""
    skills = RECIPES[name].skills
    rng = Random(SEED)
    for skill_name, skill in skills.items():
        for place, turns in (("first turn", 0), ("later turn", EARLIER_TURNS)):
            chats = [
                chat(skill(rng), earlier_turns(tuple(skills.values()), rng, turns))
                for _ in range(CASES_PER_SKILL)
            ]
            yield f"{skill_name}, {place}", _score(model, server, chats)


def answer(server: xllamacpp.Server, messages: Sequence[Message]) -> str:
    """Let llama.cpp say its likeliest answer to *messages*."""
    request = {
        "messages": [{"role": message.role.word, "content": message.text} for message in messages],
        "temperature": 0,
        "max_tokens": ANSWER_TOKENS_MAX,
    }
    return str(server.handle_chat_completions(request)["choices"][0]["message"]["content"])


def serve(path: Path) -> xllamacpp.Server:
    """Load *path* in this process, on one thread and one slot."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.n_parallel = 1
    parameters.n_ctx = 2048
    parameters.cpuparams.n_threads = 1
    parameters.cpuparams_batch.n_threads = 1
    parameters.verbosity = -1
    parameters.port = 0
    return xllamacpp.Server(parameters)


def _score(model: Llama, server: xllamacpp.Server, chats: Sequence[Sequence[Message]]) -> Score:
    score = Score()
    for *question, expected in chats:
        said = answer(server, question)
        in_torch = model.answer(vocabulary.prompt(question), ANSWER_TOKENS_MAX)
        score += Score(cases=1, right=said == expected.text, same=said == in_torch)
    return score


def _report(name: str, folder: Path) -> Score:
    """Print the table of *name* line by line, and return the sum."""
    total = Score()
    print(f"| {name} | right | same as PyTorch |\n|---|---|---|")
    for asked, score in scores(name, load(name, folder), serve(shipped_path(name))):
        print(f"| {asked} | {score.right} / {score.cases} | {score.same} / {score.cases} |", flush=True)
        total += score
    print(f"| all | {total.right} / {total.cases} | {total.same} / {total.cases} |", flush=True)
    return total


def main() -> None:
    """Parse the command line and check one model."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("model", choices=RECIPES)
    arguments.add_argument("folder", type=Path, help="where train left the checkpoints")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    total = _report(options.model, options.folder)
    # An orderly exit would destroy the server, and its destructor can deadlock.
    os._exit(0 if total.is_good else 1)


if __name__ == "__main__":
    main()
