"""What is written down: nobody changes it unseen, and nothing secret is in it."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import httpx

from hubspoke.admin import AdminClient
from hubspoke.auditlog.files import LogFiles, verify
from hubspoke.client import MeshClient
from hubspoke.types import Delta, KeyPlan, Message, Request, Speaker
from pki import disk
from pki.identity import Role
from pki.keys import new_key
from tests.fakes.engine import FakeEngine, a_model
from tests.fakes.pauses import pause
from tests.fakes.real_agent import an_agent
from tests.fakes.real_hub import POLL_S
from tests.security.attacks.renewing import renewed
from tests.security.cases import Layer, case
from tests.security.yard import CALL_S, stored

if TYPE_CHECKING:
    from tests.security.yard import Yard

PROMPT = "the colour of my cat is violet"
ANSWER = "and nobody shall know of it"


@case(61, "an audit log with a line edited, and one taken out", Layer.AUDIT)
async def edited_log(yard: Yard) -> str:
    whole = LogFiles(yard.hub.directory / "hub")
    joined, after = [(await yard.node()).load_identity().identity.name for _ in range(2)]
    await is_written(yard, "enrol.ok", after)
    assert verify(whole).broken is None
    texts = [
        broken(yard, lambda lines: [line.replace(joined.encode(), b"somebody") for line in lines]),
        broken(yard, lambda lines: [line for line in lines if joined.encode() not in line]),
        broken(yard, lambda lines: lines[:-1]),
    ]
    return texts[0]


def broken(yard: Yard, edit) -> str:
    """Copy the log, *edit* its lines, and say what the check finds."""
    copy = yard.hub.directory / yard.name("copy")
    copy.mkdir()
    whole = LogFiles(yard.hub.directory / "hub")
    with whole.head.open("rb") as head, disk.locked(head.fileno()):  # the hub is kept from writing
        for path in whole.directory.glob("audit*"):
            shutil.copy(path, copy)
    log = LogFiles(copy).current
    lines = log.read_bytes().splitlines(keepends=True)
    changed = edit(lines)
    assert changed != lines
    log.write_bytes(b"".join(changed))
    found = verify(LogFiles(copy)).broken
    assert found is not None, "nobody notices"
    return f"line {found.line}: {found.what}"


@case(62, "a search for secrets in logs and the audit log", Layer.AUDIT)
async def secrets_in_logs(yard: Yard) -> str:
    name = yard.name("talker")
    token = await yard.token(name)
    async with AdminClient(yard.hub.admin.directory) as admin:
        key = (await admin.create_key(KeyPlan(yard.name("key")))).secret
    app = await yard.node(Role.APP)
    await renewed(yard, stored(app), new_key())
    engine = FakeEngine(a_model("talker"), script=(ANSWER,))
    async with an_agent(yard.hub, yard.name("den"), engine):
        assert ANSWER in await asked_by_grpc(yard)
        assert ANSWER in await asked_by_http(yard, key)
    await is_written(yard, "token.create", name)
    await is_written(yard, "cert.renew", app.load_identity().identity.name)
    written = "\n".join((*yard.logged, *audited(yard)))
    secrets = [token.text, token.secret.hex(), key, PROMPT, ANSWER, "PRIVATE KEY"]
    for secret in secrets:
        assert secret not in written, f"{secret!r:.20} stands in a log"
    assert "spoke registered" in written, "nothing of the spoke is written down"
    return f"none of {len(secrets)} in {len(written) // 1000} kB"


async def asked_by_grpc(yard: Yard) -> str:
    """Ask as an app of the mesh."""
    files = await yard.node(Role.APP)
    async with MeshClient(files.directory) as mesh:
        request = Request(model="talker", messages=(Message(Speaker.USER, PROMPT),))
        return "".join([event.text async for event in mesh.infer(request) if isinstance(event, Delta)])


async def asked_by_http(yard: Yard, key: str) -> str:
    """Ask as an app that knows nothing of a mesh."""
    body = {"model": "talker", "messages": [{"role": "user", "content": PROMPT}]}
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(trust_env=False, timeout=CALL_S) as http:
        answer = await http.post(f"{yard.gateway_url}/v1/chat/completions", json=body, headers=headers)
    return answer.raise_for_status().text


def audited(yard: Yard) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in (yard.hub.directory / "hub").glob("audit*")]


async def is_written(yard: Yard, event: str, node: str) -> None:
    """Wait until the audit log, which a thread of the hub writes, has *event* of *node*."""
    log = LogFiles(yard.hub.directory / "hub").current
    async with asyncio.timeout(CALL_S):
        while not any(f'"{event}"' in line and f'"{node}"' in line for line in log.read_text().splitlines()):
            await pause(POLL_S)
