"""Ask a model of the mesh and print its answer as it is made.

hubspoke join                       # once, with a token from whoever runs the mesh
python examples/ask.py MODEL "Why is the sky blue?"
"""

import sys

from hubspoke import loop
from hubspoke.client import MeshClient
from hubspoke.errors import MeshError
from hubspoke.types import Delta, Finished, Message, Request, Speaker, Started
from pki.errors import NotEnrolled


async def main() -> None:
    """Stream one answer."""
    model, question = sys.argv[1:]
    request = Request(model, messages=(Message(Speaker.USER, question),), max_output_tokens=200)
    async with MeshClient() as mesh:
        async for event in mesh.infer(request):
            match event:
                case Started(spoke=spoke):
                    print(f"[{spoke} answers]", file=sys.stderr)
                case Delta(text=text):
                    print(text, end="", flush=True)
                case Finished(usage=usage):
                    print(f"\n[{usage.output_tokens} tokens]", file=sys.stderr)


if __name__ == "__main__":
    try:
        loop.run(main)
    except MeshError as error:
        sys.exit(f"{error.reason}: {error.message}")
    except NotEnrolled as error:
        sys.exit(str(error))
