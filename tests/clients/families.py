"""The environments that clients run in, brought when they are not there; a test that cannot have one is skipped."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tools import vendors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.clients.roster import Client


def words_of(client: Client) -> tuple[str, str]:
    """Give the words that start a client's program."""
    if client.family == vendors.NODE:
        program, folder = node_packages()
        return program, str(folder / client.program)
    return str(programs_of(client.family) / "python"), str(vendors.CLIENTS / "programs" / client.program)


def programs_of(family: str) -> Path:
    """Give the folder with the programs of a family's environment."""
    with _skipping(family):
        return vendors.environment(family)


def node_packages() -> tuple[str, Path]:
    """Give a Node, and the folder with its packages and our programs."""
    with _skipping(vendors.NODE):
        return vendors.node_packages()


@contextmanager
def _skipping(family: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        pytest.skip("there is no uv here to bring clients with; `./justw test` has one")
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"{family} cannot be fetched, see `./justw clients`: {error.stderr or error}")
