"""The rounds of review: what the orchestrator thinks of what was done, and what is done over because of it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from hub.core.delegation import graph, review
from hub.core.delegation.review import Deed
from hub.delegations.doing import Refused
from hub.delegations.together import together
from hubspoke.types import Check, DelegationState, Reviewed, SubtaskId, SubtaskState, VerdictKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hub.core.delegation.prompts import Answered
    from hub.delegations.ledger import Ledger
    from hub.delegations.nodes import Node, Nodes
    from hub.delegations.orchestrating import Orchestrator
    from hub.journal.journal import Step
    from hubspoke.types import Verdict


class Reviewing:
    """The reviews of one delegation: as many rounds as there are *steps*, of *nodes* that are done."""

    def __init__(
        self, orchestrator: Orchestrator, ledger: Ledger, nodes: Nodes, *, goal: str, steps: Sequence[Step]
    ) -> None:
        self.nodes = nodes
        self.rounds = len(steps)
        self._orchestrator = orchestrator
        self._ledger = ledger
        self._goal = goal
        self._steps = steps

    async def go(self) -> None:
        """Have everything judged and followed up, and what that changes judged again while there are rounds left."""
        settled: set[SubtaskId] = set()
        for number, step in enumerate(self._steps, start=1):
            judged = [
                node for name, node in self.nodes.of.items() if name not in settled and _is_judged(node)
            ]
            if not judged:
                return
            await self._ledger.stands(f"reviewing/{number}", DelegationState.REVIEWING)
            answered = [_answered(self.nodes, node) for node in judged]
            encoded = await step.run(partial(self._orchestrator.review, self._goal, number, answered))
            verdicts = await self._orchestrator.reviewed(encoded, answered)
            is_news = await self._ledger.happened(f"reviewed/{number}", Reviewed(number, verdicts))
            if number == 1 and is_news:  # or it was learnt before the hub went down
                self._learn(verdicts)
            await self._ledger.stands(f"repairing/{number}", DelegationState.RUNNING)
            renewed = await _Round(self, number, verdicts).follow()
            settled |= {verdict.subtask for verdict in verdicts if verdict.kind is not VerdictKind.REPAIR}
            settled -= renewed

    def _learn(self, verdicts: Sequence[Verdict]) -> None:
        """Remember how well whoever has done each subtask did it."""
        for verdict in verdicts:
            node = self.nodes.of[verdict.subtask]
            if node.outcome is not None:
                is_good = verdict.kind is VerdictKind.ACCEPT
                self._orchestrator.learn(node.subtask, node.outcome.model_key, accepted=is_good)


class _Round:
    """What follows from the verdicts of one round: each subtask after those that it builds on."""

    def __init__(self, reviewing: Reviewing, number: int, verdicts: Sequence[Verdict]) -> None:
        self._reviewing = reviewing
        self._number = number
        self._verdicts: Mapping[SubtaskId, Verdict] = {verdict.subtask: verdict for verdict in verdicts}
        self._is_done = {name: asyncio.Event() for name in reviewing.nodes.of}
        self._changed: set[SubtaskId] = set()
        self._renewed: set[SubtaskId] = set()

    async def follow(self) -> set[SubtaskId]:
        """Do what follows, and give what was done over only because something before it has changed."""
        nodes = self._reviewing.nodes
        order = graph.order(nodes.graph, dict.fromkeys(nodes.of, 1.0))
        await together(self._in_turn(SubtaskId(name)) for name in order)
        return self._renewed

    async def _in_turn(self, name: SubtaskId) -> None:
        node = self._reviewing.nodes.of[name]
        for other in node.subtask.depends_on:
            await self._is_done[other].wait()
        before = node.output
        await self._follow(node)
        if node.output != before:
            self._changed.add(name)
        self._is_done[name].set()

    async def _follow(self, node: Node) -> None:
        nodes, name = self._reviewing.nodes, node.subtask.id
        verdict = self._verdicts.get(name)
        refused = Refused(node.output or "", "" if verdict is None else verdict.reason)
        is_stale = not node.is_fixed and not self._changed.isdisjoint(node.subtask.depends_on)
        match review.after(verdict, self._number, self._reviewing.rounds, is_stale=is_stale):
            case Deed.ACCEPT:
                await nodes.say(name, f"accepted/{self._number}", SubtaskState.ACCEPTED)
            case Deed.REPAIR:
                await nodes.again(name, node.subtask.model, refused)
            case Deed.REDO:
                await nodes.again(name, "", refused)
            case Deed.RENEW:
                self._renewed.add(name)
                await nodes.renew(name)
            case Deed.LEAVE:
                return


def _is_judged(node: Node) -> bool:
    """Whether somebody else than the orchestrator has done *node*, there is something to judge, and it could be done over."""
    outcome = node.outcome
    if outcome is None or not outcome.is_good or outcome.by_orchestrator or node.is_skipped or node.is_fixed:
        return False
    return review.needs_review(outcome.text, not_found_allowed=Check.FOUND not in node.subtask.checks)


def _answered(nodes: Nodes, node: Node) -> Answered:
    subtask = node.subtask
    texts = [source.text for source in nodes.sources(subtask)]
    return review.shown(subtask.id, subtask.instruction, node.output or "", texts, nodes.results(subtask))
