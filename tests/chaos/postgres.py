"""A PostgreSQL server of the tests' own, on a free port of the loopback."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos.processes import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

BINARIES = "/usr/lib/postgresql/*/bin"
USER = "postgres"
START_S = 60


class Postgres:
    """A server with its data in *directory*. It keeps nothing safe from a loss of power, which no test is about."""

    def __init__(self, binaries: Path, directory: Path, port: int) -> None:
        self._binaries = binaries
        self._data = directory / "data"
        self.port = port
        self._databases = 0

    def create(self) -> None:
        """Make its files, and start it."""
        self._run("initdb", "--username", USER, "--auth", "trust", "--no-sync", "--encoding", "UTF8")
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write(
                f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\n"
            )
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._run("pg_ctl", "start", "--wait", "--timeout", str(START_S), "--log", str(self._data / "log"))

    def crash(self) -> None:
        """Stop it without tidying up, as a crash would; the next start has to recover."""
        self._run("pg_ctl", "stop", "--mode", "immediate", "--wait")

    def database(self) -> str:
        """Make an empty database, and give its URL."""
        self._databases += 1
        name = f"chaos{self._databases}"
        where = ("--host", "127.0.0.1", "--port", str(self.port), "--username", USER)
        subprocess.run([self._binaries / "createdb", *where, name], check=True, capture_output=True)
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{name}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._binaries / program), "--pgdata", str(self._data), *arguments]
        with (self._data.parent / "output").open("wb") as output:
            # Into a file: the server inherits it, and a pipe would not end before the server does.
            done = subprocess.run(command, stdout=output, stderr=output, check=False, user=_user(), cwd="/")
        assert done.returncode == 0, (self._data.parent / "output").read_text()


def binaries() -> Path | None:
    """Give the newest installed server's programs; None where there is none, or nobody that it may run as."""
    found = sorted(Path("/").glob(f"{BINARIES[1:]}/initdb"), key=lambda path: int(path.parts[-3]))
    if not found or (os.geteuid() == 0 and _user() is None):
        return None
    return found[-1].parent


@contextmanager
def running(programs: Path) -> Iterator[Postgres]:
    """Run a server for as long as the block lasts."""
    directory = Path(tempfile.mkdtemp(prefix="hubspoke-pg-"))
    if user := _user():
        shutil.chown(directory, user)
    (port,) = free_ports(1)
    server = Postgres(programs, directory, port)
    try:
        server.create()
        yield server
        server.crash()
    finally:
        shutil.rmtree(directory)


def _user() -> str | None:
    """Give the user that a server runs as, which must not be root; None for whoever runs this."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(USER).pw_name
    except KeyError:
        return None
