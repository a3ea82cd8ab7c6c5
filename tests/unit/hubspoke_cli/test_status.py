"""`hubspoke status`: cards, what models take of them, and what cannot be used."""

import json

from hubspoke.api.admin.v1 import admin_pb2 as admin_pb
from hubspoke.api.nodes.v1 import nodes_pb2 as nodes_pb
from hubspoke.api.types.v1 import types_pb2 as types_pb
from hubspoke.cli.status import LOCKED_TOLD_MAX
from tests.fakes.hub import FakeHub

GIB = 1 << 30


def a_spoke() -> admin_pb.SpokeStatus:
    spoke = admin_pb.SpokeStatus(name="den", state=1, slots=4, busy=1)
    spoke.inventory.memory.total_bytes = 32 * GIB
    spoke.inventory.memory.available_bytes = 8 * GIB
    good = spoke.inventory.gpus.add(index=0, kind=1, name="NVIDIA GeForce RTX 3060")
    good.memory_total_bytes, good.memory_free_bytes = 12 * GIB, 6 * GIB
    good.utilisation_percent, good.temperature_celsius = 97, 63
    spoke.inventory.gpus.add(index=1, kind=1, name="Tesla K80", fault="fell off the bus")
    spoke.inventory.engines.add(name="ollama", fault="does not answer at 127.0.0.1:11434")
    spoke.pools.add(gpus=[0], total_bytes=12 * GIB, reserved_bytes=2 * GIB, observed_bytes=4 * GIB)
    spoke.pools.add(total_bytes=32 * GIB, free_bytes=8 * GIB)
    return spoke


def test_cards_pools_and_faults_fit_100_columns(mesh, run_at):
    ran = run_at(FakeHub(mesh.hub, spokes=[a_spoke()]), "status")
    assert ran.exit_code == 0, ran.stderr
    for fact in (
        "GPU 0 NVIDIA GeForce RTX 3060, 97 %, 63 °C",
        "█████░░░░░ 6.0 GiB of 12.0 GiB",
        "GPU 1 Tesla K80",
        "cannot be used: fell off the bus",
        "GPU 0: models 4.0 GiB, promised 2.0 GiB",
        "24.0 GiB of 32.0 GiB  main memory",
    ):
        assert fact in ran.stdout
    assert "ollama cannot be used" in " ".join(ran.stdout.split())
    assert max(map(len, ran.stdout.splitlines())) <= 100


def test_json_has_the_pools(mesh, run_at):
    (spoke,) = json.loads(run_at(FakeHub(mesh.hub, spokes=[a_spoke()]), "status", "--json").stdout)["spokes"]
    assert spoke["pools"][0] == {
        "gpus": [0],
        "total_bytes": 12 * GIB,
        "free_bytes": None,
        "reserved_bytes": 2 * GIB,
        "observed_bytes": 4 * GIB,
    }
    assert spoke["pools"][1]["gpus"] == []


def nodes(state: nodes_pb.NodeState.ValueType, count: int) -> list[nodes_pb.Node]:
    return [
        nodes_pb.Node(name=f"n{number}", role=types_pb.ROLE_APP, state=state, why="so it is")
        for number in range(count)
    ]


def test_who_is_locked_is_told_with_why_and_nobody_else(mesh, run_at):
    locked, active = nodes(nodes_pb.NODE_STATE_LOCKED, 1), nodes(nodes_pb.NODE_STATE_ACTIVE, 2)
    ran = run_at(FakeHub(mesh.hub, spokes=[a_spoke()], nodes=active + locked), "status")
    assert ran.stderr == "Warning: n0 is locked: so it is\n"


def test_of_many_who_are_locked_the_first_ones_are_told_and_how_many_more_there_are(mesh, run_at):
    locked = nodes(nodes_pb.NODE_STATE_LOCKED, LOCKED_TOLD_MAX + 3)
    told = json.loads(run_at(FakeHub(mesh.hub, nodes=locked), "status", "--json").stdout)["warnings"]
    assert len(told) == LOCKED_TOLD_MAX + 1
    assert told[-1] == "3 more nodes are locked: `hubspoke nodes list`"
