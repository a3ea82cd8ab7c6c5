"""What `tiny` does for a delegation: a goal becomes a plan, and finished subtasks get a verdict each.

The prompts are the hub's own for the family `tiny`, and the answers are what it reads.
"""

import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from hub.core.delegation.prompts import Answered, PlanAsk
from hub.core.delegation.tiny_prompts import TINY
from hubspoke.types import SubtaskId

from .skills import ADDEND_MAX, CAPITALS, Exchange, Skill, word

IDS = "abc"
PARTS = (2, 3)
REVIEWED = (1, 3)
REVIEWED_AGAIN = (1, 2)
COUNT_MAX = 9
JOINTS = ("; ", ", ", " and ", " then ", ", then ", ", and ")
FOLLOW_UPS = ("echo", "upper", "reverse")
FOLLOW_UP_SHARE = 0.35
DIFFERS = "!"
WRONG_SHARE = 0.5
UNCHANGED_SHARE = 0.2
NOISE_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class Part:
    """A small piece of work, its right answer, and a wrong one."""

    asked: str
    right: str
    wrong: str


Choice = TypeVar("Choice", str, int)


def plan(rng: Random) -> Exchange:
    """Take a goal apart; what names `it` works on what the part before gave."""
    goal, subtasks = "", list[dict[str, object]]()
    for name in IDS[: rng.randint(*PARTS)]:
        if subtasks and rng.random() < FOLLOW_UP_SHARE:
            verb, before = rng.choice(FOLLOW_UPS), IDS[len(subtasks) - 1]
            goal += f"{rng.choice((' then ', ', then '))}{verb} it"
            subtasks.append({"id": name, "instruction": f"{verb} {{{before}}}", "depends_on": [before]})
        else:
            asked = _part(rng).asked
            goal += (rng.choice(JOINTS) if subtasks else "") + asked
            subtasks.append({"id": name, "instruction": asked})
    return Exchange(None, TINY.plan(PlanAsk(goal)), _json({"subtasks": subtasks, "merge": "concat"}))


def review(rng: Random) -> Exchange:
    """Say each part again as it is right, then whether that is what was answered."""
    return _reviewed(IDS[: rng.randint(*REVIEWED)], rng)


def second_review(rng: Random) -> Exchange:
    """Review what was repaired, which may be any of the parts."""
    return _reviewed(sorted(rng.sample(IDS, rng.randint(*REVIEWED_AGAIN))), rng)


def check(rng: Random) -> Exchange:
    """Judge one part without JSON around it: a `review` has too few verdicts among its words to learn them from."""
    return _checked(_part(rng), rng)


def close_check(rng: Random) -> Exchange:
    """Judge what has to be worked out letter by letter: there a mistake is seen least often."""
    return _checked(rng.choice((_upper, _reverse, _reverse, _add))(rng), rng)


def split(rng: Random) -> Exchange:
    """Take a goal apart into lines: what is difficult about a `plan`."""
    asked = [_part(rng).asked for _ in range(rng.randint(*PARTS))]
    goal = asked[0] + "".join(rng.choice(JOINTS) + each for each in asked[1:])
    return Exchange(None, f"split {goal}", "\n".join(asked))


def compared(right: str, given: str) -> str:
    """Write *right* as far as *given* is the same, and one letter on: there stands a mark.

    So that a difference shows where it is; a model that may only say at the end that there was one does not find it.
    """
    if right == given:
        return right
    same = next(
        (place for place, (one, other) in enumerate(zip(right, given, strict=False)) if one != other), None
    )
    return right[: (min(len(right), len(given)) if same is None else same) + 1] + DIFFERS


def _reviewed(names: Sequence[str], rng: Random) -> Exchange:
    answered, verdicts = [], []
    for name in names:
        part = _part(rng)
        given, verdict = _judged(part, rng)
        answered.append(Answered(SubtaskId(name), part.asked, given))
        verdicts.append(
            {"id": name, "reason": f"{part.asked} = {compared(part.right, given)}", "verdict": verdict}
        )
    return Exchange(None, TINY.review("", answered), _json({"verdicts": verdicts}))


def _checked(part: Part, rng: Random) -> Exchange:
    given, verdict = _judged(part, rng)
    return Exchange(
        None, f"check {part.asked} = {given}", f"{part.asked} = {compared(part.right, given)}: {verdict}"
    )


def _judged(part: Part, rng: Random) -> tuple[str, str]:
    return (part.wrong, "repair") if rng.random() < WRONG_SHARE else (part.right, "accept")


def _part(rng: Random) -> Part:
    return rng.choice((_echo, _upper, _reverse, _add, _capital, _count))(rng)


def _echo(rng: Random) -> Part:
    said = word(rng)
    return Part(f"echo {said}", said, _spoilt(said, rng))


def _upper(rng: Random) -> Part:
    said = word(rng)
    wrong = said if rng.random() < UNCHANGED_SHARE else _spoilt(said.upper(), rng)
    return Part(f"upper {said}", said.upper(), wrong)


def _reverse(rng: Random) -> Part:
    said = word(rng)
    is_unchanged = said != said[::-1] and rng.random() < UNCHANGED_SHARE
    return Part(f"reverse {said}", said[::-1], said if is_unchanged else _spoilt(said[::-1], rng))


def _add(rng: Random) -> Part:
    left, right = rng.randint(0, ADDEND_MAX), rng.randint(0, ADDEND_MAX)
    wrong = _other(left + right, range(2 * ADDEND_MAX + 1), rng)
    return Part(f"add {left} {right}", str(left + right), str(wrong))


def _capital(rng: Random) -> Part:
    country = rng.choice(sorted(CAPITALS))
    right = CAPITALS[country]
    wrong = (
        _spoilt(right, rng)
        if rng.random() < UNCHANGED_SHARE
        else _other(right, sorted(CAPITALS.values()), rng)
    )
    return Part(f"capital of {country}", right, wrong)


def _count(rng: Random) -> Part:
    last = rng.randint(1, COUNT_MAX)
    return Part(f"count to {last}", _counted(last), _counted(_other(last, range(1, COUNT_MAX + 1), rng)))


def _counted(last: int) -> str:
    return " ".join(map(str, range(1, last + 1)))


def _other(right: Choice, choices: Sequence[Choice], rng: Random) -> Choice:
    return rng.choice([choice for choice in choices if choice != right])


def _spoilt(right: str, rng: Random) -> str:
    """Make one mistake in *right*, or say something else altogether."""
    letters = string.ascii_uppercase if right.isupper() else string.ascii_lowercase
    if rng.random() < NOISE_SHARE:
        noise = word(rng)
        wrong = noise.upper() if right.isupper() else noise
    else:
        place = rng.randrange(len(right))
        before, here, after = right[:place], right[place], right[place + 1 :]
        wrong = rng.choice(
            (
                before + rng.choice(letters) + after,
                before + after,
                before + rng.choice(letters) + here + after,
            )
        )
    return wrong if wrong not in {right, ""} else right + rng.choice(letters)


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


TINY_DELEGATION: Mapping[str, Skill] = {"plan": plan, "review": review}
# Done only where a recipe names them: they came later, and earlier extensions stay what they were.
TINY_DELEGATION_LATER: Mapping[str, Skill] = {"second review": second_review}
EXERCISES: Mapping[str, Skill] = {"check": check, "split": split}
EXERCISES_LATER: Mapping[str, Skill] = {"close check": close_check}
