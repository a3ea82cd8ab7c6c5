"""Whether clients that try again by themselves are told to leave it."""

from datetime import UTC, datetime

import pytest

from hub.gateway.advice import advice
from hubspoke.errors import (
    STATUS,
    LoadFailed,
    MeshError,
    ModelLoading,
    NoSpoke,
    QueueFull,
    QuotaExceeded,
    Unsupported,
)

NOW = datetime(2026, 3, 1, 23, 59, 30, tzinfo=UTC)
SDKS_TRY_AGAIN = {408, 409, 429}


def told(error: MeshError, *, may_have_run: bool = False) -> dict[str, str]:
    return dict(advice(error, may_have_run=may_have_run, now=NOW))


@pytest.mark.parametrize("error", [QueueFull("full"), NoSpoke("away")])
def test_what_passes_is_left_to_the_client_until_work_may_have_run(error: MeshError):
    assert told(error) == {"retry-after": "1"}
    assert told(error, may_have_run=True) == {"retry-after": "1", "x-should-retry": "false"}


def test_a_load_says_when_to_come_back():
    assert told(ModelLoading("soon", retry_after_s=12.4)) == {"retry-after": "12"}


def test_what_does_not_pass_is_not_to_be_asked_again_whatever_its_status_says():
    assert STATUS[Unsupported].http >= 500
    assert told(Unsupported("nobody can")) == {"x-should-retry": "false"}


def test_a_load_that_failed_may_be_asked_again_only_where_it_says_when():
    assert told(LoadFailed("damaged")) == {"x-should-retry": "false"}
    assert told(LoadFailed("it crashed", retry_after_s=30.0)) == {"retry-after": "30"}


def test_a_quota_lasts_until_midnight_and_is_not_worth_a_second_try():
    assert told(QuotaExceeded("used up")) == {"retry-after": "30", "x-should-retry": "false"}


def test_every_error_after_work_may_have_run_is_final():
    assert {told(kind("x"), may_have_run=True)["x-should-retry"] for kind in STATUS} == {"false"}


def test_no_error_of_the_request_itself_is_tried_again_by_a_client_that_goes_by_the_status():
    bare = {kind.reason for kind in STATUS if "x-should-retry" not in told(kind("x"))}
    assert (
        not {"invalid_request", "unsupported", "unknown_model", "loop_detected", "does_not_fit", "internal"}
        & bare
    )
