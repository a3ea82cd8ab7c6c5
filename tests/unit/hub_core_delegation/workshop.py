"""Models to reckon with, as fast as a test needs them."""

from hub.core.delegation.cost import Fleet, Lane
from hub.core.types import Speed
from hubspoke.types import Goal, Input, JsonFormat, ModelKey

BIG = Lane(ModelKey("big"), Speed(decode_tokens_per_s=8.0, prefill_tokens_per_s=300.0), 32_768)
MIDDLE = Lane(ModelKey("middle"), Speed(decode_tokens_per_s=40.0, prefill_tokens_per_s=1_500.0), 8_192)
SMALL = Lane(ModelKey("small"), Speed(decode_tokens_per_s=90.0, prefill_tokens_per_s=4_000.0), 8_192)
THREE = Fleet(BIG, readers=(MIDDLE, MIDDLE, SMALL), workers=(MIDDLE, MIDDLE))
NOBODY = Fleet(BIG)
ANY_JSON = JsonFormat()


def a_goal(text="What is the capital of Peru?", **given) -> Goal:
    return Goal(text, **given)


def a_text(tokens: int, name="report") -> Input:
    """A text of so many tokens, as they are estimated."""
    return Input(name, ("word " * tokens)[: tokens * 4])
