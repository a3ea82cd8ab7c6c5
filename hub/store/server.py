"""A PostgreSQL database that hubs share: where it is, and how long anybody waits for it."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg
import sqlalchemy as sa

from hubspoke.errors import InvalidRequest
from pki import disk
from pki.errors import UnsafeKeyFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hub.config import DatabaseConfig

DRIVER: Final = "postgresql+psycopg"
CONNECT_TIMEOUT_S: Final = 5

LOST_AFTER: Final = {
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "6000",
}
"""A server that is cut off is given up after 11 s, and what was sent to it after 6, and not after hours."""

CLOSE_S: Final = 3.0
"""How long a hub that stops, or lets go of the lead, waits for the server to hear of it."""

HUNG_MS: Final = 5_000
"""A hub that hangs, or was cut off, in the middle of a transaction keeps what it has locked for so long."""

_OF_THE_SERVER: Final = {
    "idle_in_transaction_session_timeout": HUNG_MS,
    # Else it would keep the locks of a machine that was switched off for two hours.
    "tcp_keepalives_idle": 4,
    "tcp_keepalives_interval": 2,
    "tcp_keepalives_count": 3,
}


def server_url(told: DatabaseConfig) -> sa.URL:
    """Give the address with all that belongs to it; raise InvalidRequest for one that is none."""
    try:
        url = sa.make_url(told.url)
    except sa.exc.ArgumentError as error:
        raise InvalidRequest("[database] url is none; write it as postgresql://user@host/database") from error
    if url.get_backend_name() != "postgresql":
        raise InvalidRequest("[database] url is not one of PostgreSQL, which is all that hubs can share")
    if url.password is not None:
        raise InvalidRequest(
            "[database] url holds a password; put that into a file, as password_file or PGPASSFILE"
        )
    if told.password_file:
        url = url.set(password=_password(Path(told.password_file)))
    return with_settings(url.set(drivername=DRIVER), _OF_THE_SERVER).update_query_dict(
        {**LOST_AFTER, "connect_timeout": str(CONNECT_TIMEOUT_S)}
    )


def why(error: Exception) -> str:
    """Say what the server, or the way to it, is about: the driver's own words, which hold no password."""
    return " ".join(str(error.__cause__ or error).split())


def refusal(error: Exception) -> str:
    """Give the sentence for a server that could not be connected to, and what to do about it."""
    told = why(error)
    if any(sign in told for sign in ("password", "authentication failed", "no pg_hba.conf entry")):
        return f"the database server lets this hub not in ({told}); look at [database] url and password_file"
    if "does not exist" in told:
        return f"the server has no such database or user ({told}); make it, or look at [database] url"
    if "permission denied" in told:
        return (
            f"the user of [database] url may not do what a hub has to ({told}); make it the database's owner"
        )
    return f"the database that hubs share cannot be reached ({told}); look at [database] url, and whether it runs"


def _password(file: Path) -> str:
    try:
        return disk.read_secret(file).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"[database] password_file cannot be read: {error}") from error
    except UnsafeKeyFile as error:
        raise UnsafeKeyFile(f"[database] password_file: {error.what}") from error


def hang_up(raw: object) -> None:
    """End the connection *raw* of the driver, from any thread: whoever waits for its server waits no more.

    A server whose process is halted keeps the line alive for ever.
    """
    if isinstance(raw, psycopg.Connection) and not raw.closed:
        with socket.socket(fileno=os.dup(raw.fileno())) as line, suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)


def with_settings(url: sa.URL, settings: Mapping[str, int]) -> sa.URL:
    """Have the server set *settings* for whoever connects by *url*, beside what stands there."""
    before = url.query.get("options", "")
    told = [before] if isinstance(before, str) else [*before]
    return url.update_query_dict(
        {"options": " ".join((*told, *(f"-c {name}={value}" for name, value in settings.items()))).strip()}
    )
