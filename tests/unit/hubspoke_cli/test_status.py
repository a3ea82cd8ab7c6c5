"""`hubspoke status`: cards, what models take of them, and what cannot be used."""

import json

from hubspoke.api.admin.v1 import admin_pb2 as admin_pb
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
