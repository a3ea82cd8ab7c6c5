"""Leaves the journal of this version for the tests of later ones: `python -m tests.chaos.leave_journal`, once for each format."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hub.journal.formats import FORMAT
from tests.chaos.mesh import ChaosMesh, hand_over, join_all
from tests.chaos.works import Part, planned

JOURNALS = Path(__file__).parent / "journals"
CHAIN = (Part("first"), Part("second", ("first",)))
"""Of these, the hub that leaves a journal has kept the first one."""


async def leave(directory: Path) -> None:
    """Let a hub die in the middle of `CHAIN`, and put down what it has written."""
    await join_all(directory)
    mesh = ChaosMesh(directory)
    await mesh.heal()
    try:
        mesh.dies("hub", "checkpointed")
        async with mesh.app() as client:
            await hand_over(client, replace(planned(*CHAIN), request_id=f"of-format-{FORMAT}"))
            await mesh.hub.died()
        (JOURNALS / str(FORMAT)).mkdir(parents=True, exist_ok=True)
        for path in mesh.journals:
            with closing(sqlite3.connect(path)) as connection:
                text = "\n".join(connection.iterdump())
            (JOURNALS / str(FORMAT) / f"{path.stem}.sql").write_text(f"{text}\n", encoding="utf-8")
    finally:
        mesh.end()


if __name__ == "__main__":
    with TemporaryDirectory() as directory:
        asyncio.run(leave(Path(directory)))
