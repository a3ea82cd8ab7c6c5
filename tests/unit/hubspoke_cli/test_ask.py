"""What `hubspoke ask` can be told, and what it shows beside the answer."""

import json

import pytest

from hubspoke.api.inference.v1 import inference_pb2 as pb
from hubspoke.cli.failures import Exit
from hubspoke.cli.waiting import words
from hubspoke.types import Loading, Waiting
from tests.fakes.hub import FakeHub, answer

PNG = b"\x89PNG\r\n\x1a\n and more"


def thinks_and_calls(_request, _hub):
    begun, *_ = answer()
    yield begun
    yield pb.InferResponse(delta=pb.Delta(thinking="Let me\x1b[2J "))
    yield pb.InferResponse(delta=pb.Delta(thinking="see."))
    yield pb.InferResponse(delta=pb.Delta(text="I add."))
    for part in (
        pb.ToolCallPart(index=0, id="a", name="add", arguments='{"x":'),
        pb.ToolCallPart(index=0, arguments="1}"),
    ):
        yield pb.InferResponse(delta=pb.Delta(tool_calls=[part]))
    yield pb.InferResponse(finished=pb.Finished(reason=4))


def loads_first(_request, _hub):
    for second in (2, 3):
        waiting = pb.Waiting(cause=pb.Waiting.CAUSE_LOADING, spoke="den")
        waiting.elapsed.FromSeconds(second)
        waiting.expected.FromSeconds(9)
        yield pb.InferResponse(waiting=waiting)
    yield from answer("Hi")


def test_every_option_reaches_the_hub(mesh, run_at, tmp_path):
    hub = FakeHub(mesh.hub)
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "schema.json").write_text('{"type":"string"}')
    options = {
        "--think": "high",
        "--image": str(tmp_path / "a.png"),
        "--json-schema": str(tmp_path / "schema.json"),
        "--stop": "END",
        "--top-p": "0.5",
        "--top-k": "40",
        "--min-p": "0.25",
        "--repeat-penalty": "1.5",
    }
    run_at(hub, "ask", "tiny", "what is it?", *(word for pair in options.items() for word in pair))
    (asked,) = hub.asked
    assert asked.conversation.messages[0].images[0].data == PNG
    assert (asked.thinking, asked.format.json_schema, asked.stop) == (
        pb.EFFORT_HIGH,
        '{"type":"string"}',
        ["END"],
    )
    drawn = asked.sampling
    assert (drawn.top_p, drawn.top_k, drawn.min_p, drawn.repeat_penalty) == (0.5, 40, 0.25, 1.5)


def test_any_json_object_can_be_asked_for(mesh, run_at):
    hub = FakeHub(mesh.hub)
    run_at(hub, "ask", "tiny", "x", "--json-mode")
    assert hub.asked[0].format.WhichOneof("form") == "json_object"


def test_what_is_no_picture_is_wrong_usage(mesh, run_at, tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    ran = run_at(FakeHub(mesh.hub), "ask", "tiny", "x", "--image", str(tmp_path / "a.txt"))
    assert ran.exit_code == Exit.USAGE
    assert "neither PNG" in ran.stderr


def test_two_forms_exclude_each_other(mesh, run_at, tmp_path):
    (tmp_path / "schema.json").write_text("{}")
    arguments = ("ask", "tiny", "x", "--json-mode", "--json-schema", str(tmp_path / "schema.json"))
    assert run_at(FakeHub(mesh.hub), *arguments).exit_code == Exit.USAGE


def test_thinking_and_calls_stand_beside_the_answer(mesh, run_at):
    ran = run_at(FakeHub(mesh.hub, thinks_and_calls), "ask", "tiny", "x")
    assert ran.stdout == "I add.\n"
    assert ran.stderr.splitlines() == [
        "Thinking:",
        "Let me[2J see.",
        'Calls add({"x":1})',
        "tiny on den: 0 tokens",
    ]


def test_json_says_what_a_delta_is_of(mesh, run_at):
    ran = run_at(FakeHub(mesh.hub, thinks_and_calls), "ask", "tiny", "x", "--json")
    deltas = [event for line in ran.stdout.splitlines() if (event := json.loads(line))["event"] == "delta"]
    assert [sorted(set(delta) - {"event"}) for delta in deltas] == [
        ["thinking"],
        ["thinking"],
        ["text"],
        ["tool_calls"],
        ["tool_calls"],
    ]
    assert deltas[3]["tool_calls"] == [{"index": 0, "id": "a", "name": "add", "arguments": '{"x":'}]


def test_a_pipe_hears_of_a_load_once(mesh, run_at):
    ran = run_at(FakeHub(mesh.hub, loads_first), "ask", "tiny", "x")
    assert ran.stderr.splitlines()[0] == "den loads tiny, which takes about 9 s ..."
    assert ran.stderr.count("den loads") == 1


def test_a_pipe_hears_once_of_a_silence_after_a_load(mesh, run_at):
    def silent(request, hub):
        for event in loads_first(request, hub):
            yield event
            if event.HasField("started"):
                for second in (10, 20):
                    waiting = pb.Waiting(cause=pb.Waiting.CAUSE_SILENT, spoke="den")
                    waiting.elapsed.FromSeconds(second)
                    yield pb.InferResponse(waiting=waiting)

    ran = run_at(FakeHub(mesh.hub, silent), "ask", "tiny", "x")
    assert "den has said nothing for 10 s" in ran.stderr
    assert ran.stderr.count("has said nothing") == 1


def test_json_hears_of_a_load_every_time(mesh, run_at):
    ran = run_at(FakeHub(mesh.hub, loads_first), "ask", "tiny", "x", "--json")
    waiting = [json.loads(line) for line in ran.stdout.splitlines() if "waiting" in line]
    assert [(event["elapsed_s"], event["expected_s"]) for event in waiting] == [(2, 9), (3, 9)]


@pytest.mark.parametrize(
    ("waiting", "told"),
    [
        (Waiting(), "tiny waits for a free slot ..."),
        (Waiting("den"), "den loads tiny ..."),
        (Waiting("den", 3.2, 9.4), "den loads tiny: 3 s of about 9 s"),
        (Loading("den", 3.2, 0.0), "den loads tiny: 3 s"),
        (
            Waiting("den", silent_s=20.4),
            "den has said nothing for 20 s: it reads a long prompt, or its engine hangs",
        ),
    ],
)
def test_how_far_a_load_is_fits_a_line(waiting, told):
    assert words(waiting, "tiny") == told


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_schema_is_not_any_object(mesh, run_at, tmp_path, text: str):
    hub = FakeHub(mesh.hub)
    (tmp_path / "schema.json").write_text(text)
    ran = run_at(hub, "ask", "tiny", "x", "--json-schema", str(tmp_path / "schema.json"))
    assert (ran.exit_code, hub.asked) == (Exit.USAGE, [])
    assert "is empty" in ran.stderr


def test_an_empty_pipe_asks_nothing(mesh, run_at):
    hub = FakeHub(mesh.hub)
    ran = run_at(hub, "ask", "tiny", stdin="")
    assert (ran.exit_code, hub.asked) == (Exit.USAGE, [])
    assert "nothing to ask" in ran.stderr
