"""What is written of one delegation while it runs, and what it has taken."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from hub.journal.patience import patiently
from hubspoke.errors import BudgetSpent
from hubspoke.types import DelegationState, Problem, Progress, Spent, StateChanged

if TYPE_CHECKING:
    from hub.journal.journal import Journal
    from hub.journal.rows import Kept
    from hubspoke.errors import MeshError
    from hubspoke.types import Happening, SubtaskId


def problem_of(error: MeshError) -> Problem:
    """Give an error as what was in the way."""
    return Problem(error.reason, error.message)


class Ledger:
    """Writes the events of a delegation, each once, and counts its tokens."""

    def __init__(self, kept: Kept, journal: Journal) -> None:
        self.delegation = kept.info.id
        self.spent = Spent()
        self._journal = journal
        self._limits = kept.work.limits
        self._has_to_prove = kept.starts > 1

    async def happened(self, key: str, happening: Happening) -> bool:
        """Write what happened, and say whether it is news; wait for a database that is away."""
        return await patiently(partial(self._journal.append, self.delegation, key, happening))

    async def stands(
        self, key: str, state: DelegationState, *, problem: Problem | None = None, result: str = ""
    ) -> None:
        """Write that the delegation stands otherwise now."""
        await self.happened(key, StateChanged(state, result, problem, self.spent))

    def progress(self, subtask: SubtaskId | None, spoke: str, tokens: int) -> None:
        """Let whoever watches know that tokens are being written."""
        self._journal.tell_progress(self.delegation, Progress(subtask, spoke, tokens))

    async def prove(self) -> None:
        """Note that something has come of the delegation, if it had been begun in vain."""
        if self._has_to_prove:
            self._has_to_prove = False
            await patiently(partial(self._journal.prove, self.delegation))

    def spend(self, tokens: int, *, by_orchestrator: bool) -> Spent:
        """Count tokens, and give them as what was spent."""
        spent = Spent(tokens, 0) if by_orchestrator else Spent(0, tokens)
        self.spent += spent
        return spent

    def check_budget(self, *, of_orchestrator: bool) -> None:
        """Raise BudgetSpent when nothing more may be asked."""
        most = self._limits.orchestrator_tokens_max if of_orchestrator else self._limits.worker_tokens_max
        taken = self.spent.orchestrator_tokens if of_orchestrator else self.spent.worker_tokens
        if most is not None and taken >= most:
            who = "the orchestrator" if of_orchestrator else "the other models"
            raise BudgetSpent(f"{taken} tokens of {most} that {who} may take are used up; allow more")
