"""Keeping a certificate fresh: when to ask for the next one, and what to do while that fails."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from hubspoke.backoff import Backoff
from hubspoke.errors import MeshError
from pki.errors import PkiError
from pki.rotation import Stage, renew_at, stage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime
    from typing import Never

    from hubspoke.clock import Clock
    from pki.credential import StoredIdentity

RETRY: Final = Backoff(base_s=30.0, cap_s=600.0)
SLEEP_S_MAX: Final = 600.0
"""Longest nap between two looks at the clock: a machine that was suspended must not sleep on for hours."""

_LEVELS: Final = {Stage.LATE: logging.WARNING, Stage.CRITICAL: logging.ERROR, Stage.EXPIRED: logging.ERROR}

log = logging.getLogger(__name__)


def due_in_s(identity: StoredIdentity, now: datetime, chance: float) -> float:
    """Say in how many seconds to renew, 0 when it is time; *chance* in [0, 1) spreads nodes that joined together."""
    return max(0.0, (renew_at(identity.not_before, identity.not_after, chance) - now).total_seconds())


async def keep_fresh(
    identity: StoredIdentity,
    renew: Callable[[], Awaitable[StoredIdentity]],
    *,
    clock: Clock,
    chance: Callable[[], float],
) -> Never:
    """Call *renew* whenever the certificate in use is due, and again with back-off until it succeeds; for ever.

    *renew* gets the next certificate and brings it into use. A hub that is away costs nothing but a log line.
    """
    while True:
        await _sleep_until_due(identity, clock, chance())
        failures = 0
        while (fresh := await try_to_renew(identity, renew, clock)) is None:
            failures += 1
            await asyncio.sleep(RETRY.delay_s(failures, chance))
        identity = fresh


async def try_to_renew(
    identity: StoredIdentity, renew: Callable[[], Awaitable[StoredIdentity]], clock: Clock
) -> StoredIdentity | None:
    """Call *renew* once and give its result; None when it failed, which the log says as loud as it is urgent."""
    try:
        fresh = await renew()
    except (MeshError, PkiError, OSError) as error:
        level = _LEVELS.get(stage(identity.not_before, identity.not_after, clock.now()), logging.INFO)
        log.log(level, "renewal failed", extra={"ends_at": identity.not_after.isoformat(), "why": str(error)})
        return None
    log.info("renewed", extra={"serial": fresh.serial, "ends_at": fresh.not_after.isoformat()})
    return fresh


async def _sleep_until_due(identity: StoredIdentity, clock: Clock, chance: float) -> None:
    left_s = due_in_s(identity, clock.now(), chance)
    while left_s > 0:
        await asyncio.sleep(min(left_s, SLEEP_S_MAX))
        left_s = due_in_s(identity, clock.now(), chance)
