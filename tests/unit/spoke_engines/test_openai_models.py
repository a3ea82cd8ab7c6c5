import json

import pytest

from hubspoke.errors import EngineProtocol
from hubspoke.types import Capability
from spoke.engines.openai.dialect import LLAMA_CPP, PLAIN, SGLANG, VLLM, Dialect
from spoke.engines.openai.models import MODELS_MAX, Served, served


def listing(*models: object) -> bytes:
    return json.dumps({"object": "list", "data": models}).encode()


def test_only_ids_are_sure_to_be_there():
    assert served(listing({"id": "a"}, {"id": "b", "object": "model", "owned_by": 5})) == (
        Served("a"),
        Served("b"),
    )


@pytest.mark.parametrize("name", ["", "x" * 300, "a\nb"])
def test_names_that_the_mesh_cannot_carry_are_left_out(name: str):
    assert served(listing({"id": name}, {"id": "sound"})) == (Served("sound"),)


def test_a_model_that_is_listed_twice_is_one():
    assert served(listing({"id": "a"}, {"id": "a", "max_model_len": 8})) == (Served("a"),)


def test_of_a_shop_only_so_many_are_taken():
    assert len(served(listing(*({"id": str(number)} for number in range(MODELS_MAX + 9))))) == MODELS_MAX


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"data": 5}', b'{"data": [{}]}', b"\xff", b'{"x": ' + b"[" * 5000]
)
def test_garbage_is_no_list(body: bytes):
    with pytest.raises(EngineProtocol):
        served(body)


@pytest.mark.parametrize(
    ("owner", "dialect"),
    [
        ("vllm", VLLM),
        ("sglang", SGLANG),
        ("llamacpp", LLAMA_CPP),
        ("organization_owner", PLAIN),
        (None, PLAIN),
    ],
)
def test_whose_a_model_is_tells_how_to_speak_to_the_server(owner: object, dialect: Dialect):
    (found,) = served(listing({"id": "a", "owned_by": owner}))

    assert found.dialect == dialect
    assert (Capability.SAMPLING in found.known) is (dialect is not PLAIN)


@pytest.mark.parametrize(
    ("architecture", "sees"),
    [
        ({"input_modalities": ["text", "image"]}, True),
        ({"input_modalities": ["text"]}, False),
        ({"input_modalities": "image"}, False),
        ({}, False),
        ("llama", False),
        (5, False),
    ],
)
def test_llama_server_says_what_goes_into_a_model(architecture: object, sees: bool):  # noqa: FBT001  # what is expected
    (found,) = served(listing({"id": "a", "architecture": architecture}))

    assert (Capability.VISION in found.known) is sees
