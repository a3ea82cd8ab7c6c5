"""Let a model call functions of this program until it knows the answer.

hubspoke join                       # once, with a token from whoever runs the mesh
python examples/tools.py MODEL "What is 17 + 5, and how much room is left on this disk?"
"""

import shutil
import sys
from typing import Annotated

import msgspec

from hubspoke import loop
from hubspoke.client import MeshClient
from hubspoke.errors import MeshError
from hubspoke.tools import Called, run_with_tools
from hubspoke.types import Delta, Message, Request, Speaker

GIB = 1 << 30


def add(a: int, b: int) -> int:
    """Add two whole numbers."""
    return a + b


def disk_free(path: Annotated[str, msgspec.Meta(description="A folder on this machine")] = ".") -> str:
    """Say how much room is left on a disk."""
    return f"{shutil.disk_usage(path).free / GIB:.1f} GiB"


async def main() -> None:
    """Stream one answer, and say what was called for it."""
    model, question = sys.argv[1:]
    request = Request(model, messages=(Message(Speaker.USER, question),))
    async with MeshClient() as mesh:
        async for event in run_with_tools(mesh, request, [add, disk_free]):
            match event:
                case Called(call=call, result=result):
                    print(f"[{call.name}({call.arguments}) gives {result}]", file=sys.stderr)
                case Delta(text=text):
                    print(text, end="", flush=True)
    print()


if __name__ == "__main__":
    try:
        loop.run(main)
    except MeshError as error:
        sys.exit(f"{error.reason}: {error.message}")
