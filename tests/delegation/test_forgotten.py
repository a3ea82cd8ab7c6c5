"""What the engine was to begin again by itself, and could not: it only logs that, and accepted work ends all the same."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from hub.delegations import delegations
from hubspoke.types import DelegationState
from tests.fakes.delegating import A, B, asked, planned, until
from tests.fakes.engine import Gate
from tests.fakes.real_agent import an_agent
from tests.fakes.real_hub import real_hub, started_again
from tests.fakes.replying_engine import ReplyingEngine

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(180)


def begin_nothing(*_: object) -> None:
    """As when the database is away at that moment, and back at the next."""


async def test_what_the_engine_has_not_begun_again_is_begun_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dbos._dbos.startup_recovery_thread", begin_nothing)
    monkeypatch.setattr(delegations, "LEFT_S", 1.0)
    monkeypatch.setattr("hub.server.STOP_GRACE_S", 0.1)
    gate = Gate()
    engine = ReplyingEngine(replies=lambda prompt: (gate, prompt) if prompt.startswith("two") else prompt)
    async with AsyncExitStack() as stack:
        async with AsyncExitStack() as first:
            hub = await first.enter_async_context(real_hub(tmp_path))
            app = await stack.enter_async_context(hub.app())
            await stack.enter_async_context(an_agent(hub, "den", engine))
            info = await app.delegations.hand_over(planned(asked(A, "one"), asked(B, "two {a}", A)))
            await gate.reached.wait()
        gate.open()
        async with started_again(hub):
            last = await until(app, info.id, DelegationState.SUCCEEDED)
    assert last.result == "two one"
    assert set(engine.ended.values()) == {1}
