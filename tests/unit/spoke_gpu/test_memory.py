"""Main memory, with the limits of containers and services as Linux writes them down."""

from pathlib import Path

import pytest

from hubspoke.types import HostMemory
from spoke.gpu.cgroup import within_groups
from spoke.gpu.memory import host_memory

GIB = 2**30
MACHINE = HostMemory(total_bytes=64 * GIB, available_bytes=40 * GIB)
NO_LIMIT_V1 = "9223372036854771712"


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    return root


def v2(folder: str, limit: int | str, current: int = 0, inactive: int = 0) -> dict[str, str]:
    at = f"sys/fs/cgroup{folder}"
    return {
        f"{at}/memory.max": str(limit),
        f"{at}/memory.current": str(current),
        f"{at}/memory.stat": f"anon 4096\nfile 8192\nactive_file 17\ninactive_file {inactive}\nslab 1",
    }


def v1(folder: str, limit: int | str, usage: int = 0, inactive: int = 0) -> dict[str, str]:
    at = f"sys/fs/cgroup/memory{folder}"
    return {
        f"{at}/memory.limit_in_bytes": str(limit),
        f"{at}/memory.usage_in_bytes": str(usage),
        f"{at}/memory.stat": f"cache 1\ninactive_file 1\ntotal_cache 9\ntotal_inactive_file {inactive}",
    }


def test_some_of_the_machines_memory_is_available():
    memory = host_memory()
    assert 0 < memory.available_bytes <= memory.total_bytes


def test_a_container_has_what_its_limit_leaves(tmp_path: Path):
    root = written(tmp_path, {"proc/self/cgroup": "0::/"} | v2("", 8 * GIB, current=6 * GIB, inactive=GIB))

    assert within_groups(MACHINE, root) == HostMemory(total_bytes=8 * GIB, available_bytes=3 * GIB)


def test_a_limit_gives_no_more_than_the_machine_has_free(tmp_path: Path):
    root = written(tmp_path, {"proc/self/cgroup": "0::/"} | v2("", 60 * GIB, current=GIB))

    assert within_groups(MACHINE, root) == HostMemory(total_bytes=60 * GIB, available_bytes=40 * GIB)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"proc/self/cgroup": "0::/user.slice"} | v2("/user.slice", "max"),
        {"proc/self/cgroup": "0::/user.slice"},
        {"proc/self/cgroup": "4:memory:/"} | v1("", NO_LIMIT_V1),
        {"proc/self/cgroup": "0::/"} | v2("", 128 * GIB),
        {"proc/self/cgroup": "nonsense"} | v2("", 1 * GIB),
        {"proc/self/cgroup": "0::/"} | v2("", "some"),
    ],
    ids=[
        "no groups",
        "unlimited",
        "no files",
        "unlimited in version 1",
        "more than there is",
        "not the kernel's",
        "no number",
    ],
)
def test_without_a_limit_the_machine_is_what_there_is(tmp_path: Path, files: dict[str, str]):
    assert within_groups(MACHINE, written(tmp_path, files)) == MACHINE


def test_the_tightest_of_the_groups_around_it_counts(tmp_path: Path):
    service = "/system.slice/hubspoke.service"
    root = written(
        tmp_path,
        {"proc/self/cgroup": f"0::{service}"}
        | v2("", "max")
        | v2("/system.slice", 16 * GIB, current=15 * GIB)
        | v2(service, 8 * GIB, current=2 * GIB),
    )

    assert within_groups(MACHINE, root) == HostMemory(total_bytes=8 * GIB, available_bytes=GIB)


@pytest.mark.parametrize("path", ["/docker/4cf33a20", "/../../system.slice", "/"])
def test_a_path_of_outside_the_container_leads_to_the_containers_own_group(tmp_path: Path, path: str):
    root = written(tmp_path, {"proc/self/cgroup": f"0::{path}"} | v2("", 8 * GIB, current=GIB))

    assert within_groups(MACHINE, root).available_bytes == 7 * GIB


def test_version_1_is_read_as_well(tmp_path: Path):
    groups = "11:cpu,cpuacct:/docker/4cf3\n4:memory:/docker/4cf3\n1:name=systemd:/docker/4cf3\n0::/"
    root = written(
        tmp_path,
        {"proc/self/cgroup": groups}
        | v1("", NO_LIMIT_V1)
        | v1("/docker/4cf3", 4 * GIB, usage=3 * GIB, inactive=2 * GIB),
    )

    assert within_groups(MACHINE, root) == HostMemory(total_bytes=4 * GIB, available_bytes=3 * GIB)


def test_a_group_that_is_over_its_limit_has_nothing_left(tmp_path: Path):
    root = written(tmp_path, {"proc/self/cgroup": "0::/"} | v2("", GIB, current=2 * GIB))

    assert within_groups(MACHINE, root).available_bytes == 0


def test_files_that_cannot_be_read_say_nothing(tmp_path: Path):
    root = written(tmp_path, {"proc/self/cgroup": "0::/"} | v2("", GIB))
    (root / "sys/fs/cgroup/memory.max").write_bytes(b"\xff\xfe")
    assert within_groups(MACHINE, root) == MACHINE

    (root / "sys/fs/cgroup/memory.max").unlink()
    (root / "sys/fs/cgroup/memory.max").mkdir()
    assert within_groups(MACHINE, root) == MACHINE
