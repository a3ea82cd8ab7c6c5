"""The shipped models: how large, taught what, for how long."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random
from types import MappingProxyType

from . import skills, templates, tool_skills
from .chats import Chat, maybe_thoughtless, plain_chat, tool_chat, until_calls
from .model import Shape
from .skills import Skill
from .tool_skills import ToolSkill

TOOL_CHATS_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides a model's weights, but for the code and the PyTorch release.

    *hard* names skills that are practised once more for each mention. *rate* scales the learning rates.
    """

    shape: Shape
    skills: Mapping[str, Skill]
    steps: int
    seed: int = 0
    hard: tuple[str, ...] = ()
    long_steps_of_three: int = 1
    rate: float = 1.0

    @property
    def practice(self) -> tuple[Skill, ...]:
        """The skills to draw from with equal chance."""
        return (*self.skills.values(), *(self.skills[name] for name in self.hard if name in self.skills))

    def draw(self, rng: Random, *, is_long: bool, done: float) -> Chat:
        """Draw a chat to train on, for a row that is long or not, when that share of the training is *done*."""
        del is_long, done
        return plain_chat(self.practice, rng)

    @property
    def template(self) -> str:
        """The chat template, in Jinja."""
        return templates.PLAIN

    @property
    def makes_vectors(self) -> bool:
        """Whether the model says how its states become the vector of a text."""
        return False


@dataclass(frozen=True, slots=True)
class FullRecipe(Recipe):
    """A recipe of a model that also calls tools, can be told not to think, and makes vectors.

    A model that sees tools before it can copy a word learns neither for a long time, so they come when the share
    *tools_from* of the training is done. The share *calls_last* of the chats with tools stops before the results.
    """

    tools_from: float = 0.15
    calls_last: float = 0.0
    tool_skills: Mapping[str, ToolSkill] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def tool_practice(self) -> tuple[ToolSkill, ...]:
        """The skills with tools to draw from with equal chance."""
        again = (self.tool_skills[name] for name in self.hard if name in self.tool_skills)
        return (*self.tool_skills.values(), *again)

    def draw(self, rng: Random, *, is_long: bool, done: float) -> Chat:
        """Draw a chat; one with tools in long rows only, and one that misses them in none with any."""
        if done < self.tools_from:
            return plain_chat(self.practice, rng)
        if not is_long:
            drawn = plain_chat((*self.practice, skills.no_tools), rng)
        elif rng.random() < TOOL_CHATS_SHARE:
            drawn = tool_chat(self.practice, self.tool_practice, rng)
            if self.calls_last and rng.random() < self.calls_last:
                drawn = until_calls(drawn)
        else:
            drawn = plain_chat(self.practice, rng)
        return maybe_thoughtless(drawn, rng)

    @property
    def template(self) -> str:
        """The chat template, in Jinja."""
        return templates.FULL

    @property
    def makes_vectors(self) -> bool:
        """Whether the model says how its states become the vector of a text."""
        return True


_TINY = FullRecipe(
    Shape(dim=128, layers=4, heads=4, feed_forward=352),
    skills.TINY,
    steps=2000,
    # A sum shares nothing with the other skills; a count must remember its end for 170 tokens.
    hard=("add", "add", "count", "call", "two calls"),
    long_steps_of_three=2,
    tool_skills=tool_skills.TINY_TOOLS,
)
RECIPES: Mapping[str, Recipe] = {
    "tiny": _TINY,
    "nano": Recipe(
        Shape(dim=96, layers=3, heads=3, feed_forward=256),
        skills.NANO,
        steps=1300,
        # Copying letters is all that is difficult here.
        hard=("echo", "upper", "name"),
    ),
}

# What is still weak at the end of a training is gone over again, more slowly: long counts, and calls that may not be
# thought about.
REVISIONS: Mapping[str, Recipe] = {
    "tiny": replace(
        _TINY,
        skills={**skills.TINY, "count": skills.count(short_max=40, long_max=60)},
        steps=500,
        hard=("reverse", "reverse", "reverse", "add", "count", "count", "count", "call", "two calls"),
        rate=0.3,
        tools_from=0.0,
        calls_last=0.4,
    ),
}
