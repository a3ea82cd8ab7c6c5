"""What an API key may do."""

import pytest

from hub.core.quota import ApiKey, KeyId, admit, charge, fresh, left, may_ask
from hubspoke.errors import QuotaExceeded, RateLimited
from hubspoke.types import Usage

NOW = 1_000.0
TODAY = 20_000


def a_key(**given: object) -> ApiKey:
    return ApiKey(KeyId("k"), "laptop", **given)


def used(key: ApiKey, times: int, now: float = NOW):
    spent = fresh(key, NOW)
    for _ in range(times):
        spent = admit(key, spent, now=now, today=TODAY)
    return spent


def test_a_key_without_limits_may_ask_for_ever():
    key = a_key()
    assert left(key, used(key, 1_000)) == left(key, fresh(key, NOW))


@pytest.mark.parametrize(
    ("model", "may"), [("llama3", True), ("llama3:8b", True), ("qwen:latest", True), ("tiny", False)]
)
def test_a_key_may_ask_the_models_that_its_patterns_name(model, may):
    assert may_ask(a_key(models=("llama3*", "qwen")), model) is may
    assert may_ask(a_key(), model)


def test_a_minute_holds_as_many_requests_as_the_key_has():
    key = a_key(requests_per_minute=6)
    spent = used(key, 6)
    assert left(key, spent).requests == 0
    with pytest.raises(RateLimited) as refused:
        admit(key, spent, now=NOW, today=TODAY)
    assert refused.value.figures["retry_after_s"] == pytest.approx(10)
    again = admit(key, spent, now=NOW + 10, today=TODAY)
    with pytest.raises(RateLimited):
        admit(key, again, now=NOW + 10, today=TODAY)


def test_requests_that_were_not_made_are_not_saved_up_beyond_a_minute():
    key = a_key(requests_per_minute=2)
    spent = used(key, 2, now=NOW + 3_600)
    with pytest.raises(RateLimited):
        admit(key, spent, now=NOW + 3_600, today=TODAY)


def test_a_day_holds_as_many_tokens_as_the_key_has_and_the_next_one_begins_anew():
    key = a_key(tokens_per_day=10)
    spent = charge(used(key, 1), Usage(prompt_tokens=4, output_tokens=3), TODAY)
    assert left(key, spent).tokens == 3
    spent = charge(admit(key, spent, now=NOW, today=TODAY), Usage(4, 3), TODAY)
    assert left(key, spent).tokens == 0
    with pytest.raises(QuotaExceeded, match="midnight"):
        admit(key, spent, now=NOW, today=TODAY)
    assert left(key, admit(key, spent, now=NOW, today=TODAY + 1)).tokens == 10
