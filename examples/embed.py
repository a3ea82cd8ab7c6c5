"""Sort texts by how near they are to a question, with a model that turns texts into vectors.

hubspoke join                       # once, with a token from whoever runs the mesh
python examples/embed.py MODEL "a warm place" "the stove" "the fridge" "the north pole"
"""

import sys
from operator import mul

from hubspoke import loop
from hubspoke.client import MeshClient
from hubspoke.errors import MeshError


async def main() -> None:
    """Print the texts, the nearest first."""
    model, *texts = sys.argv[1:]
    async with MeshClient() as mesh:
        question, *others = (await mesh.embed(model, texts)).vectors
    # Vectors have length 1, so this is the cosine of the angle between two of them.
    nearness = [sum(map(mul, question, other)) for other in others]
    for near, text in sorted(zip(nearness, texts[1:], strict=True), reverse=True):
        print(f"{near:+.3f}  {text}")


if __name__ == "__main__":
    try:
        loop.run(main)
    except MeshError as error:
        sys.exit(f"{error.reason}: {error.message}")
