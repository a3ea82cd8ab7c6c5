"""The blocks of docs/apps.md work as they stand there, but for the address and the key."""

from __future__ import annotations

import asyncio
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.clients import trials
from tests.clients.families import node_packages, programs_of
from tests.clients.page import blocks
from tests.clients.roster import families
from tools.vendors import NODE

if TYPE_CHECKING:
    from tests.clients.trials import Ground

pytestmark = [pytest.mark.clients, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

ADDRESS, KEY = "http://localhost:7445", "hsk_..."
RUN_S_MAX = 120.0
ASKS_FOR_A_PAIR = "instructor"
"""Its block wants a model that calls tools."""
SETTINGS = {"AIDER_EDIT_FORMAT": "ask", "AIDER_MAP_TOKENS": "0"}
"""Aider's instructions on how to edit files are more than the context of `tiny` holds."""
PRINTED = {ASKS_FOR_A_PAIR: "name=", "aider": "received"}
"""What tells that a block has worked, where that is not the capital."""


@pytest.mark.parametrize(
    ("family", "name", "text"),
    [
        pytest.param(family, name, text, id=f"{name}-{index}")
        for index, (family, name, text) in enumerate(blocks())
        if family in families()
    ],
)
async def test_a_block_of_the_page_works(ground: Ground, family: str, name: str, text: str) -> None:
    text = text.replace(ADDRESS, ground.gateway.url).replace(KEY, ground.gateway.key)
    if family == ASKS_FOR_A_PAIR:
        text = text.replace("tiny", ground.skilled)
    kept = {variable: os.environ[variable] for variable in ("PATH", "TMPDIR") if variable in os.environ}
    settings = {**kept, **trials.AT_HOME, **SETTINGS, "HOME": str(ground.home)}
    folder = ground.home
    if family == NODE:
        program, folder = node_packages()
        command = [program, "--input-type=module", "--eval", text]
    elif name.endswith("-sh"):
        settings["PATH"] = f"{programs_of(family)}{os.pathsep}{settings['PATH']}"
        command = ["sh", "-euc", text]
    else:
        command = [str(programs_of(family) / "python"), "-c", text]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    async with asyncio.timeout(RUN_S_MAX):
        printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    assert PRINTED.get(family, "Paris") in printed.decode()
