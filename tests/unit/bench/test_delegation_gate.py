"""The gate decides as its bench says: with simulated models this is a matter of arithmetic, so it can be held."""

import asyncio
from random import Random

from click.testing import CliRunner

from bench.delegation_gate import SOLO_SHARE_MIN, TIME_RATIO_MIN, TOKENS_RATIO_MIN, main
from bench.gate_arms import alone, gated
from bench.gate_jobs import Kind, document, parts, short, tasks
from bench.gate_models import BIG, FLEET, MIDDLE, JumpingLoop, Simulated
from hub.core.delegation import review
from hubspoke.types import Mode

SEED = 7


def run(coroutine):
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(coroutine)


async def both(task, rng):
    big = await alone(Simulated(rng), FLEET.big, BIG.model, task)
    choice, outcome = await gated(Simulated(rng), FLEET, task)
    return choice, big, outcome


def test_short_questions_are_left_alone():
    rng = Random(SEED)

    async def share() -> float:
        choices = [(await gated(Simulated(rng), FLEET, short(rng)))[0] for _ in range(100)]
        return sum(choice.mode is Mode.SOLO for choice in choices) / len(choices)

    assert run(share()) >= SOLO_SHARE_MIN


def test_a_long_document_costs_the_big_model_a_fraction():
    rng = Random(SEED)
    task = document(rng)
    choice, big, outcome = run(both(task, rng))
    assert choice.mode is Mode.MAP
    assert big.big_tokens >= TOKENS_RATIO_MIN * outcome.big_tokens
    assert big.seconds >= TIME_RATIO_MIN * outcome.seconds
    assert task.score(outcome.result) == 1.0


def test_independent_parts_are_done_side_by_side():
    rng = Random(SEED)
    choice, big, outcome = run(both(parts(rng), rng))
    assert choice.mode is Mode.DAG
    assert big.seconds >= TIME_RATIO_MIN * outcome.seconds
    assert outcome.big_tokens < big.big_tokens


def test_what_is_refused_twice_the_big_model_does_itself():
    rng = Random(SEED)
    task = parts(rng)

    async def spent(repairs: float) -> int:
        _, outcome = await gated(Simulated(rng, repairs=repairs), FLEET, task)
        return outcome.big_tokens

    async def compared() -> tuple[int, int]:
        return await spent(0.0), await spent(1.0)

    none, all_ = run(compared())
    assert all_ > 2 * none


def test_a_simulated_model_takes_as_long_as_it_would():
    async def seconds() -> float:
        models = Simulated(Random(SEED), off=0.0)
        await asyncio.gather(*(models.ask(MIDDLE.model, "Write about 90 words.") for _ in range(4)))
        return asyncio.get_running_loop().time()

    took = run(seconds())
    per_answer = 90 * 1.4 / MIDDLE.decode_tokens_per_s
    assert 2 * 0.7 * per_answer < took < 2 * 1.3 * per_answer + 1


def test_a_simulated_review_judges_what_it_is_shown():
    async def said() -> str:
        prompt = "[part-1] Who?\n\n[part-2] Why?"
        return (await Simulated(Random(SEED), repairs=1.0).ask(BIG.model, prompt, review.SCHEMA)).text

    assert [verdict.kind.value for verdict in review.verdicts(run(said()), ["part-1", "part-2"])] == [
        "repair"
    ] * 2


def test_work_is_made_from_its_seed():
    made = tasks(Random(SEED), 1, 2, 3)
    assert made == tasks(Random(SEED), 1, 2, 3)
    assert [task.kind for task in made] == [Kind.DOCUMENT, *[Kind.PARTS] * 2, *[Kind.SHORT] * 3]


def test_a_score_is_the_share_of_what_is_right():
    task = parts(Random(SEED))
    assert task.score(" ".join(task.truth).upper()) == 1.0
    assert task.score("") == 0.0


def test_it_says_that_the_models_are_simulated(tmp_path):
    place = tmp_path / "gate.json"
    result = CliRunner().invoke(main, ["--quick", "--json", str(place)])
    assert result.exit_code == 0, result.output
    assert "SIMULATED" in result.output
    assert '"models": "simulated"' in place.read_text()


def test_a_real_mesh_takes_small_models_too():
    assert CliRunner().invoke(main, ["--big", "large"]).exit_code == 2
