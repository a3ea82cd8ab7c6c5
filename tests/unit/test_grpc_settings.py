"""The settings of gRPC: ours unless somebody has chosen others, and never those of other people's programs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hubspoke.grpc_settings import SETTINGS, prepare

START_S = 20


def test_what_somebody_has_chosen_stays():
    environ = {"GRPC_EXPERIMENTS": "theirs"}
    prepare(environ)
    assert environ == {**SETTINGS, "GRPC_EXPERIMENTS": "theirs"}


@pytest.mark.parametrize(
    ("module", "settings"),
    [("hub.cli", set(SETTINGS)), ("spoke.cli", set(SETTINGS)), ("hubspoke.client", set())],
)
def test_programs_of_ours_have_them_before_grpc_is_there_and_other_programs_never(
    module: str, settings: set[str]
):
    code = (
        f"import sys, os, {module}; print('grpc' in sys.modules, *sorted({set(SETTINGS)} & set(os.environ)))"
    )
    environ = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    said = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=START_S, check=True
    )
    has_grpc, *found = said.stdout.split()
    assert set(found) == settings
    assert has_grpc == str(not settings)
