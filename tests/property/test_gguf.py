"""Whatever lies in a file that calls itself GGUF, reading its header ends soon, with a header or a declared error."""

import io
import struct

from hypothesis import given
from hypothesis import strategies as st

from hubspoke.errors import LoadFailed
from spoke.models.gguf import STRING_BYTES_MAX, Header, read_header
from tests.fakes.gguf import LLAMA, array, header, u32

SOUND = header()
START = b"GGUF\x03\x00\x00\x00"
U64 = st.integers(0, 2**64 - 1)


class Watched(io.BytesIO):
    """Counts how much is asked for at once: a length that is believed unchecked would show."""

    asked_max = 0

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None
        self.asked_max = max(self.asked_max, size)
        return super().read(size)


def attempt(data: bytes) -> Header | None:
    file = Watched(data)
    try:
        return read_header(file)
    except LoadFailed:
        return None
    finally:
        assert 0 <= file.asked_max <= STRING_BYTES_MAX


@given(st.binary(max_size=400))
def test_garbage_is_refused(data: bytes):
    assert attempt(data) is None or data.startswith(b"GGUF")


@given(st.binary(max_size=400))
def test_garbage_behind_a_sound_start_is_read_or_refused(data: bytes):
    attempt(START + data)


@given(U64, U64, st.binary(max_size=200))
def test_no_count_is_believed(tensors: int, fields: int, data: bytes):
    attempt(START + struct.pack("<QQ", tensors, fields) + data)


@given(st.integers(0, len(SOUND) - 1), st.binary(min_size=1, max_size=9))
def test_a_header_with_a_few_wrong_bytes_is_read_or_refused(at: int, wrong: bytes):
    attempt(SOUND[:at] + wrong + SOUND[at + len(wrong) :])


@given(st.integers(0, len(SOUND) - 1))
def test_a_header_that_is_cut_short_is_refused(end: int):
    assert attempt(SOUND[:end]) is None


@given(
    layers=st.integers(1, 128),
    heads=st.integers(1, 128),
    head_length=st.integers(1, 256),
    data=st.data(),
)
def test_the_cache_of_a_token_is_the_sum_over_its_layers(
    layers: int, heads: int, head_length: int, data: st.DataObject
):
    kv_heads = data.draw(st.lists(st.integers(0, heads), min_size=layers, max_size=layers))
    fields = {
        **LLAMA,
        "llama.block_count": u32(layers),
        "llama.attention.head_count": u32(heads),
        "llama.attention.head_count_kv": array(4, *kv_heads),
        "llama.embedding_length": u32(heads * head_length),
    }

    found = read_header(io.BytesIO(header(fields)))

    assert found.kv_bytes_per_token == sum(2 * count * head_length * 2 for count in kv_heads)
