"""How a mesh exchanges its authorities while everybody goes on working: phases, and what holds in each.

    node-issuing    steady -> anchor -> sign -> steady                        who signs nodes
    hub-issuing     steady -> show -> steady                                  who signs hubs
    root            steady -> init -> update_clients -> update_hub -> steady  the root, and with it both of them

Old and new stand side by side until nobody needs the old any more. From every phase but `steady` a `rollback` leads
back: new and old stand side by side again, everybody returns to the old, and then the new goes.

Everything here is a value, a table, or a function of them. `hub.authorities` does what they say.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum, unique
from typing import Final

from pki.errors import NoSuchStep
from pki.policy import KeyId


@unique
class Kind(StrEnum):
    """What is exchanged."""

    NODE_ISSUING = "node-issuing"
    HUB_ISSUING = "hub-issuing"
    ROOT = "root"


@unique
class Phase(StrEnum):
    """How far it has come."""

    STEADY = "steady"  # nothing is being exchanged
    ANCHOR = "anchor"  # the hub takes certificates of the new issuer, and there are none yet
    SIGN = "sign"  # the new issuer signs; certificates of the old one still count
    SHOW = "show"  # the hub shows a certificate of the new issuer
    INIT = "init"  # nodes get the new root beside the old one
    UPDATE_CLIENTS = "update_clients"  # nodes get certificates below the new root
    UPDATE_HUB = "update_hub"  # the hub shows a certificate below the new root
    ROLLBACK = "rollback"  # everybody goes back to the old


@unique
class Age(StrEnum):
    """Which of two."""

    OLD = "old"
    NEW = "new"


@dataclass(frozen=True, slots=True)
class Stance:
    """What the hub does in a phase.

    *roots* are those that nodes are to trust, the one that the hub's own certificate leads to first. *node_issuers* are
    those whose nodes count, the one that signs first. *hub_issuer* signs what the hub shows.
    """

    roots: tuple[Age, ...] = (Age.OLD,)
    node_issuers: tuple[Age, ...] = (Age.OLD,)
    hub_issuer: Age = Age.OLD


_OLD: Final = (Age.OLD,)
_BOTH: Final = (Age.OLD, Age.NEW)
_BOTH_NEW_FIRST: Final = (Age.NEW, Age.OLD)

STANCES: Final = {
    (Kind.NODE_ISSUING, Phase.ANCHOR): Stance(node_issuers=_BOTH),
    (Kind.NODE_ISSUING, Phase.SIGN): Stance(node_issuers=_BOTH_NEW_FIRST),
    (Kind.NODE_ISSUING, Phase.ROLLBACK): Stance(node_issuers=_BOTH),
    (Kind.HUB_ISSUING, Phase.SHOW): Stance(hub_issuer=Age.NEW),
    (Kind.HUB_ISSUING, Phase.ROLLBACK): Stance(),
    (Kind.ROOT, Phase.INIT): Stance(roots=_BOTH, node_issuers=_BOTH),
    (Kind.ROOT, Phase.UPDATE_CLIENTS): Stance(roots=_BOTH, node_issuers=_BOTH_NEW_FIRST),
    (Kind.ROOT, Phase.UPDATE_HUB): Stance(_BOTH_NEW_FIRST, _BOTH_NEW_FIRST, Age.NEW),
    (Kind.ROOT, Phase.ROLLBACK): Stance(roots=_BOTH, node_issuers=_BOTH),
}

NEXT: Final = {
    (Kind.NODE_ISSUING, Phase.STEADY): Phase.ANCHOR,
    (Kind.NODE_ISSUING, Phase.ANCHOR): Phase.SIGN,
    (Kind.NODE_ISSUING, Phase.SIGN): Phase.STEADY,
    (Kind.NODE_ISSUING, Phase.ROLLBACK): Phase.STEADY,
    (Kind.HUB_ISSUING, Phase.STEADY): Phase.SHOW,
    (Kind.HUB_ISSUING, Phase.SHOW): Phase.STEADY,
    (Kind.HUB_ISSUING, Phase.ROLLBACK): Phase.STEADY,
    (Kind.ROOT, Phase.STEADY): Phase.INIT,
    (Kind.ROOT, Phase.INIT): Phase.UPDATE_CLIENTS,
    (Kind.ROOT, Phase.UPDATE_CLIENTS): Phase.UPDATE_HUB,
    (Kind.ROOT, Phase.UPDATE_HUB): Phase.STEADY,
    (Kind.ROOT, Phase.ROLLBACK): Phase.STEADY,
}
"""Where `advance` leads. A pair that is missing is no phase of that kind."""

NODES_ARE_ASKED: Final = frozenset(
    {
        (Kind.NODE_ISSUING, Phase.SIGN),
        (Kind.NODE_ISSUING, Phase.ROLLBACK),
        (Kind.ROOT, Phase.INIT),
        (Kind.ROOT, Phase.UPDATE_CLIENTS),
        (Kind.ROOT, Phase.UPDATE_HUB),
        (Kind.ROOT, Phase.ROLLBACK),
    }
)
"""Phases in which nodes have something to take over. Whatever signs hubs they verify by the root, as before."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """Which authorities: each kind counts its own, from 1."""

    root: int = 1
    hub_issuing: int = 1
    node_issuing: int = 1

    def after(self, kind: Kind) -> "Numbers":
        """Count those on that *kind* exchanges. A new root comes with new issuers."""
        exchanges_root = kind is Kind.ROOT
        return Numbers(
            root=self.root + exchanges_root,
            hub_issuing=self.hub_issuing + (exchanges_root or kind is Kind.HUB_ISSUING),
            node_issuing=self.node_issuing + (exchanges_root or kind is Kind.NODE_ISSUING),
        )


@dataclass(frozen=True, slots=True)
class Rotation:
    """An exchange under way: in *phase* *since*. Whoever holds *generation* trusts the new as well as the old."""

    kind: Kind
    phase: Phase
    since: datetime
    began_at: datetime
    generation: int


@dataclass(frozen=True, slots=True)
class Record:
    """All that has to be remembered: which authorities there are, and how far an exchange has come.

    *generation* counts what nodes have to take over: a change of the roots, and of who signs them.
    """

    generation: int = 1
    old: Numbers = Numbers()
    rotation: Rotation | None = None

    @property
    def new(self) -> Numbers:
        """The authorities of the exchange under way, or else those in use."""
        return self.old if self.rotation is None else self.old.after(self.rotation.kind)

    @property
    def phase(self) -> Phase:
        """How far an exchange has come."""
        return Phase.STEADY if self.rotation is None else self.rotation.phase


@dataclass(frozen=True, slots=True)
class InUse:
    """The numbers of the authorities in use, in the order of `Stance`."""

    roots: tuple[int, ...]
    node_issuers: tuple[int, ...]
    hub_issuer: int


def in_use(record: Record) -> InUse:
    """Say which authorities count."""
    rotation = record.rotation
    stance = Stance() if rotation is None else STANCES[rotation.kind, rotation.phase]
    numbers = {Age.OLD: record.old, Age.NEW: record.new}
    return InUse(
        roots=_distinct(numbers[age].root for age in stance.roots),
        node_issuers=_distinct(numbers[age].node_issuing for age in stance.node_issuers),
        hub_issuer=numbers[stance.hub_issuer].hub_issuing,
    )


def edition(record: Record) -> int:
    """Count what was exchanged, so that of two hubs the one with old keys is known.

    The generation alone is that of nodes, which hear nothing of a new issuer of hubs.
    """
    return record.generation + in_use(record).hub_issuer - 1


def begin(record: Record, kind: Kind, now: datetime) -> Record:
    """Go into the first phase of *kind*; raise `NoSuchStep` while another exchange is under way."""
    if record.rotation is not None:
        raise NoSuchStep(
            f"{record.rotation.kind} is being exchanged, in phase {record.phase}; finish that or roll it back first"
        )
    phase = NEXT[kind, Phase.STEADY]
    return _counted(record, replace(record, rotation=Rotation(kind, phase, now, now, record.generation + 1)))


def advance(record: Record, now: datetime) -> Record:
    """Go into the next phase, the last of which is `steady` again; raise `NoSuchStep` when nothing is under way."""
    rotation = _under_way(record)
    phase = NEXT[rotation.kind, rotation.phase]
    if phase is not Phase.STEADY:
        return _counted(record, replace(record, rotation=replace(rotation, phase=phase, since=now)))
    kept = record.old if rotation.phase is Phase.ROLLBACK else record.new
    return _counted(record, replace(record, old=kept, rotation=None))


def roll_back(record: Record, now: datetime) -> Record:
    """Turn round; raise `NoSuchStep` when nothing is under way, or when that is a way back already."""
    rotation = _under_way(record)
    if rotation.phase is Phase.ROLLBACK:
        raise NoSuchStep(f"{rotation.kind} is being rolled back already; finish that")
    back = replace(rotation, phase=Phase.ROLLBACK, since=now)
    return _counted(record, replace(record, rotation=back))


@dataclass(frozen=True, slots=True)
class Holder:
    """A node as an exchange sees it.

    It holds *generation*, its newest certificate is signed by *issuer*, and calls of it run with certificates of *calls*.
    One that is not *live* has no certificate any more that would count.
    """

    name: str
    generation: int
    issuer: KeyId
    calls: frozenset[KeyId] = frozenset()
    is_live: bool = True


@dataclass(frozen=True, slots=True)
class Signers:
    """The authorities behind the numbers: who signs nodes now, and whose nodes would count after the next step."""

    now: KeyId
    next: frozenset[KeyId]


def waits_for(record: Record, holder: Holder, signers: Signers) -> str:
    """Say why the next phase has to wait for *holder*, in words that follow its name; "" when it has not."""
    rotation = record.rotation
    if rotation is None or (rotation.kind, rotation.phase) not in NODES_ARE_ASKED or not holder.is_live:
        return ""
    never_took_part = rotation.phase is Phase.ROLLBACK and holder.generation < rotation.generation
    if holder.generation < record.generation and not never_took_part:
        return f"holds generation {holder.generation}, not {record.generation}"
    if holder.issuer != signers.now:
        return "has not got its new certificate"
    if holder.calls - signers.next:
        return "has calls under way that began with its old certificate"
    return ""


def stays_behind(record: Record, holder: Holder) -> bool:
    """Whether *holder*, who is away, does not find back by itself once the exchange under way is finished."""
    rotation = record.rotation
    if rotation is None or rotation.kind is not Kind.ROOT or rotation.phase is Phase.ROLLBACK:
        return False
    return holder.generation < rotation.generation


def _under_way(record: Record) -> Rotation:
    if record.rotation is None:
        raise NoSuchStep("nothing is being exchanged")
    return record.rotation


def _counted(before: Record, after: Record) -> Record:
    """Count a generation when nodes have something to take over."""
    was, is_now = in_use(before), in_use(after)
    has_news = set(was.roots) != set(is_now.roots) or was.node_issuers[0] != is_now.node_issuers[0]
    return replace(after, generation=before.generation + has_news)


def _distinct(numbers: Iterable[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(numbers))
