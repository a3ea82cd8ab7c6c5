"""`hubspoke embed`."""

import json

from hubspoke.cli.failures import Exit
from tests.fakes.hub import FakeHub


def test_each_text_has_its_first_numbers(mesh, run_at):
    ran = run_at(FakeHub(mesh.hub), "embed", "tiny", "a", "b\x1b c")
    assert ran.stdout.splitlines() == [
        "[+1.0000, +0.5000, +0.2500, +0.0000, ...]  a",
        "[+4.0000, +0.5000, +0.2500, +0.0000, ...]  b c",
    ]
    assert ran.stderr == "tiny on den: 2 vectors of 5 numbers, 6 tokens\n"


def test_json_has_the_vectors_and_who_made_them(mesh, run_at):
    made = json.loads(run_at(FakeHub(mesh.hub), "embed", "tiny", "abc", "--json").stdout)
    assert made["vectors"] == [[3.0, 0.5, 0.25, 0.0, 1.0]]
    assert (made["started"]["spoke"], made["finished"]["usage"]["prompt_tokens"]) == ("den", 3)


def test_each_line_of_a_pipe_is_a_text(mesh, run_at):
    hub = FakeHub(mesh.hub)
    run_at(hub, "embed", "tiny", "-", "--dimensions", "3", stdin="one\n\ntwo\n")
    assert (list(hub.embedded[0].inputs), hub.embedded[0].dimensions) == (["one", "two"], 3)


def test_nothing_to_turn_into_vectors_is_wrong_usage(mesh, run_at):
    assert run_at(FakeHub(mesh.hub), "embed", "tiny", stdin="\n").exit_code == Exit.USAGE
