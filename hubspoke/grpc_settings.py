"""How gRPC does its work in our own programs. It reads this from the environment when it is first imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from logging import Logger

SETTINGS: Final = {
    # gRPC's newer I/O engine hands every read to another thread. Without it the hub needs a quarter less processor for
    # a message, and a first token comes 0.3 ms sooner (`just bench relay`).
    "GRPC_EXPERIMENTS": "-event_engine_client,-event_engine_listener",
    # A spoke starts a child for every model. gRPC's handlers for fork() abort such a child before it has become
    # another program.
    "GRPC_ENABLE_FORK_SUPPORT": "0",
}


UNWANTED: Final = (
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "GRPC_SYSTEM_SSL_ROOTS_DIR",
    "GRPC_NOT_USE_SYSTEM_SSL_ROOTS",
    "GRPC_SSL_CIPHER_SUITES",
)
"""Whom to trust and how to encrypt is not for the environment to say."""

_forgotten: Final[list[str]] = []


def prepare(environ: MutableMapping[str, str]) -> None:
    """Choose the settings that suit us, unless somebody has chosen others. Call it before gRPC is imported.

    For programs of ours only: the SDK leaves the environment of other people's programs alone.
    """
    for name, value in SETTINGS.items():
        environ.setdefault(name, value)


def forget(environ: MutableMapping[str, str]) -> None:
    """Take away what would change whom a program of ours trusts. Call it before gRPC is imported."""
    _forgotten.extend(name for name in UNWANTED if environ.pop(name, None) is not None)


def tell(log: Logger) -> None:
    """Log what `forget` has taken away, once there is a log."""
    for name in _forgotten:
        log.warning("environment variable ignored", extra={"variable": name})
