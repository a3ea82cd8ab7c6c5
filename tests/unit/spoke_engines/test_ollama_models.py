import pytest
from ollama import ListResponse, ProcessResponse, ShowResponse

from hubspoke.types import Capability, Loaded, LoadPlan
from spoke.engines.ollama.models import BYTES_MAX, Facts, facts, is_of_cloud, listed, loaded, plan

HEX = "ab" * 32
LLAMA_8B = {
    "general.architecture": "llama",
    "general.parameter_count": 8_030_261_248,
    "llama.context_length": 131_072,
    "llama.block_count": 32,
    "llama.embedding_length": 4096,
    "llama.attention.head_count": 32,
    "llama.attention.head_count_kv": 8,
}


WRITES = frozenset({Capability.CHAT, Capability.COMPLETION, Capability.JSON_SCHEMA, Capability.SAMPLING})


def tags(**changes: object) -> ListResponse:
    details = {"family": "llama", "quantization_level": "Q4_K_M", "parameter_size": "8.0B"}
    model = {"model": "llama3.1:latest", "digest": HEX, "size": 4_900_000_000, "details": details}
    return ListResponse(models=[model | changes])


def shown(info: dict[str, object], capabilities: list[str] | None = None) -> Facts:
    return facts(ShowResponse(model_info=info, capabilities=capabilities))


def test_a_model_is_listed_by_what_people_call_it():
    (model,) = listed(tags())

    assert (model.short, model.digest) == ("llama3.1", f"sha256:{HEX}")
    assert (model.size_bytes, model.family, model.quantisation) == (4_900_000_000, "llama", "Q4_K_M")


def test_another_tag_stays():
    (model,) = listed(tags(model="qwen3:1.7b"))

    assert model.short == "qwen3:1.7b"


@pytest.mark.parametrize("digest", [None, "", "abc", HEX.upper()])
def test_a_digest_that_is_none_is_none(digest: str | None):
    (model,) = listed(tags(digest=digest))

    assert model.digest == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "gpt-oss:120b-cloud"},
        {"model": "kimi-k2:cloud"},
        {"model": "some.host/some/kimi-k2:Cloud"},
        {"size": 384},
        {"model": ""},
        {"model": "x" * 300},
        {"model": "a\x1bb"},
    ],
    ids=["cloud tag", "cloud", "cloud elsewhere", "no weights", "no name", "long name", "control sign"],
)
def test_what_the_mesh_cannot_offer_is_left_out(changes: dict[str, object]):
    assert listed(tags(**changes)) == ()


def test_missing_details_are_unknown():
    (model,) = listed(tags(details=None))

    assert (model.family, model.quantisation) == ("", "")


def test_the_header_tells_what_a_context_costs():
    known = shown(LLAMA_8B, ["completion", "tools", "insert"])

    assert known == Facts(
        capabilities=WRITES | {Capability.TOOLS},
        parameters=8_030_261_248,
        context_tokens_max=131_072,
        kv_bytes_per_token=128 * 1024,
    )


def test_heads_may_have_a_length_of_their_own():
    own = LLAMA_8B | {"llama.attention.key_length": 256, "llama.attention.value_length": 128}

    assert shown(own).kv_bytes_per_token == 32 * 8 * (256 + 128) * 2


@pytest.mark.parametrize(
    "info",
    [
        {},
        {"general.architecture": 5},
        LLAMA_8B | {"llama.attention.head_count": []},
        LLAMA_8B | {"llama.block_count": 10**9},
    ],
)
def test_what_the_header_does_not_tell_is_unknown(info: dict[str, object]):
    assert shown(info).kv_bytes_per_token == 0


@pytest.mark.parametrize(
    ("told", "known"),
    [
        (["completion", "vision"], WRITES | {Capability.VISION}),
        (["completion", "tools", "thinking"], WRITES | {Capability.TOOLS, Capability.THINKING}),
        (["embedding"], {Capability.EMBED}),
        (["tools", "thinking", "embedding"], {Capability.EMBED}),
        (["tools"], set()),
        (["insert", "audio"], set()),
    ],
)
def test_capabilities_are_read_from_ollamas_words(told: list[str], known: set[Capability]):
    assert shown({}, told).capabilities == known


@pytest.mark.parametrize(
    ("name", "is_cloud"),
    [
        ("qwen3:0.6b", False),
        ("gpt-oss:120b-cloud", True),
        ("gpt-oss:20B:Cloud", True),
        ("kimi-k2:cloud", True),
        ("my-cloud", False),
        ("cloud:latest", False),
        ("host:5000/kimi-k2", False),
        ("host:5000/kimi-k2:cloud", True),
    ],
)
def test_the_tag_says_what_runs_in_the_cloud(name: str, *, is_cloud: bool):
    assert is_of_cloud(name) is is_cloud


def test_before_capabilities_were_told_the_header_says_who_makes_vectors():
    assert shown(LLAMA_8B).capabilities == {Capability.CHAT, Capability.COMPLETION}
    assert shown({"general.architecture": "bert", "bert.pooling_type": 1}).capabilities == {Capability.EMBED}


def test_a_model_that_can_nothing_we_know_can_nothing():
    assert shown({}, ["image"]).capabilities == frozenset()


def running(**changes: object) -> ProcessResponse:
    process = {"model": "tiny:latest", "size": 300, "size_vram": 200, "context_length": 4096}
    return ProcessResponse(models=[process | changes])


def test_what_is_in_memory_says_what_it_takes_up():
    assert loaded(running(), 2, {}) == {"tiny": Loaded(2, 4096, memory_bytes=300, vram_bytes=200)}


def test_a_model_on_no_card_is_known_to_be_on_none():
    assert loaded(running(size_vram=0), 1, {})["tiny"].vram_bytes == 0


def test_an_older_server_is_taken_to_have_done_what_it_was_asked_for():
    old = running(context_length=None, size_vram=None)

    assert loaded(old, 1, {"tiny": 1024}) == {"tiny": Loaded(1, 1024, memory_bytes=300)}
    assert loaded(old, 1, {}) == {}


def test_figures_beyond_reason_are_cut():
    assert loaded(running(size=2**60), 1, {})["tiny"].memory_bytes == BYTES_MAX


def test_a_plan_larger_than_the_model_is_cut_to_the_model():
    every = frozenset({Capability.CHAT})

    assert plan(LoadPlan(1, 8192), Facts(every, context_tokens_max=2048)) == LoadPlan(1, 2048)
    assert plan(LoadPlan(1, 8192), Facts(every)) == LoadPlan(1, 8192)
