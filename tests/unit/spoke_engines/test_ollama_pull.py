import pytest
from ollama import ProgressResponse

from hubspoke.errors import EngineTimeout, EngineTruncated, InvalidRequest, MeshError, Unsupported
from hubspoke.types import PullStep
from spoke.engines.ollama.models import BYTES_MAX
from spoke.engines.ollama.pull import STALL_S, Pull, refuse

LAYER = "pulling 74701a8c35f6"


def told(status: str = LAYER, **figures: int) -> ProgressResponse:
    return ProgressResponse(status=status, **figures)


def test_a_step_is_told_once_and_again_when_it_has_got_further():
    pull = Pull(0.0)
    steps = [
        pull.read(part, 0.0)
        for part in (
            told("pulling manifest"),
            told(total=100),
            told(total=100),
            told(total=100, completed=60),
            told("success"),
        )
    ]

    assert steps == [
        PullStep("pulling manifest"),
        PullStep(LAYER, 0, 100),
        None,
        PullStep(LAYER, 60, 100),
        PullStep("success"),
    ]
    pull.finish()


def test_a_pull_without_success_broke_off():
    pull = Pull(0.0)
    pull.read(told("writing manifest"), 0.0)

    with pytest.raises(EngineTruncated):
        pull.finish()


def test_a_pull_that_says_the_same_for_too_long_has_stalled():
    pull = Pull(0.0)
    pull.read(told(completed=1, total=2), 5.0)

    assert pull.read(told(completed=1, total=2), 5.0 + STALL_S) is None
    with pytest.raises(EngineTimeout, match="network"):
        pull.read(told(completed=1, total=2), 5.1 + STALL_S)


@pytest.mark.parametrize("status", ["couldn't remove unused layers: /home/den", "\x1b[2J", "a" * 200, ""])
def test_words_that_may_hold_a_path_are_not_passed_on(status: str):
    step = Pull(0.0).read(told(status), 0.0)

    assert step == PullStep("working")


def test_figures_that_cannot_be_are_cut_to_what_can():
    step = Pull(0.0).read(told(completed=2**62, total=2**61), 0.0)

    assert step == PullStep(LAYER, BYTES_MAX, BYTES_MAX)
    assert Pull(0.0).read(told(completed=-1, total=-1), 0.0) == PullStep(LAYER)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gpt-oss:120b-cloud", Unsupported),
        ("kimi-k2:CLOUD", Unsupported),
        ("", InvalidRequest),
        ("a\nb", InvalidRequest),
    ],
)
def test_what_must_not_be_pulled_is_refused(name: str, kind: type[MeshError]):
    with pytest.raises(kind):
        refuse(name)


def test_a_model_that_runs_here_may_be_pulled():
    refuse("hf.co/someone/some-model:Q4_K_M")
