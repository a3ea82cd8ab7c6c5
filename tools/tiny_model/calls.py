"""Tools, and calls of them, as the model reads and writes them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Value: TypeAlias = str | int

# What a parameter gets for which the user gave nothing that fits.
NOTHING: Mapping[str, Value] = {"string": "", "integer": 0}


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call. *parameters* are names with types, `string` or `integer`."""

    name: str
    parameters: tuple[tuple[str, str], ...]

    @property
    def declared(self) -> str:
        """The tool as the model reads it: `forecast(city:string,days:integer)`."""
        return f"{self.name}({','.join(f'{name}:{kind}' for name, kind in self.parameters)})"

    def call(self, values: Sequence[Value]) -> "Call":
        """Give each parameter the value in its place, or `NOTHING` where that is missing or of another type."""
        arguments = {}
        for place, (name, kind) in enumerate(self.parameters):
            fits = place < len(values) and isinstance(values[place], int) == (kind == "integer")
            arguments[name] = values[place] if fits else NOTHING[kind]
        return Call(self.name, json.dumps(arguments))


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the tool *name*. *arguments* is a JSON object as `json.dumps` and Jinja's `tojson` write it."""

    name: str
    arguments: str

    @property
    def written(self) -> str:
        """The call as the model writes it."""
        return f'<tool_call>{{"name": "{self.name}", "arguments": {self.arguments}}}</tool_call>'


def declaration(tools: Sequence[Tool]) -> str:
    """Write out *tools* for the system message that comes before everything else."""
    return "tools: " + " ".join(tool.declared for tool in tools)
