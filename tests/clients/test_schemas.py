"""Structured output: whatever is drawn, an answer is valid JSON for the schema that was asked for."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.clients import roster, trials
from tests.clients.families import programs_of
from tools.vendors import CLIENTS

if TYPE_CHECKING:
    from tests.clients.trials import Ground

pytestmark = [pytest.mark.clients, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]

PROGRAM = CLIENTS / "programs" / "schemas.py"
SCHEMAS = 10
ALWAYS, WITH_ALL_CLIENTS = 3, 200
RUN_S_MAX = 800.0


async def test_every_answer_is_valid_json_for_its_schema(ground: Ground) -> None:
    if "json_schema" not in await trials.capabilities_of_tiny(ground.gateway):
        pytest.skip("the embedded engine keeps to no schema yet, says its model")
    count = ALWAYS if os.environ.get(roster.CHOICE, roster.SHORT) == roster.SHORT else WITH_ALL_CLIENTS
    process = await asyncio.create_subprocess_exec(
        *(str(programs_of("openai") / "python"), str(PROGRAM), str(count)),
        env=await ground.environment("schemas"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    async with asyncio.timeout(RUN_S_MAX):
        printed, _ = await process.communicate()
    told = [json.loads(line) for line in printed.splitlines()]
    assert [line for line in told if not line["ok"]] == []
    assert [line["valid"] for line in told] == [count] * SCHEMAS
