"""Train a shipped model on one CPU thread: `python -m tools.tiny_model.train tiny /tmp/tiny_model`.

Writes `<folder>/<model>.pt`. The schedule counts steps and every draw is seeded, so the same machine and
the same PyTorch release give the same weights again.
"""

import argparse
import time
from functools import partial
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW, Muon, Optimizer

from .chats import IGNORED, Draw, row
from .export import load
from .model import Llama
from .recipes import EXTENSIONS, RECIPES, REVISIONS, Recipe

# Most skills fit into short rows, where attention is cheap. But the longest answer takes 170 tokens and
# a chat has many turns. Long rows only at the end came as a shock to the smaller model, so they are mixed.
SHORT_ROWS, SHORT_LENGTH = 30, 128
LONG_ROWS, LONG_LENGTH = 10, 384

MATRIX_RATE = 0.02
OTHER_RATE = 3e-3
WARM_UP_STEPS = 30
GRADIENT_NORM_MAX = 1.0
REPORT_EVERY_STEPS = 25


def train(name: str) -> Llama:
    """Make the model *name* as its recipe says, and print the loss on the way."""
    recipe = RECIPES[name]
    torch.manual_seed(recipe.seed)
    rng = Random(recipe.seed)
    model = Llama(recipe.shape)
    follow(recipe, model, rng)
    if name in REVISIONS:
        follow(REVISIONS[name], model, rng)
    return extend(name, model)


def extend(name: str, model: Llama) -> Llama:
    """Teach *model*, which knows the rest, what came to its skills later."""
    for recipe in EXTENSIONS.get(name, ()):
        follow(recipe, model, Random(recipe.seed))
    return model


def follow(recipe: Recipe, model: Llama, rng: Random) -> None:
    """Train *model* for as many steps as *recipe* has, and print the loss on the way."""
    optimizers = _optimizers(model)
    started_s = time.monotonic()
    for step in range(recipe.steps):
        is_long, done = step % 3 < recipe.long_steps_of_three, step / recipe.steps
        draw = partial(recipe.draw, is_long=is_long, done=done)
        inputs, targets = _batch(draw, rng, is_long=is_long)
        loss = functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
        _update(model, optimizers, loss, recipe.rate * rate_scale(step, done, recipe.decay_from))
        if step % REPORT_EVERY_STEPS == 0:
            print(f"{time.monotonic() - started_s:5.0f} s  step {step:5}  loss {loss:.4f}", flush=True)


def rate_scale(step: int, done: float, decay_from: float) -> float:
    """Scale the learning rate: up over the first steps, level, then straight down to almost nothing."""
    warm_up = (step + 1) / WARM_UP_STEPS
    decay = (1 - done) / (1 - decay_from) if decay_from < 1 else 1.0
    return min(1.0, warm_up, decay)


def _optimizers(model: Llama) -> list[Optimizer]:
    """Muon learns matrices in fewer steps than AdamW does, but is made for nothing else."""
    matrices = [weight for weight in model.blk.parameters() if weight.ndim == 2]
    others = [weight for weight in model.blk.parameters() if weight.ndim != 2]
    others += [*model.token_embd.parameters(), *model.output_norm.parameters()]
    return [
        Muon(matrices, lr=MATRIX_RATE, weight_decay=0.0),
        AdamW(others, lr=OTHER_RATE, weight_decay=0.0),
    ]


def _batch(draw: Draw, rng: Random, *, is_long: bool) -> tuple[Tensor, Tensor]:
    count, length = (LONG_ROWS, LONG_LENGTH) if is_long else (SHORT_ROWS, SHORT_LENGTH)
    rows = [row(draw, rng, length) for _ in range(count)]
    return torch.tensor([each.inputs for each in rows]), torch.tensor([each.targets for each in rows])


def _update(model: Llama, optimizers: list[Optimizer], loss: Tensor, scale: float) -> None:
    model.zero_grad()
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM_MAX)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = optimizer.defaults["lr"] * scale
        optimizer.step()


def main() -> None:
    """Parse the command line and train one model."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("model", choices=RECIPES)
    arguments.add_argument("folder", type=Path, help="where to leave the checkpoint")
    arguments.add_argument("--extend", type=Path, help="folder with the checkpoint before the extension")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    options.folder.mkdir(parents=True, exist_ok=True)
    known = options.extend
    model = train(options.model) if known is None else extend(options.model, load(options.model, known))
    torch.save(model.state_dict(), options.folder / f"{options.model}.pt")


if __name__ == "__main__":
    main()
