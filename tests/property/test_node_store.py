"""However often certificates are copied, renewed, lost on the way, revoked and unlocked: one holder at a time, or none."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from hub.core.nonces import NONCE_S, NONCES_MAX, Nonces
from hub.store.database import Database
from hub.store.nodes import Asked, Certified, NodeRecord, NodeStore
from hubspoke.errors import InvalidRequest, Unauthenticated
from hubspoke.types import NodeState
from pki.errors import BadProof
from pki.identity import Identity, NodeName, Role
from pki.keys import new_key, public_bytes
from pki.proof import check_proof, prove

DEN = Identity(Role.SPOKE, NodeName("den"))
KEY, OTHER = new_key(), new_key()


@dataclass
class Holder:
    """Somebody with a copy of the identity: the certificate that it has, and a key that it has asked with in vain."""

    serial: str
    pending: str | None = None


def certified(key: str) -> Certified:
    return Certified(DEN, f"of-{key}", key.encode(), b"chain", 1e9)


class OneIdentity(RuleBasedStateMachine):
    """A node, everybody who has copied it, and an admin."""

    holders = Bundle("holders")

    def __init__(self):
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.database = self.runner.run(Database.open(self.directory / "state.db"))
        self.store = NodeStore(self.database)
        self.now = 0.0
        self.keys = 0
        self.newest = "key-0"
        self.issued = 1
        self.state = NodeState.ACTIVE

    def teardown(self):
        self.runner.run(self.database.close())
        self.runner.close()
        shutil.rmtree(self.directory)

    @initialize(target=holders)
    def join(self):
        self.runner.run(self.store.adopt(certified("key-0"), 0.0))
        return Holder("of-key-0")

    @rule(target=holders, holder=holders)
    def copy(self, holder):
        return Holder(holder.serial, holder.pending)

    @rule(holder=holders, is_lost=st.booleans())
    def renew(self, holder, is_lost):
        if holder.pending is None:
            self.keys += 1
            holder.pending = f"key-{self.keys}"
        key = holder.pending
        try:
            node = self._renew(holder.serial, key)
        except Unauthenticated:
            assert self.state is not NodeState.ACTIVE
            return
        assert self.state is NodeState.ACTIVE
        if key != self.newest and holder.serial != f"of-{self.newest}":
            assert node.state is NodeState.LOCKED
            self.state = NodeState.LOCKED
            return
        if key != self.newest:
            self.newest = key
            self.issued += 1
        assert (node.state, node.serial) == (NodeState.ACTIVE, f"of-{key}")
        if not is_lost:
            holder.serial, holder.pending = node.serial, None

    @rule()
    def unlock(self):
        try:
            self.runner.run(self.store.unlock("den", self._tick()))
        except InvalidRequest:
            assert self.state is not NodeState.LOCKED
        else:
            assert self.state is NodeState.LOCKED
            self.state = NodeState.ACTIVE

    @rule()
    def revoke(self):
        self.runner.run(self.store.revoke("den", self._tick()))
        self.state = NodeState.REVOKED

    @invariant()
    def it_is_as_its_history_says(self):
        for node in self.runner.run(self.store.nodes()):
            assert (node.state, node.serial, node.generation) == (
                self.state,
                f"of-{self.newest}",
                self.issued,
            )
        numbers = [change.number for change in self.runner.run(self.store.changes(0))]
        assert numbers == list(range(1, len(numbers) + 1))

    def _renew(self, serial: str, key: str) -> NodeRecord:
        asked = Asked(serial, certified(key).key_digest, 1, self._tick())
        return self.runner.run(self.store.renew(DEN, asked, certify=lambda _: certified(key)))

    def _tick(self) -> float:
        self.now += 1
        return self.now


TestOneIdentity = OneIdentity.TestCase
TestOneIdentity.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


@given(nonce=st.binary(max_size=64), request=st.binary(max_size=64), at=st.integers(0), bit=st.integers(0, 7))
def test_a_proof_is_good_for_what_was_signed_and_nothing_else(nonce, request, at, bit):
    proof = prove(KEY, nonce, request)
    check_proof(public_bytes(KEY.public_key()), nonce, request, proof)
    bent = bytearray(proof)
    bent[at % len(bent)] ^= 1 << bit
    for key, said, asks, shown in (
        (KEY, nonce, request, bytes(bent)),
        (OTHER, nonce, request, proof),
        (KEY, nonce + b"x", request, proof),
        (KEY, nonce, request + b"x", proof),
        (KEY, request + b"1", nonce, proof),
    ):
        assert is_bad(public_bytes(key.public_key()), said, asks, shown)


@given(st.binary(max_size=120), st.binary(max_size=120))
def test_nothing_that_anybody_sends_is_more_than_a_bad_proof(key, proof):
    assert is_bad(key, b"nonce", b"request", proof)
    assert is_bad(public_bytes(KEY.public_key()), b"nonce", b"request", proof)


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans(), st.floats(0, 2 * NONCE_S)), max_size=60))
def test_a_number_is_good_once_and_for_a_while(moves):
    nonces, good, now = Nonces(), {}, 0.0
    for number, is_given, after_s in moves:
        now += after_s
        nonce = b"%d" % number
        if is_given:
            nonces.give(nonce, now)
            good[nonce] = now + NONCE_S
        else:
            assert nonces.take(nonce, now) is (now < good.pop(nonce, now))


def test_of_too_many_numbers_the_oldest_is_good_no_longer():
    nonces = Nonces()
    for number in range(NONCES_MAX + 1):
        nonces.give(b"%d" % number, 0.0)
    assert not nonces.take(b"0", 1.0)
    assert nonces.take(b"1", 1.0)


def is_bad(key: bytes, nonce: bytes, request: bytes, proof: bytes) -> bool:
    try:
        check_proof(key, nonce, request, proof)
    except BadProof:
        return True
    return False
