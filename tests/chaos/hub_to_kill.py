"""`hub-server` as it is, in a process that can be told to die at a moment: `python -m tests.chaos.hub_to_kill run ...`."""

import os
from collections.abc import Callable
from datetime import timedelta

from hub.cli import main
from hub.delegations import asking
from hub.delegations.doing import Doer
from hub.delegations.ledger import Ledger
from hub.delegations.orchestrating import Orchestrator
from hub.delegations.settling import Settling
from hub.journal import accepting, formats
from hub.journal.journal import Journal
from hubspoke.clock import SystemClock
from tests.chaos.points import Point, arm

HUB = "hub"


def _turn(by: timedelta) -> None:
    """Let this process's clock be wrong."""
    now = SystemClock.now
    SystemClock.now = lambda clock: now(clock) + by  # type: ignore[method-assign]


def hub_points() -> dict[str, Point]:
    """Give the moments of a hub."""

    def keyed(part: str) -> Callable[[tuple[object, ...]], bool]:
        return lambda args: any(isinstance(arg, str) and part in arg for arg in args)

    def is_subtask(args: tuple[object, ...]) -> bool:
        return not any(getattr(arg, "key", "").endswith(("/plan/0", "/merge/0", "-0/0")) for arg in args)

    return {
        "accepting": Point(accepting, "accept"),
        "accepted": Point(Journal, "accept"),
        "planned": Point(Orchestrator, "plan"),
        "placed": Point(Ledger, "happened", holds=keyed("/running/")),
        "answered": Point(Doer, "do", holds=is_subtask),
        "checkpointed": Point(Settling, "settle", is_before=True),
        "reviewed": Point(Orchestrator, "review"),
        "merged": Point(Orchestrator, "merge"),
        "ended": Point(Ledger, "stands", holds=keyed("ended")),
        "adopted": Point(Journal, "adopt_dead"),
    }


if __name__ == "__main__":
    arm(os.environ.get("CHAOS_NAME", HUB), hub_points())
    if hours := os.environ.get("CHAOS_HOURS"):
        _turn(timedelta(hours=int(hours)))
    if number := os.environ.get("CHAOS_FORMAT"):
        formats.FORMAT = int(number)  # type: ignore[misc]  # as a version would have it that is to come
    asking.GRACE_S = float(os.environ["CHAOS_GRACE_S"])
    main()
