"""A PostgreSQL server of the test's own, on a free port of the loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tests.fakes.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "hubspoke"
START_S = 60
BECOME = shutil.which("runuser") or "/usr/sbin/runuser"
"""Debian has it where not everybody's PATH leads."""
PLACES = ("/usr/lib/postgresql", "/opt/homebrew/opt")


def tool(name: str) -> str | None:
    """Say where a program of PostgreSQL is; Debian keeps them out of the way."""
    found = sorted(str(path) for place in PLACES for path in Path(place).glob(f"*/bin/{name}"))
    return shutil.which(name) or next(reversed(found), None)


class Postgres:
    """A server. `url` is a database in it. Unless it *is_safe*, nothing is from a loss of power, which no test is about."""

    def __init__(self, directory: Path, *, is_safe: bool = False) -> None:
        self._is_safe = is_safe
        self._data = directory / "data"
        (self._port,) = free_ports(1)
        self._databases = 0
        self.url = self._url("postgres")

    def make(self) -> None:
        """Make its files."""
        self._run("initdb", "-D", str(self._data), "-U", USER, "--auth=trust", "--no-sync", "-E", "UTF8")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"{'' if self._is_safe else '-F '}-p {self._port} -k '' -h 127.0.0.1"
        self._run(
            "pg_ctl",
            "-D",
            str(self._data),
            "-w",
            "-t",
            str(START_S),
            "-o",
            options,
            "-l",
            os.devnull,
            "start",
        )

    def stop(self, mode: str = "immediate") -> None:
        """Stop it; `immediate` is as a crash."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", mode, "stop")

    def database(self) -> str:
        """Make another, empty database, and give its URL."""
        self._databases += 1
        name = f"another{self._databases}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self._port), "-U", USER, name)
        return self._url(name)

    def _url(self, database: str) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self._port}/{database}"

    def _run(self, name: str, *arguments: str) -> None:
        program = tool(name)
        assert program is not None
        # It refuses to run as root. Not with `user=`, for which Python forks: gRPC does not bear that.
        becoming = [BECOME, "-u", "postgres", "--"] if os.geteuid() == 0 else []
        subprocess.run([*becoming, program, *arguments], check=True, stdout=subprocess.DEVNULL, cwd="/")


@contextmanager
def postgres(*, is_safe: bool = False) -> Iterator[Postgres]:
    """Run a server for as long as the block lasts."""
    # Not below pytest's own directory, which is closed to the user that it runs as.
    with TemporaryDirectory(prefix="hubspoke-postgres-") as directory:
        if os.geteuid() == 0:
            shutil.chown(directory, "postgres", "postgres")
        server = Postgres(Path(directory), is_safe=is_safe)
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()
