"""Delegations that were under way when a version was installed that takes other steps: a person says what becomes of them.

Nobody else can: begun anew they do again what was finished, and that may not be wanted.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from hub.journal.rows import Over, parked_key
from hubspoke.errors import WrongState
from hubspoke.types import DelegationState, Problem, StateChanged

if TYPE_CHECKING:
    from hub.journal.journal import Journal
    from hubspoke.types import DelegationId


async def is_resolved(journal: Journal, delegation: DelegationId) -> bool:
    """Say whether a person has said what becomes of a delegation that cannot go on; park it when nobody was asked yet."""
    times, is_waiting = await journal.parks(delegation)
    info = await journal.info(delegation)
    if is_waiting:
        return False
    if times and info.state is DelegationState.PARKED:
        return True
    problem = Problem(
        WrongState.reason,
        "an earlier version has begun it, whose steps this one cannot go on with; retry to have all of it done anew",
    )
    with suppress(Over):  # somebody has cancelled it meanwhile
        await journal.append(
            delegation, parked_key(None, times + 1), StateChanged(DelegationState.PARKED, problem=problem)
        )
    return False
