"""The whole look at one identity of this machine: its files, its certificate, its authorities, its hubs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from hubspoke.diagnosis import judge
from hubspoke.diagnosis.findings import bad, softened, worst
from hubspoke.diagnosis.judge import Outcome, Span
from hubspoke.diagnosis.probe import Holder, look
from pki.errors import PkiError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from hubspoke.diagnosis.findings import Finding
    from pki.files import NodeFiles

HUBS_LOOKED_AT_MAX: Final = 16


async def of_node(files: NodeFiles, hubs: Sequence[str], now: datetime) -> tuple[Finding, ...]:
    """Look at the identity in *files*, and from there at *hubs*, else at those that it came with."""
    found: list[Finding] = []
    try:
        own = await asyncio.to_thread(files.load_identity)
        who = f"the {own.identity.role} {own.identity.name!r}"
        found.append(judge.of_identity(who, Span(own.not_before, own.not_after), now))
        anchors = await asyncio.to_thread(files.load_anchors, now=now)
        addresses = hubs or (await asyncio.to_thread(files.load_addresses)).mesh
    except PkiError as error:
        return (*found, bad("files", error.what, error.remedy))
    roots = [(f"root that {who} trusts", anchor.not_valid_after_utc) for anchor in anchors]
    found.append(
        judge.of_authorities(roots, now, "the hub rotates its root: `hubspoke pki rotate root` there")
    )
    holder = Holder(files.identity, own, anchors)
    seen = await asyncio.gather(*(look(address, holder) for address in addresses[:HUBS_LOOKED_AT_MAX]))
    judged = [finding for one in seen for finding in judge.of_hub(one, now)]
    if any(one.outcome is Outcome.ANSWERS for one in seen):
        judged = [softened(finding) for finding in judged]
    return (*found, *judged)


async def reason(files: NodeFiles, hubs: Sequence[str], now: datetime) -> str:
    """Say in one sentence why this machine is not in the mesh, and what mends it; empty when nothing is in the way."""
    found = worst(await of_node(files, hubs, now))
    return "" if found is None else found.sentence
