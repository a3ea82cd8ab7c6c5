"""The bench of identity runs to its end, small."""

import json
from pathlib import Path

from click.testing import CliRunner

from bench import identity
from bench.identity_questions import Scale


def test_every_question_gets_an_answer(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(
        identity,
        "QUICK",
        Scale(joins=1, renewals=1, rejoins=1, handshakes=1, calls=5, nodes=2, revoked=1, exchanged=1),
    )
    file = tmp_path / "identity.json"
    said = CliRunner().invoke(identity.main, ["--quick", "--json", str(file)], catch_exceptions=False)
    assert said.exit_code == 0
    assert "from revoking to the end of the stream, of 2 nodes" in said.stdout
    figures = json.loads(file.read_text())
    assert set(identity.QUESTIONS) <= set(figures)
    assert figures["authorisation"]["calls"] == 5
