"""What signs the mesh's certificates, and how the running hub exchanges it. `pki.rotation` says what a phase means."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Final, Protocol

from cryptography.hazmat.primitives import hashes

from hub.trust import trust_of
from hubspoke.errors import RotationRefused
from hubspoke.types import (
    AuthoritiesInfo,
    AuthorityInfo,
    HolderInfo,
    HubCertificateInfo,
    NodeState,
    RotationInfo,
    Use,
)
from pki import bundle, policy, rotation, succession
from pki.authority_files import HUB_ISSUING, NODE_ISSUING, ROOT
from pki.errors import PkiError
from pki.rotation import NEXT, Holder, Kind, Phase, Signers, in_use, stays_behind, waits_for
from pki.setup import require_hub_issuer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from hub.audit import Audit
    from hub.certificate import Certificate
    from hub.identities import Identities
    from hub.store.hubs import HubRow
    from hub.store.nodes import NodeRecord
    from hubspoke.clock import Clock
    from pki.files import HubFiles
    from pki.identity import NodeName
    from pki.policy import KeyId, Peer
    from pki.rotation import Record

NAMES_TOLD_MAX: Final = 10
"""How many nodes a refusal names."""

log = logging.getLogger(__name__)


class Standing(Protocol):
    """This hub's place among those that share its database."""

    @property
    def others(self) -> tuple[HubRow, ...]:
        """The other hubs."""
        ...

    def took_over(self, generation: int) -> None:
        """Tell the others that the authorities are of *generation* now."""
        ...


