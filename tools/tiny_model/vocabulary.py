"""Text as token ids: one token per byte, plus four marks that frame a chat.

There is nothing to learn about splitting words, so PyTorch and llama.cpp cannot disagree about it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from .calls import Call, Tool, declaration

BYTES = 256

# A GGUF byte-pair vocabulary needs at least one merge. UTF-8 never contains the bytes FE or FF,
# so merging these two promises a token that no text can produce.
UNUSED_MERGE = (0xFE, 0xFF)

# What the assistant begins with where thinking is switched off.
NO_THOUGHT = "<think></think>"


class Mark(IntEnum):
    """The control tokens, numbered right after the bytes."""

    END = BYTES
    SYSTEM = BYTES + 1
    USER = BYTES + 2
    ASSISTANT = BYTES + 3

    @property
    def word(self) -> str:
        """The mark's name as chat APIs spell it, `assistant` for one."""
        return self.name.lower()


SIZE = BYTES + len(Mark) + 1


@dataclass(frozen=True, slots=True)
class Message:
    """What one role says in one turn. A result is what a tool returned; it comes from the user's side."""

    role: Mark
    text: str
    thought: str = ""
    calls: tuple[Call, ...] = ()
    is_result: bool = False

    @property
    def written(self) -> str:
        """What stands between the mark of the role and the end mark."""
        if self.is_result:
            return f"<result>{self.text}</result>"
        thought = f"<think>{self.thought}</think>" if self.thought else ""
        return thought + self.text + "".join(call.written for call in self.calls)

    @property
    def tokens(self) -> list[int]:
        """The message between the mark of its role and the end mark."""
        return [self.role, *self.written.encode(), Mark.END]


def prompt(messages: Sequence[Message], tools: Sequence[Tool] = (), *, may_think: bool = True) -> list[int]:
    """Lay out *messages* after a declaration of *tools*, and hand the word to the assistant."""
    declared = [Message(Mark.SYSTEM, declaration(tools))] if tools else []
    begun = "" if may_think else NO_THOUGHT
    said = (token for message in (*declared, *messages) for token in message.tokens)
    return [*said, Mark.ASSISTANT, *begun.encode()]


def token_names() -> list[str]:
    """Spell every token as a GPT-2 vocabulary does, in the order of the ids."""
    symbols = _byte_symbols()
    return [*symbols, *(f"<|{mark.word}|>" for mark in Mark), "".join(symbols[byte] for byte in UNUSED_MERGE)]


def merges() -> list[str]:
    """List the byte-pair merges: the single one that is never used."""
    symbols = _byte_symbols()
    return [" ".join(symbols[byte] for byte in UNUSED_MERGE)]


def _byte_symbols() -> list[str]:
    """Give each byte a printable character: its own in Latin-1 if it has one, else the next from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    stand_ins = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(stand_ins)) for byte in range(BYTES)]
