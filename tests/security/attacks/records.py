"""What is written down: nobody changes it unseen, and nothing secret is in it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import httpx

from hubspoke.admin import AdminClient
from hubspoke.auditlog.files import LogFiles, verify
from hubspoke.client import MeshClient
from hubspoke.types import Delta, KeyPlan, Message, Request, Speaker
from pki.identity import Role
from pki.keys import new_key
from tests.fakes.engine import FakeEngine, a_model
from tests.fakes.real_agent import an_agent
from tests.security.attacks.renewing import renewed
from tests.security.cases import Layer, case
from tests.security.yard import CALL_S, stored

if TYPE_CHECKING:
    from tests.security.yard import Yard

PROMPT = "the colour of my cat is violet"
ANSWER = "and nobody shall know of it"


@case(61, "an audit log with a line edited, and one taken out", Layer.AUDIT)
async def edited_log(yard: Yard) -> str:
    whole = yard.hub.directory / "hub"
    assert verify(LogFiles(whole)).broken is None
    texts = [
        broken(yard, lambda lines: [*lines[:5], lines[5].replace(b'"node"', b'"nude"', 1), *lines[6:]]),
        broken(yard, lambda lines: [*lines[:5], *lines[6:]]),
        broken(yard, lambda lines: lines[:-1]),
    ]
    return texts[0]


def broken(yard: Yard, edit) -> str:
    """Copy the log, *edit* its lines, and say what the check finds."""
    copy = yard.hub.directory / yard.name("copy")
    copy.mkdir()
    for path in (yard.hub.directory / "hub").glob("audit*"):
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
    written = "\n".join((*yard.logged, *audited(yard)))
    secrets = [token.text, token.secret.hex(), key, PROMPT, ANSWER, "PRIVATE KEY"]
    for secret in secrets:
        assert secret not in written, f"{secret!r:.20} stands in a log"
    for event in ("token.create", "cert.renew", "spoke registered"):
        assert event in written, f"nothing of {event} is written down"
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
