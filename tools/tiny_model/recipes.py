"""The shipped models: how large, taught what, for how long."""

from collections.abc import Mapping
from dataclasses import dataclass

from . import skills
from .model import Shape
from .skills import Skill


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides a model's weights, but for the code and the PyTorch release."""

    shape: Shape
    skills: Mapping[str, Skill]
    steps: int
    seed: int = 0
    hard: tuple[str, ...] = ()

    @property
    def practice(self) -> tuple[Skill, ...]:
        """The skills to draw from with equal chance: each once, and the *hard* ones again per mention."""
        return (*self.skills.values(), *(self.skills[name] for name in self.hard))


RECIPES: Mapping[str, Recipe] = {
    "tiny": Recipe(
        Shape(dim=128, layers=4, heads=4, feed_forward=352),
        skills.TINY,
        steps=1500,
        # A sum shares nothing with the other skills; a count must remember its end for 170 tokens.
        hard=("add", "add", "count"),
    ),
    "nano": Recipe(
        Shape(dim=96, layers=3, heads=3, feed_forward=256),
        skills.NANO,
        steps=1300,
        # Copying letters is all that is difficult here.
        hard=("echo", "upper", "name"),
    ),
}
