"""A PostgreSQL database that hubs share: where it is, and how long anybody waits for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from hubspoke.errors import InvalidRequest

if TYPE_CHECKING:
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
        url = url.set(password=Path(told.password_file).read_text(encoding="utf-8").strip())
    timeout = {"connect_timeout": str(CONNECT_TIMEOUT_S)}
    return url.set(drivername=DRIVER).update_query_dict({**LOST_AFTER, **timeout})
