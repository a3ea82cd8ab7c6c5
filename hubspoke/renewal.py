"""Keeping a certificate fresh: when to ask for the next one, and what to do while that fails."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeAlias

from hubspoke.backoff import Backoff
from hubspoke.errors import MeshError
from pki.errors import PkiError
from pki.lifetime import Stage, renew_at, stage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime
    from typing import Never

    from hubspoke.clock import Clock
    from pki.credential import StoredIdentity

Ask: TypeAlias = "Callable[[], Awaitable[StoredIdentity]]"

RETRY: Final = Backoff(base_s=30.0, cap_s=600.0)
SLEEP_S_MAX: Final = 600.0
"""Longest nap between two looks at the clock: a machine that was suspended must not sleep on for hours."""
WITHIN_S_MAX: Final = 30.0
"""Longest time within which many who hear something new at once ask for it one after the other."""

_LEVELS: Final = {Stage.LATE: logging.WARNING, Stage.CRITICAL: logging.ERROR, Stage.EXPIRED: logging.ERROR}

log = logging.getLogger(__name__)


class News:
    """That the mesh has other roots or issuers than this node knows, as soon as somebody has told.

    *ask* gets them, renews the certificate if that has to be, and gives the one in use. It is asked now and then all the same: there
    may be another hub by now.
    """

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self._told = asyncio.Event()
        self._within_s = 0.0

    def tell(self, within_s: float) -> None:
        """Say that there are some, which should be asked for *within_s* seconds; a spread for when many hear it at once."""
        self._within_s = min(within_s, WITHIN_S_MAX)
        self._told.set()

    async def heard(self, wait_s: float, chance: Callable[[], float]) -> None:
        """Wait for news, *wait_s* at most, and, of many who hear them at once, for this one's turn to ask."""
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._told.wait()
        if self._told.is_set():
            await asyncio.sleep(self._within_s * chance())
            self._told.clear()


def due_in_s(identity: StoredIdentity, now: datetime, chance: float) -> float:
    """Say in how many seconds to renew, 0 when it is time; *chance* in [0, 1) spreads nodes that joined together."""
    return max(0.0, (renew_at(identity.not_before, identity.not_after, chance) - now).total_seconds())


async def keep_fresh(
    identity: StoredIdentity,
    renew: Callable[[], Awaitable[StoredIdentity]],
    *,
    clock: Clock,
    chance: Callable[[], float],
    news: News | None = None,
) -> Never:
    """Call *renew* whenever the certificate in use is due, and again with back-off until it succeeds; for ever.

    *renew* gets the next certificate and brings it into use. A hub that is away costs nothing but a log line. When there is
    *news*, the hub is asked what it is, until the certificate is due: asking may fail for as long as it likes.
    """
    while True:
        due_at = chance()
        asks = await _until_due(identity, clock, due_at, chance, news)
        failures = 0
        while (fresh := await try_to_renew(identity, asks or renew, clock)) is None:
            failures += 1
            await asyncio.sleep(RETRY.delay_s(failures, chance))
            if due_in_s(identity, clock.now(), due_at) == 0:
                asks = None
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
    if fresh.serial != identity.serial:
        log.info("renewed", extra={"serial": fresh.serial, "ends_at": fresh.not_after.isoformat()})
    return fresh


async def _until_due(
    identity: StoredIdentity, clock: Clock, due_at: float, chance: Callable[[], float], news: News | None
) -> Ask | None:
    """Wait until the certificate is due, or until there are news, in which case give whom to ask for them."""
    while (left_s := due_in_s(identity, clock.now(), due_at)) > 0:
        if news is None:
            await asyncio.sleep(min(left_s, SLEEP_S_MAX))
        else:
            await news.heard(min(left_s, SLEEP_S_MAX), chance)
            return news.ask
    return None