class Authorities:
    """The authorities of the running hub. One step of an exchange at a time; each is on the disk before it has any effect.

    *live* gives the caller of each call that runs. *standing* knows the hubs that share the database, and is told what is new;
    *followers* are told after every step.
    """

    def __init__(
        self,
        files: HubFiles,
        clock: Clock,
        identities: Identities,
        certificate: Certificate,
        *,
        live: Iterable[Peer],
        audit: Audit,
        standing: Standing,
    ) -> None:
        self._files = files
        self._identities = identities
        self._certificate = certificate
        self._live = live
        self._audit = audit
        self._clock = clock
        self._standing = standing
        self._stepping = asyncio.Lock()
        self.followers: list[Callable[[], Awaitable[None]]] = []
        record = files.authorities.load_record()
        # What a step left undone that was cut off by a crash.
        files.save_anchors()
        files.authorities.remove_unused(record)

    async def status(self) -> AuthoritiesInfo:
        """Say how things are; raise PkiError for files that are damaged."""
        record = await asyncio.to_thread(self._files.authorities.load_record)
        return await asyncio.to_thread(self._told, record, self._calls())

    async def begin(self, kind: Kind, fingerprint: str, by: str) -> AuthoritiesInfo:
        """Begin with what `pki.succession.prepare` has made and *fingerprint* names; raise RotationRefused."""
        async with self._stepping:
            self._require_alone()
            try:
                record = await asyncio.to_thread(
                    succession.commit, self._files.authorities, kind, fingerprint, now=self._clock.now()
                )
            except PkiError as error:
                raise RotationRefused(str(error)) from error
            await self._follow(record, kind, by)
            return await self.status()

    async def advance(
        self, kind: Kind, phase: Phase, by: str, *, force: bool = False
    ) -> tuple[AuthoritiesInfo, tuple[NodeName, ...]]:
        """Go on from *phase*, and say who was left behind; raise RotationRefused while nodes are not ready, unless *force*."""
        async with self._stepping:
            self._require_alone()
            before = await self._at(kind, phase)
            after = _stepped(lambda: rotation.advance(before, self._clock.now()))
            nodes = (await asyncio.to_thread(self._told, before, self._calls())).nodes
            late = [node for node in nodes if node.waits_because]
            if late and not force:
                raise RotationRefused(_not_ready(late), nodes=len(late))
            await self._take(after, kind)
            await self._follow(after, kind, by, left_behind=len(late))
            await asyncio.to_thread(
                self._files.authorities.remove_unused, after, before.new if after.rotation is None else None
            )
            is_over = after.rotation is None
            left = [node for node in nodes if node.waits_because or (is_over and node.stays_behind)]
            return await self.status(), tuple(node.identity.name for node in left)

    async def roll_back(self, kind: Kind, phase: Phase, by: str) -> AuthoritiesInfo:
        """Turn round from *phase*; raise RotationRefused."""
        async with self._stepping:
            self._require_alone()
            before = await self._at(kind, phase)
            after = _stepped(lambda: rotation.roll_back(before, self._clock.now()))
            await self._take(after, kind)
            await self._follow(after, kind, by)
            return await self.status()

    def _require_alone(self) -> None:
        """Raise RotationRefused while another hub runs: it has keys of its own, and would not hear of it."""
        if there := [hub.name for hub in self._standing.others if hub.is_there]:
            raise RotationRefused(
                f"{', '.join(there)} stands by with the same authorities, and would not hear of new ones: stop it, "
                "exchange them, and make its keys anew with `hubspoke pki add-hub`"
            )

    async def _at(self, kind: Kind, phase: Phase) -> Record:
        """Read where the exchange is, and raise RotationRefused unless it is where the caller takes it to be."""
        record = await asyncio.to_thread(self._files.authorities.load_record)
        under_way = record.rotation
        if under_way is None:
            raise RotationRefused("nothing is being exchanged; `hubspoke pki status` shows what is in use")
        if (under_way.kind, under_way.phase) != (kind, phase):
            raise RotationRefused(
                f"{under_way.kind} is in phase {under_way.phase}, not {kind} in phase {phase}; somebody else was faster"
            )
        return record

    async def _take(self, record: Record, kind: Kind) -> None:
        """Put *record* on the disk, once everything that it needs was seen to be whole."""

        def take() -> None:
            trust_of(self._files, self._clock, record)
            require_hub_issuer(self._files, record, now=self._clock.now())
            with self._files.authorities.alone():
                self._files.authorities.save_record(record)

        try:
            await asyncio.to_thread(take)
        except PkiError as error:
            log.exception("phase not entered", extra={"kind": kind, "phase": record.phase})
            raise RotationRefused(
                f"an authority of the next phase cannot be used, and everything stays as it is: {error}"
            ) from error

    async def _follow(self, record: Record, kind: Kind, by: str, left_behind: int = 0) -> None:
        """Do what *record* says, which is on the disk: TLS first, so that it takes whatever is issued then."""
        trust = await asyncio.to_thread(trust_of, self._files, self._clock, record)
        await self._certificate.show(trust.clients_pem)
        self._identities.trust(trust)
        self._standing.took_over(rotation.edition(record))
        facts: dict[str, str | int] = {
            "kind": kind.value,
            "phase": record.phase.value,
            "generation": record.generation,
        }
        log.info("authorities changed", extra=facts)
        self._audit.note("ca.phase", **facts, by=by, left_behind=left_behind)
        await asyncio.to_thread(self._files.save_anchors)
        for follower in self.followers:
            await follower()

    def _calls(self) -> dict[NodeName, set[KeyId]]:
        calls: defaultdict[NodeName, set[KeyId]] = defaultdict(set)
        for peer in self._live:
            calls[peer.identity.name].add(peer.issuer)
        return calls

    def _told(self, record: Record, calls: dict[NodeName, set[KeyId]]) -> AuthoritiesInfo:
        under_way = record.rotation
        return AuthoritiesInfo(
            generation=record.generation,
            authorities=tuple(self._authorities(record)),
            certificates=(
                HubCertificateInfo("mesh", self._certificate.identity.not_after),
                HubCertificateInfo("gateway", self._files.load_gateway().not_after),
            ),
            nodes=tuple(self._holders(record, calls)),
            rotation=None
            if under_way is None
            else RotationInfo(
                under_way.kind,
                under_way.phase,
                NEXT[under_way.kind, under_way.phase],
                under_way.since,
                under_way.began_at,
            ),
        )

    def _authorities(self, record: Record) -> Iterator[AuthorityInfo]:
        using = in_use(record)
        hub_issuers = (using.hub_issuer, *_other_hub_issuer(record, using.hub_issuer))
        for kind, name, numbers in (
            (Kind.ROOT, ROOT, using.roots),
            (Kind.HUB_ISSUING, HUB_ISSUING, hub_issuers),
            (Kind.NODE_ISSUING, NODE_ISSUING, using.node_issuers),
        ):
            for number in numbers:
                certificate = self._files.authorities.load_certificate(name, number)
                yield AuthorityInfo(
                    kind=kind,
                    number=number,
                    use=_use(record, number, numbers[0]),
                    fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
                    ends_at=certificate.not_valid_after_utc,
                )

    def _holders(self, record: Record, calls: dict[NodeName, set[KeyId]]) -> Iterator[HolderInfo]:
        now, signers = self._clock.now(), self._signers(record)
        for node in self._identities.nodes:
            if node.state is not NodeState.ACTIVE:
                continue
            chain = bundle.parse_chain(node.chain_pem)
            holder = Holder(
                name=node.identity.name,
                generation=node.bundle_generation,
                issuer=policy.key_id(chain.certificates[1]),
                calls=frozenset(calls.get(node.identity.name, ())),
                is_live=now.timestamp() < node.expires_at,
            )
            yield HolderInfo(
                identity=node.identity,
                generation=node.bundle_generation,
                ends_at=chain.leaf.not_valid_after_utc,
                waits_because=waits_for(record, holder, signers),
                stays_behind=_is_away(node, now.timestamp()) and stays_behind(record, holder),
            )

    def _signers(self, record: Record) -> Signers:
        issuers = self._files.authorities.load_node_issuers
        after = record if record.rotation is None else rotation.advance(record, self._clock.now())
        return Signers(
            now=policy.key_id(issuers(record)[0]), next=frozenset(map(policy.key_id, issuers(after)))
        )


def _stepped(step: Callable[[], Record]) -> Record:
    try:
        return step()
    except PkiError as error:
        raise RotationRefused(str(error)) from error


def _other_hub_issuer(record: Record, used: int) -> tuple[int, ...]:
    """Give the hub issuer that an exchange under way has beside the one that is *used*."""
    return tuple({record.old.hub_issuing, record.new.hub_issuing} - {used})


def _use(record: Record, number: int, signing: int) -> Use:
    if number == signing:
        return Use.SIGNS
    return Use.LEAVING if number < signing or record.phase is Phase.ROLLBACK else Use.COMING


def _is_away(node: NodeRecord, now: float) -> bool:
    return node.expires_at <= now


def _not_ready(late: list[HolderInfo]) -> str:
    told = [f"{node.identity.name} {node.waits_because}" for node in late[:NAMES_TOLD_MAX]]
    if len(late) > NAMES_TOLD_MAX:
        told.append(f"and {len(late) - NAMES_TOLD_MAX} more are not ready")
    return f"{'; '.join(told)}. Wait a moment, or let them connect; --force leaves them behind, to join again with a new token"
