from spoke.gpu.memory import host_memory


def test_some_of_the_machines_memory_is_available():
    memory = host_memory()
    assert 0 < memory.available_bytes <= memory.total_bytes
