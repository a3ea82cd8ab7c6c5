"""Connections to engines over HTTP: how long to wait; and with httpx, as Ollama's package wants it, what a failure means."""

from __future__ import annotations

import logging
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import httpx

from hubspoke.errors import (
    EngineOverloaded,
    EngineProtocol,
    EngineTimeout,
    EngineTruncated,
    EngineUnavailable,
    MeshError,
)
from hubspoke.http_marks import HOP_HEADER, MESH_HEADER

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

CONNECT_TIMEOUT_S: Final = 2.0
WRITE_TIMEOUT_S: Final = 30.0
POOL_TIMEOUT_S: Final = 2.0
LOOK_TIMEOUT_S: Final = 4.0
"""For a question that needs no model. Shorter than what the agent waits for a probe, so that a fault has a reason."""
CONNECTIONS_MAX: Final = 256

MARKED: Final = {HOP_HEADER: "1"}
"""The headers of every request."""

log = logging.getLogger(__name__)


def timeouts(silence_s: float) -> httpx.Timeout:
    """Give the limits of a connection whose engine may say nothing for *silence_s* at a time."""
    return httpx.Timeout(
        connect=CONNECT_TIMEOUT_S, write=WRITE_TIMEOUT_S, read=silence_s, pool=POOL_TIMEOUT_S
    )


def transport(url: str) -> httpx.AsyncHTTPTransport:
    """Connect to *url*. Over https the system's authorities are trusted."""
    # Without https nobody is trusted, which also saves loading every authority.
    is_secret = url.startswith("https:")
    return httpx.AsyncHTTPTransport(
        verify=ssl.create_default_context() if is_secret else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        # A connection for each request: llama.cpp closes idle ones without a word, and a request may run into that.
        limits=httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=0),
        trust_env=False,  # a proxy for the web is not meant for an engine
    )


def refuse_mesh(headers: Container[str]) -> None:
    """Raise EngineProtocol when an answer with these *headers* is that of a mesh and not of an engine."""
    if MESH_HEADER in headers:
        raise EngineProtocol(
            "this address is the gateway of a mesh, and a mesh must not ask itself; "
            "give this spoke the address of the engine itself, or switch the engine off"
        )


@contextmanager
def as_ours() -> Iterator[None]:
    """Turn what can happen to a connection into errors of the mesh."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise EngineUnavailable("the engine does not answer; is it running?") from error
    except httpx.PoolTimeout as error:
        raise EngineOverloaded("the engine has no connection free; try again soon") from error
    except httpx.TimeoutException as error:
        raise EngineTimeout("the engine was silent for too long") from error
    except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
        raise EngineTruncated("the engine closed the connection in the middle of its answer") from error
    except (httpx.ProtocolError, httpx.DecodingError) as error:
        raise EngineProtocol("the engine does not speak HTTP as it should") from error


@contextmanager
def told_to_log() -> Iterator[None]:
    """Put into the log what an engine said of a failure, which goes no further than this machine."""
    try:
        yield
    except MeshError as error:
        notes = getattr(error, "__notes__", [])
        log.warning("engine failed", extra={"reason": error.reason, "detail": " ".join(notes)})
        raise
