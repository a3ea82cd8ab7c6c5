"""What a spoke says in words of its own: shown on terminals and written to logs."""

from hubspoke.types import EngineInfo, Gpu, GpuKind, HostMemory, Inventory
from hubspoke.wire import inventory

HOSTILE = "\x1b[2Jgone\r\nspoke lost\u202e"
SHOWN = "?[2Jgone??spoke lost?"


def over_the_wire(fault: str) -> list[str]:
    gpu = Gpu(index=0, kind=GpuKind.CUDA, name="card", fault="")
    message = inventory.to_wire(
        Inventory(HostMemory(1 << 30, 1 << 29), gpus=(gpu,), engines=(EngineInfo("fake"),))
    )
    message.gpus[0].fault = message.engines[0].fault = fault  # as a spoke might send it that is not ours
    came = inventory.from_wire(message)
    return [came.gpus[0].fault, came.engines[0].fault]


def test_a_fault_cannot_steer_a_terminal_or_forge_a_line_of_a_log():
    assert over_the_wire(HOSTILE) == [SHOWN, SHOWN]


def test_a_fault_is_cut_where_it_gets_long():
    assert over_the_wire("x" * 5_000) == ["x" * inventory.FAULT_CHARS_MAX] * 2
