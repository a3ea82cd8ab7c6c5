"""What a real mesh writes down: who changed what, and never a secret."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from hub.admissions import TOKEN_LIFETIME_DEFAULT
from hub.config import GatewayConfig
from hubspoke import enrol
from hubspoke.admin import AdminClient
from hubspoke.api.identity.v1 import identity_pb2 as identity_pb
from hubspoke.api.identity.v1.identity_pb2_grpc import IdentityServiceStub
from hubspoke.api.mesh.v1 import mesh_pb2 as pb
from hubspoke.auditlog.chain import OWN_FIELDS
from hubspoke.auditlog.files import LogFiles, verify
from hubspoke.client import MeshClient
from hubspoke.clock import SystemClock
from hubspoke.errors import MeshError, UnknownModel
from hubspoke.logs import JsonFormatter
from hubspoke.types import KeyPlan, Message, Request, Speaker
from hubspoke.wire import times
from pki.errors import UnsafeKeyFile
from pki.identity import Role
from pki.keys import certificate_request
from pki.tokens import JoinToken
from tests.fakes.clock import MovableClock
from tests.fakes.engine import FakeEngine, a_model
from tests.fakes.pauses import pause
from tests.fakes.real_agent import an_agent
from tests.fakes.real_hub import POLL_S, WAIT_S, hub_of, real_hub, started_again

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.real_hub import RealHub

PROMPT = "the prompt that nobody else may read"
ANSWER = "the answer that nobody else may read"
CHAT = "/v1/chat/completions"


def noted(directory: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (directory / "hub" / "audit.jsonl").read_text().splitlines()]


async def is_noted(directory: Path, event: str, times: int = 1) -> None:
    """Wait until an event has been written down so often."""
    async with asyncio.timeout(WAIT_S):
        while [line["event"] for line in noted(directory)].count(event) < times:
            await pause(POLL_S)


def asking(model: str) -> Request:
    return Request(model, messages=(Message(Speaker.USER, PROMPT),))


async def test_what_an_admin_changes_is_written_down_with_their_name(tmp_path: Path) -> None:
    async with real_hub(tmp_path) as hub, hub.spoke("den"), AdminClient(hub.admin.directory) as admin:
        key = await admin.create_key(KeyPlan("laptop"))
        await admin.revoke_key("laptop")
        with pytest.raises(UnknownModel):
            await admin.unload("nobody has this")
    wanted = {"key.create", "key.revoke", "model.unload"}
    lines = [line for line in noted(tmp_path) if line["event"] in wanted]
    assert [(line["event"], line["by"]) for line in lines] == [
        ("key.create", "admin"),
        ("key.revoke", "admin"),
        ("model.unload", "admin"),
    ]
    assert (lines[0]["key"], lines[0]["name"], lines[2]["model"]) == (
        key.info.id,
        "laptop",
        "nobody has this",
    )


async def test_a_token_that_nobody_used_in_time_is_written_down_once_also_when_the_hub_was_away(
    tmp_path: Path,
) -> None:
    clock = MovableClock()
    async with real_hub(tmp_path, clock) as hub, AdminClient(hub.admin.directory) as admin:
        await hub.join("den", Role.SPOKE)
        for name in ("late", "later"):
            lifetime = TOKEN_LIFETIME_DEFAULT * (1 + (name == "later"))
            await admin.create_join_token(name, Role.APP, lifetime=lifetime)
        clock.move(TOKEN_LIFETIME_DEFAULT.total_seconds() + 1)
        await is_noted(tmp_path, "token.expire")
    clock.move(TOKEN_LIFETIME_DEFAULT.total_seconds())
    async with hub_of(hub.made, tmp_path, hub.ports, clock):
        await is_noted(tmp_path, "token.expire", times=2)
    lines = [line for line in noted(tmp_path) if line["event"] == "token.expire"]
    made = {line["node"]: line for line in noted(tmp_path) if line["event"] == "token.create"}
    facts = ("node", "token", "role", "expires_at")
    assert [[line[fact] for fact in facts] for line in lines] == [
        [made[name][fact] for fact in facts] for name in ("late", "later")
    ]
    assert all(line.keys() - OWN_FIELDS == set(facts) for line in lines)


@pytest.mark.parametrize(("ahead", "reason"), [("3600", "ahead"), ("-3600", "behind"), ("5", None)])
async def test_a_spoke_whose_clock_is_off_is_written_down(
    tmp_path: Path, ahead: str, reason: str | None
) -> None:
    async with real_hub(tmp_path) as hub, hub.spoke("den") as spoke:
        sent_at = times.timestamp(SystemClock().now())
        sent_at.seconds += int(ahead)
        await spoke.beats.write(pb.HeartbeatRequest(session=spoke.session, sequence=99, sent_at=sent_at))
        while (await spoke.directives()).sequence != 99:
            pass
    lines = [(line["peer"], line["reason"]) for line in noted(tmp_path) if line["event"] == "clock.skew"]
    assert lines == ([("den", reason)] if reason else [])


@pytest.mark.skipif(os.name != "posix", reason="Windows has no modes and owners")
@pytest.mark.parametrize("name", ["pki/node-issuing.key", "identity.pem", "state.db"])
async def test_a_hub_whose_keys_others_can_read_does_not_start_and_writes_down_why(
    tmp_path: Path, name: str
) -> None:
    async with real_hub(tmp_path) as hub:
        pass
    (tmp_path / "hub" / name).chmod(0o644)
    with pytest.raises(UnsafeKeyFile, match="chmod 600"):
        async with started_again(hub):
            pass
    (line,) = [line for line in noted(tmp_path) if line["event"] == "keyfile.bad_perms"]
    assert name in str(line["why"])
    assert verify(LogFiles(tmp_path / "hub")).broken is None


@contextmanager
def everything_logged() -> Iterator[io.StringIO]:
    """Write all that our packages log into a text, in the form in which programs read it, at the most talkative level."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    loggers = [logging.getLogger(name) for name in ("hub", "hubspoke", "pki", "spoke")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    try:
        yield stream
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)


