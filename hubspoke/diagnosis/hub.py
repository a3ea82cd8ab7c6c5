"""A look at the hub of this machine: its keys, how long its authorities and certificates last, whether it runs."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from hubspoke.diagnosis import judge
from hubspoke.diagnosis.findings import bad, good, warning
from hubspoke.diagnosis.judge import Span
from hubspoke.ports import ENROL_PORT, MESH_PORT
from pki.authority_files import HUB_ISSUING, NODE_ISSUING, ROOT
from pki.errors import PkiError, UnsafeKeyFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from hubspoke.diagnosis.findings import Finding
    from pki.files import HubFiles

CONNECT_S: Final = 2.0
AUTHORITIES: Final = {ROOT: "root", HUB_ISSUING: "issuer of hubs", NODE_ISSUING: "issuer of nodes"}


async def of_hub_here(files: HubFiles, now: datetime) -> tuple[Finding, ...]:
    """Look at the hub whose state is in *files*."""
    on_disk = await asyncio.to_thread(lambda: tuple(_files(files, now)))
    return (
        *on_disk,
        *[await _port(port, what) for port, what in ((MESH_PORT, "mesh"), (ENROL_PORT, "enrol"))],
    )


def _files(files: HubFiles, now: datetime) -> Iterator[Finding]:
    authorities = files.authorities
    try:
        ends = [
            (called, authorities.load_certificate(name).not_valid_after_utc)
            for name, called in AUTHORITIES.items()
        ]
        yield judge.of_authorities(ends, now, "exchange it while it lasts: `hubspoke pki rotate`")
        authorities.load_hub_issuer()
        authorities.load_node_issuer()
        own, gateway = files.load_identity(), files.load_gateway()
        files.load_anchors(now=now)
    except UnsafeKeyFile as error:
        yield bad("files", str(error), "")
        return
    except PkiError as error:
        yield bad("files", error.what, error.remedy)
        return
    yield good("files", f"the keys in {files.directory} are whole, and closed to others")
    yield judge.of_identity(f"the hub {own.identity.name!r}", Span(own.not_before, own.not_after), now)
    yield judge.of_identity("the HTTP gateway", Span(gateway.not_before, gateway.not_after), now)
    if authorities.key(ROOT).exists():
        yield warning(
            "root key",
            f"the root's key lies on this machine, in {authorities.key(ROOT)}",
            "move it to a stick in a drawer: it is needed again only in years",
        )


async def _port(port: int, what: str) -> Finding:
    """Say whether something listens on the usual *port*."""
    with suppress(OSError):
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection("localhost", port)
        writer.close()
        return good("ports", f"something listens on port {port}, the usual {what} port")
    return warning(
        "ports",
        f"nothing listens on port {port} of this machine, the usual {what} port",
        "start `hub-server`",
    )
