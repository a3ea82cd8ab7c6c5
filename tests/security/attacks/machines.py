"""What lies on a machine and in its environment: files that somebody has changed, settings that weaken TLS."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from hubspoke.client import MeshClient
from pki.errors import BadBundle, UnsafeKeyFile
from pki.identity import Role
from tests.security.cases import Layer, case
from tests.security.yard import CALL_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.security.yard import Yard

NOBODY = 65_534


@case(54, "trust anchors that are empty, cut or junk", Layer.NODE)
async def bad_anchors(yard: Yard) -> str:
    files = await yard.node(Role.APP)
    good = files.anchors.read_bytes()
    texts = []
    for bad in (b"", good[: len(good) // 2], good + good[:200], good + b"junk\n", b"\0" * 100, b"junk"):
        files.anchors.write_bytes(bad)
        with pytest.raises(BadBundle) as caught:
            async with MeshClient(files.directory):
                pass
        texts.append(str(caught.value))
    spoke = await yard.node()
    spoke.anchors.write_bytes(b"")
    await refuses_to_start(spoke.directory)
    return texts[0].replace(str(files.directory), "DIRECTORY")


@case(55, "a key file that is open to others, a link, or somebody else's", Layer.NODE)
async def exposed_key(yard: Yard) -> str:
    files = await yard.node()
    texts = []
    for expose in (opened, linked, given_away):
        with expose(files.identity), pytest.raises(UnsafeKeyFile) as caught:
            files.load_identity()
        texts.append(str(caught.value))
    with opened(files.identity):
        await refuses_to_start(files.directory)
    return texts[0].replace(str(files.directory), "DIRECTORY")


@contextmanager
def opened(path: Path) -> Iterator[None]:
    path.chmod(0o644)
    yield
    path.chmod(0o600)


@contextmanager
def linked(path: Path) -> Iterator[None]:
    aside = path.rename(path.with_suffix(".aside"))
    path.symlink_to(aside)
    yield
    aside.replace(path)


@contextmanager
def given_away(path: Path) -> Iterator[None]:
    owner = os.geteuid()
    if owner != 0:
        pytest.skip("only root can give a file to somebody else")
    os.chown(path, NOBODY, -1)
    yield
    os.chown(path, owner, -1)


@contextmanager
def as_state(directory: Path) -> Iterator[Path]:
    """Put *directory* where an agent looks for the identity of its spoke."""
    state = directory.with_name(f"{directory.name}-state")
    state.mkdir()
    directory.rename(state / "spoke")
    yield state
    (state / "spoke").rename(directory)


async def refuses_to_start(directory: Path) -> None:
    """Start the agent of the spoke whose identity is in *directory*; it must end at once, with words."""
    with as_state(directory) as state:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "spoke", "--state-dir", str(state)), stderr=subprocess.PIPE
        )
        try:
            async with asyncio.timeout(CALL_S):
                _, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode != 0
    assert b"Traceback" not in errors
    assert errors.strip()