class Secrets:
    """What must not appear anywhere, and everything in which it might."""

    def __init__(self) -> None:
        self.kept: set[str] = {PROMPT, ANSWER, "PRIVATE KEY"}
        self.errors: list[str] = []

    def keep_token(self, text: str) -> JoinToken:
        token = JoinToken.parse(text)
        self.kept |= {text, text.split(".")[2], token.secret.hex(), repr(token.secret)[2:-1]}
        return token

    def keep_keys_of(self, directory: Path) -> None:
        for path in (*directory.rglob("*.pem"), *directory.rglob("*.key")):
            for body in re.findall(r"PRIVATE KEY-----\n(.*?)-----END", path.read_text(), re.DOTALL):
                self.kept |= {line for line in body.splitlines() if line}

    async def fails(self, what: object) -> None:
        try:
            await what  # type: ignore[misc]
        except MeshError as error:
            self.errors += [str(error), repr(error), repr(error.figures), repr(error.__cause__)]
        else:
            raise AssertionError("this was to fail")

    def found_in(self, text: str) -> list[str]:
        return [secret for secret in self.kept if secret in text or json.dumps(secret)[1:-1] in text]


async def test_no_log_audit_line_or_error_holds_a_secret_or_what_people_say(tmp_path: Path) -> None:
    secrets = Secrets()
    with everything_logged() as logged:
        async with real_hub(tmp_path, gateway=GatewayConfig(port=0)) as hub:
            await live_through(hub, secrets)
    secrets.keep_keys_of(tmp_path)
    assert len(secrets.kept) > 20
    assert len(secrets.errors) >= 12
    audit = (tmp_path / "hub" / "audit.jsonl").read_text()
    assert verify(LogFiles(tmp_path / "hub")).entries > 5
    assert "spoke registered" in logged.getvalue()
    for text in (logged.getvalue(), audit, "\n".join(secrets.errors)):
        assert secrets.found_in(text) == []


async def live_through(hub: RealHub, secrets: Secrets) -> None:
    """Join, renew, chat and fail in every way that has a secret in its hands."""
    async with AdminClient(hub.admin.directory) as admin:
        token = secrets.keep_token((await admin.create_join_token("laptop", Role.APP)).text)
        key = (await admin.create_key(KeyPlan("editor"))).secret
    secrets.kept |= {key, key.rpartition("_")[2]}
    clock, home = SystemClock(), hub.directory / "laptop"
    forged = JoinToken(token.id, bytes(range(32)), token.root, token.addresses)
    secrets.keep_token(forged.text)
    await secrets.fails(enrol.join(forged.text, home, roles=[Role.APP], clock=clock))
    await enrol.join(token.text, home, roles=[Role.APP], clock=clock)
    await secrets.fails(enrol.join(token.text, hub.directory / "again", roles=[Role.APP], clock=clock))
    async with an_agent(hub, "den", FakeEngine(a_model(), script=[ANSWER])), MeshClient(home) as mesh:
        await renew(hub, home)
        answer = await mesh.answer(asking("tiny"))
        assert answer.text == ANSWER
        await secrets.fails(mesh.answer(asking("no such model")))
        await over_http(hub, key, secrets)


async def renew(hub: RealHub, home: Path) -> None:
    files = type(hub.admin)(home)
    channel = await hub.channel(files)
    request = identity_pb.RenewRequest(certificate_request=certificate_request(files.request_key()))
    answer = await IdentityServiceStub(channel).Renew(request)
    files.adopt(answer.certificate_chain, answer.anchors, now=SystemClock().now())
    await channel.close()


async def over_http(hub: RealHub, key: str, secrets: Secrets) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": PROMPT}]}
    url = f"http://127.0.0.1:{hub.ports.gateway[0]}"
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=WAIT_S) as http:
        answered = await http.post(CHAT, json=body, headers={"authorization": f"Bearer {key}"})
        assert ANSWER in answered.text
        refused = [
            await http.post(CHAT, json=body, headers={"authorization": f"Bearer {key[:-1]}"}),
            await http.post(CHAT, json={**body, "model": "gone"}, headers={"x-api-key": key}),
            await http.post(CHAT, json={**body, "top_p": PROMPT}, headers={"x-api-key": key}),
            await http.post(CHAT, content=f"{{{PROMPT}", headers={"x-api-key": key}),
        ]
        assert all(answer.status_code >= 400 for answer in refused)
        secrets.errors += [answer.text for answer in refused]
