"""Write docs/clients_matrix.md from what the last runs of the clients have left: `python -m tests.clients.matrix`."""

from __future__ import annotations

import json
import sys
from typing import Any, Final

from tests.clients.roster import CLIENTS, FEATURES, Client
from tests.clients.trials import RESULTS, TINY
from tools.vendors import ROOT

DOCUMENT: Final = ROOT / "docs" / "clients_matrix.md"
YES: Final = "yes"
NO: Final = "no"
NOT_TRIED: Final = "not tried"
NOT_THERE: Final = "-"
"""The client has no such thing, or its program does not use it."""
HEADER: Final = ("client", "version", *(feature.replace("_", " ") for feature in FEATURES))
REAL: Final = """\
The real engine with the shipped model answers, but for cancel and killed: there a stand-in for an engine says a word and
then nothing more."""
PARTLY_REAL: Final = """\
The real engine with the shipped model answers in chat, stream, models, unknown, key and quota. In the others the spoke has
a stand-in for an engine, which says what that model was trained to say, or a word and then nothing more."""
TEXT: Final = """\
# What each client does here

Written by `./justw clients`, which runs each of these as it comes from its registry, against a real hub with its
gateway and real spokes. How to point each of them at a mesh: [apps.md](apps.md).

ENGINES

| | |
|---|---|
| chat, stream | an answer of the shipped model, whole and in pieces |
| tools | a call with its arguments, and an answer to its result |
| json schema | an answer that keeps to a schema |
| embeddings | vectors of two texts |
| models | the model is found where the client looks for models |
| unknown, key, quota | a model that nobody has, a wrong key and a used-up key raise the client's own errors |
| cancel | to close a stream frees the slot on the spoke, while the client runs on |
| killed | a spoke that is killed in the middle of a stream is an error, never a silent end; by the Responses API it is the event `response.failed` |

A dash is something that the client does not have.

"""


def main() -> None:
    """Write the table."""
    rows = [HEADER, ("---",) * len(HEADER), *(row(client) for client in CLIENTS)]
    lines = (f"| {' | '.join(cells)} |" for cells in rows)
    skilled = {kept["skilled"] for kept in map(kept_of, CLIENTS) if kept["version"]}
    text = TEXT.replace("ENGINES", REAL if skilled == {TINY} else PARTLY_REAL)
    DOCUMENT.write_text(text + "\n".join(lines) + "\n", encoding="utf-8")
    sys.stdout.write(f"clients: {DOCUMENT.relative_to(ROOT)} is written\n")


def kept_of(client: Client) -> dict[str, Any]:
    """Give what the last run of a client has left, if that was of the version that is pinned."""
    path = RESULTS / f"{client.id}.json"
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return kept if kept.get("version") == client.version else {"version": "", "results": []}


def row(client: Client) -> tuple[str, ...]:
    """Give the cells of a client: what came of its last run."""
    worked = {result["feature"]: result["ok"] for result in kept_of(client)["results"]}
    return (client.name, client.version, *(cell(client, feature, worked) for feature in FEATURES))


def cell(client: Client, feature: str, worked: dict[str, bool]) -> str:
    """Say in a word what came of one feature."""
    if feature not in client.features:
        return NOT_THERE
    return {True: YES, False: NO, None: NOT_TRIED}[worked.get(feature)]


if __name__ == "__main__":
    main()
