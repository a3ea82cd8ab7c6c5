"""How often whom may call."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, Final

from hub.core.rates import Rate, Rates
from hubspoke.errors import AccessError, InvalidRequest, RateLimited
from pki.identity import Role

if TYPE_CHECKING:
    from types import TracebackType

    import grpc

    from hubspoke.clock import Clock
    from pki.policy import Peer

    Context = grpc.aio.ServicerContext[Any, Any]

SPOKE_CALLS: Final = Rate(per_s=500, burst=2_000)
"""A spoke opens a stream for each slot when it comes, and then hardly calls at all."""
APP_CALLS: Final = Rate(per_s=2_000, burst=8_000)
"""More than a hub can answer: a loop that has gone wrong is held, and no app that means it."""
RENEWALS: Final = Rate(per_s=2 / 60, burst=20)
"""A certificate is signed for each, and a day has two."""
STRANGERS: Final = Rate(per_s=100, burst=1_000)
"""Calls of the enrol port from one address."""
FAILED_JOINS: Final = Rate(per_s=5 / 60, burst=60)
"""Refused calls of the enrol port from one address, which then waits. Guessing needs no limit: a secret has 256 bits."""
ALL_FAILED_JOINS: Final = Rate(per_s=10, burst=1_000)
"""The same of all addresses together."""

RENEW: Final = "/hubspoke.api.identity.v1.IdentityService/Renew"
EVERYBODY: Final = ""


class NodeLimits:
    """What nodes are held to on the mesh port."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._spokes, self._apps, self._renewals = Rates(SPOKE_CALLS), Rates(APP_CALLS), Rates(RENEWALS)

    def check(self, peer: Peer, method: str) -> None:
        """Count a call; raise RateLimited when it is one too many."""
        now, name = self._clock.monotonic(), peer.identity.name
        _require(self._spokes if peer.identity.role is Role.SPOKE else self._apps, name, now)
        if method == RENEW:
            _require(self._renewals, name, now)


class StrangerLimits:
    """What addresses are held to on the enrol port."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calls, self._failed = Rates(STRANGERS), Rates(FAILED_JOINS)
        self._all_failed = Rates(ALL_FAILED_JOINS)

    def check(self, address: str, context: Context) -> Attempt:
        """Count a call and give the block that it runs in, with *context* to serve with; raise RateLimited when it is one too many."""
        now, address = self._clock.monotonic(), network(address)
        _require(self._calls, address, now)
        _refuse_after(self._failed.wait_s(address, now))
        _refuse_after(self._all_failed.wait_s(EVERYBODY, now))
        return Attempt(self, address, context)

    def has_failed(self, address: str) -> None:
        """Count a call that was refused."""
        now = self._clock.monotonic()
        self._failed.take(address, now)
        self._all_failed.take(EVERYBODY, now)


def network(address: str) -> str:
    """Give what counts as one address: of IPv6 the half that a network has, for a machine may choose the other as it likes."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, IPv4Address):
        return str(ip)
    return str(ip.ipv4_mapped or IPv6Address(int(ip) >> 64 << 64))


class Attempt:
    """One call of a stranger."""

    def __init__(self, limits: StrangerLimits, address: str, context: Context) -> None:
        self._limits = limits
        self._address = address
        self._context = context

    def __enter__(self) -> Context:
        """Begin, and give the context to serve with."""
        return self._context

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Count it when it was refused for what it asked."""
        if isinstance(error, AccessError | InvalidRequest):
            self._limits.has_failed(self._address)


def _require(rates: Rates, key: str, now: float) -> None:
    _refuse_after(rates.take(key, now))


def _refuse_after(wait_s: float) -> None:
    if wait_s:
        raise RateLimited(f"too many calls; wait {wait_s:.1f} s", retry_after_s=round(wait_s, 3))
