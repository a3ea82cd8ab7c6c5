"""What lies on a machine and in its environment: files that somebody has changed, settings that weaken TLS."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from hubspoke.client import MeshClient
from hubspoke.diagnosis.node import reason
from pki import pem
from pki.credential import Credential
from pki.errors import BadBundle, UnsafeKeyFile
from pki.identity import NodeName, Role
from pki.keys import new_key
from tests.fakes.certs import make_mesh
from tests.security.attacks.certificates import false_hub
from tests.security.cases import Layer, case
from tests.security.yard import now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.security.yard import Yard

NOBODY = 65_534
RUN_S_MAX = 40.0
"""How long a command, or an agent that refuses to start, may take: most of it goes into its imports."""


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


@case(60, "a clock that is ten minutes off", Layer.NODE)
async def wrong_clock(yard: Yard) -> str:
    files = await yard.node()
    texts = [
        await reason(files, [yard.hub.mesh], now() + timedelta(minutes=minutes)) for minutes in (-10, 10)
    ]
    assert all("clock" in text and "timedatectl" in text for text in texts), texts
    return texts[1]


@case(65, "an environment that names other roots, and weak ciphers", Layer.NODE)
async def environment(yard: Yard) -> str:
    other = make_mesh(now())
    roots = yard.hub.directory / "other-roots.pem"
    roots.write_bytes(pem.write((other.root.certificate,)))
    settings = {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(roots), "GRPC_SSL_CIPHER_SUITES": "NULL-SHA256"}
    # With these settings in force gRPC could not connect at all...
    status, _ = await nodes_listed(yard, settings)
    assert status == 0
    # ...and with the first one a hub of that root would be taken for ours.
    key = new_key()
    chain = other.hub_issuer.issue_hub(key.public_key(), NodeName("h1"), now=now())
    async with false_hub(Credential(key, chain)) as (address, heard):
        status, errors = await nodes_listed(yard, settings, "--hub", address)
    assert status != 0
    assert not heard
    return errors.splitlines()[-1].replace(address, "ADDRESS")


async def nodes_listed(yard: Yard, settings: dict[str, str], *more: str) -> tuple[int, str]:
    """Run a command of an admin in an environment with *settings*; give its status and what it says of errors."""
    state = yard.hub.directory
    command = (sys.executable, "-c", "from hubspoke.cli import main; main()")
    process = await asyncio.create_subprocess_exec(
        *(*command, "nodes", "list", "--json", "--state-dir", str(state), *more),
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(RUN_S_MAX):
        _, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, errors.decode()


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
            async with asyncio.timeout(RUN_S_MAX):
                _, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode != 0
    assert b"Traceback" not in errors
    assert errors.strip()
