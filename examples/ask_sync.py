"""Ask two models the same question, in a program without an event loop.

hubspoke join                       # once, with a token from whoever runs the mesh
python examples/ask_sync.py "Why is the sky blue?"
"""

import sys

from hubspoke.errors import MeshError
from hubspoke.sync import SyncMesh
from hubspoke.types import Message, Request, Speaker
from pki.errors import NotEnrolled

MODELS = 2


def main() -> None:
    """Print one answer of each model."""
    (question,) = sys.argv[1:]
    with SyncMesh() as mesh:
        for model in mesh.models()[:MODELS]:
            request = Request(model.key, messages=(Message(Speaker.USER, question),), max_output_tokens=200)
            answer = mesh.answer(request)
            print(f"{answer.started.model} on {answer.started.spoke}: {answer.text}")


if __name__ == "__main__":
    try:
        main()
    except MeshError as error:
        sys.exit(f"{error.reason}: {error.message}")
    except NotEnrolled as error:
        sys.exit(str(error))
