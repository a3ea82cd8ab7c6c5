"""The llama architecture at toy size. Parameter names are GGUF tensor names, so export is a loop."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from . import vocabulary
from .vocabulary import Mark

EMBEDDING_STD = 0.02


@dataclass(frozen=True, slots=True)
class Shape:
    """How large a model is. *dim* and *feed_forward* are multiples of 32, the block size of Q8_0."""

    dim: int
    layers: int
    heads: int
    feed_forward: int
    context: int = 2048
    norm_epsilon: float = 1e-5
    rope_base: float = 10_000.0

    @property
    def head_dim(self) -> int:
        """How many numbers of the *dim* each attention head sees."""
        return self.dim // self.heads


@dataclass(frozen=True, slots=True)
class Rotation:
    """Rotary position embedding: cosine and sine of the angles, (positions, head_dim / 2) each."""

    cosine: Tensor
    sine: Tensor

    def turn(self, heads: Tensor) -> Tensor:
        """Rotate each (even, odd) pair of the last axis: the pairing that llama.cpp gives `llama` models."""
        even, odd = heads[..., 0::2], heads[..., 1::2]
        turned = (even * self.cosine - odd * self.sine, even * self.sine + odd * self.cosine)
        return torch.stack(turned, dim=-1).flatten(start_dim=-2)


class Block(nn.Module):
    """One layer: causal attention, then a gated feed-forward part, each added to what came in."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.attn_norm = nn.RMSNorm(shape.dim, shape.norm_epsilon)
        self.attn_q = nn.Linear(shape.dim, shape.dim, bias=False)
        self.attn_k = nn.Linear(shape.dim, shape.dim, bias=False)
        self.attn_v = nn.Linear(shape.dim, shape.dim, bias=False)
        self.attn_output = nn.Linear(shape.dim, shape.dim, bias=False)
        self.ffn_norm = nn.RMSNorm(shape.dim, shape.norm_epsilon)
        self.ffn_gate = nn.Linear(shape.dim, shape.feed_forward, bias=False)
        self.ffn_up = nn.Linear(shape.dim, shape.feed_forward, bias=False)
        self.ffn_down = nn.Linear(shape.feed_forward, shape.dim, bias=False)

    def forward(self, hidden: Tensor, rotation: Rotation) -> Tensor:
        """Return *hidden*, (rows, positions, dim), with what this layer has to add to it."""
        hidden = hidden + self._attend(self.attn_norm(hidden), rotation)
        return hidden + self._feed_forward(self.ffn_norm(hidden))

    def _attend(self, hidden: Tensor, rotation: Rotation) -> Tensor:
        query = rotation.turn(self._split(self.attn_q(hidden)))
        key = rotation.turn(self._split(self.attn_k(hidden)))
        value = self._split(self.attn_v(hidden))
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        output: Tensor = self.attn_output(mixed.transpose(1, 2).flatten(start_dim=2))
        return output

    def _split(self, hidden: Tensor) -> Tensor:
        """Give each head its own axis: (rows, heads, positions, head_dim)."""
        rows, positions, _ = hidden.shape
        return hidden.view(rows, positions, self.shape.heads, self.shape.head_dim).transpose(1, 2)

    def _feed_forward(self, hidden: Tensor) -> Tensor:
        output: Tensor = self.ffn_down(functional.silu(self.ffn_gate(hidden)) * self.ffn_up(hidden))
        return output


class Llama(nn.Module):
    """A byte-level llama whose output layer is its embedding, read the other way round."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(vocabulary.SIZE, shape.dim)
        nn.init.normal_(self.token_embd.weight, std=EMBEDDING_STD)
        self.blk = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.output_norm = nn.RMSNorm(shape.dim, shape.norm_epsilon)

    def forward(self, tokens: Tensor) -> Tensor:
        """Score every possible next token: ids, (rows, positions), to logits, (rows, positions, vocabulary)."""
        hidden = self.token_embd(tokens)
        rotation = self._rotation(tokens.shape[-1])
        for block in self.blk:
            hidden = block(hidden, rotation)
        return functional.linear(self.output_norm(hidden), self.token_embd.weight)

    @torch.no_grad()
    def says(self, prompt: list[int], answer: str) -> bool:
        """Say whether *answer*, then the end, is what follows *prompt* when the likeliest token is taken each time."""
        said = [*answer.encode(), Mark.END]
        scores = self(torch.tensor([prompt + said[:-1]]))[0, len(prompt) - 1 :]
        return bool((scores.argmax(dim=-1) == torch.tensor(said)).all())

    def _rotation(self, positions: int) -> Rotation:
        pairs = torch.arange(0, self.shape.head_dim, 2).float() / self.shape.head_dim
        angles = torch.outer(torch.arange(positions).float(), self.shape.rope_base**-pairs)
        return Rotation(angles.cos(), angles.sin())
