import io
from pathlib import Path

import pytest

from hubspoke.errors import LoadFailed
from spoke.models.gguf import ARRAY_ITEMS_KEPT, Header, read_header
from spoke.models.store import SHIPPED
from tests.fakes.gguf import ARRAY, LLAMA, Typed, array, header, u32


def read(data: bytes) -> Header:
    return read_header(io.BytesIO(data))


def read_llama(**changes: Typed | str | None) -> Header:
    fields = {**LLAMA, **{name.replace("__", "."): value for name, value in changes.items()}}
    return read(header({name: value for name, value in fields.items() if value is not None}))


def test_a_sound_header_tells_what_the_model_is():
    assert read(header()) == Header(
        architecture="llama",
        name="small",
        quantisation="Q4_K_M",
        parameters=512 * 100 + 512,
        context_tokens_max=4096,
        kv_bytes_per_token=3 * 2 * (64 + 64) * 2,
        has_chat_template=True,
    )


def test_the_shipped_model_is_read_as_it_was_made():
    with (SHIPPED / "tiny-q8_0.gguf").open("rb") as file:
        found = read_header(file)

    assert (found.architecture, found.name, found.quantisation) == ("llama", "tiny", "Q8_0")
    assert (found.parameters, found.context_tokens_max) == (837_376, 2048)
    assert found.kv_bytes_per_token == 4 * 4 * (32 + 32) * 2


def test_version_two_is_read_like_version_three():
    assert read(header(version=2)) == read(header(version=3))


def test_heads_that_differ_by_layer_are_summed():
    found = read_llama(llama__attention__head_count_kv=array(4, 4, 0, 1))

    assert found.kv_bytes_per_token == 5 * (64 + 64) * 2


def test_without_a_number_of_kv_heads_every_head_has_its_own():
    assert read_llama(llama__attention__head_count_kv=None).kv_bytes_per_token == 3 * 8 * (64 + 64) * 2


def test_keys_and_values_may_have_lengths_of_their_own():
    found = read_llama(llama__attention__key_length=u32(192), llama__attention__value_length=u32(128))

    assert found.kv_bytes_per_token == 3 * 2 * (192 + 128) * 2


def test_what_a_header_leaves_out_is_unknown():
    found = read(header({"general.architecture": "mamba"}, tensors={}))

    assert found == Header(architecture="mamba")


def test_a_model_that_pools_makes_vectors():
    assert read_llama(llama__pooling_type=u32(1)).makes_vectors
    assert not read_llama(llama__pooling_type=u32(0)).makes_vectors


def test_a_model_that_ranks_texts_is_of_no_use():
    with pytest.raises(LoadFailed, match="ranks"):
        read_llama(llama__pooling_type=u32(4))


@pytest.mark.parametrize(
    ("template", "tools", "thinks"),
    [
        ("{{ messages }}", False, False),
        ("{% for tool in tools %}{{ tool }}{% endfor %}", True, False),
        ("{% if enable_thinking %}<think>{% endif %}", False, True),
        ("{{ message.reasoning_content }}{{ tools }}", True, True),
    ],
)
def test_a_chat_template_tells_what_the_model_can_do(template: str, tools: bool, thinks: bool):  # noqa: FBT001
    found = read_llama(tokenizer__chat_template=template)

    assert (found.has_chat_template, found.calls_tools, found.thinks) == (True, tools, thinks)


def test_a_chat_template_that_is_no_text_is_none():
    with pytest.raises(LoadFailed):
        read_llama(tokenizer__chat_template=u32(1))


def test_long_and_nested_lists_are_passed_over():
    long = array(8, *["token"] * (ARRAY_ITEMS_KEPT + 1))
    nested = array(ARRAY, (5, (1, 2)), (5, ()))

    assert read_llama(tokenizer__ggml__tokens=long, odd=nested) == read(header())


def test_a_part_of_a_split_model_says_so():
    assert read_llama(split__count=u32(3)).files == 3


def nested(depth: int) -> Typed:
    value: tuple[int, tuple[object, ...]] = (5, ())
    for _ in range(depth):
        value = (ARRAY, (value,))
    return Typed(ARRAY, value)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "ends in the middle"),
        (b"PK\x03\x04 this is a zip", "no GGUF"),
        (header()[:-1], "ends in the middle"),
        (header(version=1), "version 1"),
        (b"GGUF\x00\x00\x00\x03" + b"\x00" * 16, "version"),
        (b"GGUF\x03\x00\x00\x00" + b"\xff" * 8 + b"\x00" * 8, "tensors"),
        (b"GGUF\x03\x00\x00\x00" + b"\x00" * 8 + b"\xff" * 8, "fields"),
        (b"GGUF\x03\x00\x00\x00" + b"\x00" * 8 + b"\x01" + b"\x00" * 7 + b"\xff" * 8, "bytes of text"),
        (header({}), "architecture"),
        (header({"general.architecture": u32(1)}), "general.architecture"),
        (header({**LLAMA, "llama.context_length": "long"}), "llama.context_length"),
        (header({**LLAMA, "llama.context_length": Typed(5, -1)}), "llama.context_length"),
        (header({**LLAMA, "llama.context_length": Typed(7, value=True)}), "llama.context_length"),
        (header({**LLAMA, "llama.attention.head_count_kv": array(4, 1, 2)}), "head_count_kv"),
        (header({**LLAMA, "llama.block_count": u32(2**31 - 1)}), "layers"),
        (header({**LLAMA, "odd": nested(6)}), "arrays in arrays"),
        (header(tensors={"huge": (2**62, 2**62)}), "no machine"),
        (header(tensors={"deep": (1, 1, 1, 1, 1)}), "5 dimensions"),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(data: bytes, complaint: str):
    with pytest.raises(LoadFailed, match=complaint):
        read(data)


def test_a_field_that_comes_twice_is_refused():
    once = header({"general.architecture": "a"}, tensors={})
    twice = once[:16] + b"\x02" + once[17:] + once[24:]

    with pytest.raises(LoadFailed, match="twice"):
        read(twice)


def test_a_value_of_an_unknown_type_is_refused():
    data = header({"general.architecture": "a"}, tensors={})
    at = data.index(b"architecture") + len(b"architecture")

    with pytest.raises(LoadFailed, match="unknown type 99"):
        read(data[:at] + b"\x63\x00\x00\x00" + data[at + 4 :])


def test_complaints_do_not_name_the_file(tmp_path: Path):
    path = tmp_path / "secret-project.gguf"
    path.write_bytes(b"garbage")

    with path.open("rb") as file, pytest.raises(LoadFailed) as refused:
        read_header(file)

    assert "secret" not in refused.value.message
