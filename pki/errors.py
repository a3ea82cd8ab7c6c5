"""Everything that can go wrong with certificates, keys and join tokens.

PkiError
├── BadIdentity         a name or a SPIFFE URI that the mesh does not know
├── BadAddress          not a host or a host:port
├── BadCsr              a certificate request that asks for more than a certificate
├── BadProof            not signed with the key that it should be
├── BadToken            a join token that is cut, edited or of another kind
├── BadBundle           trust anchors or a chain that cannot be relied on
├── BadKey              not a P-256 private key, or not the one that belongs here
├── WrongPassphrase     the key is encrypted, and not with this passphrase
├── WeakPassphrase      too short to protect a key that leaves the machine
├── IssuerExpired       the certificate that should sign is over
├── NoSuchStep          an exchange of authorities cannot go on like that
├── KeysOfBefore        the mesh's authorities were exchanged since these were copied
├── RootKeyMissing      the root's key is not where it is looked for
├── PeerRefused         a certificate that TLS accepts and the mesh does not
├── UnsafeKeyFile       others could read or replace the key
├── AlreadyInitialised  there are keys that must not be overwritten
├── NotInitialised      the hub has no keys yet
└── NotEnrolled         the node has no identity yet

Every message is a whole sentence: what is wrong, then what to do about it. None holds a secret.
"""

from enum import StrEnum, unique
from typing import ClassVar


class PkiError(Exception):
    """A failure that whoever called can do something about.

    *what* says what is wrong; the class adds what to do.
    """

    remedy: ClassVar[str] = ""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}; {self.remedy}" if self.remedy else what)
        self.what = what


class BadIdentity(PkiError):
    """A name or a SPIFFE URI that the mesh does not know."""

    remedy = "use 1 to 63 of a-z, 0-9 and '-', not beginning or ending with '-'"


class BadAddress(PkiError):
    """Not a host, or not a host and a port."""

    remedy = "write host:port, for example den.local:7443, 192.168.1.5:7443 or [fd00::5]:7443"


class BadCsr(PkiError):
    """A certificate request that is malformed or asks for more than a certificate to its key."""

    remedy = "send a PKCS#10 request for a P-256 key with an empty subject and no extensions"


class BadProof(PkiError):
    """Somebody who comes back does not hold the key of the certificate that they name."""

    remedy = "a node whose key is lost joins again with a new token"


class BadToken(PkiError):
    """A join token that is cut, edited or of another kind."""

    remedy = "copy the whole line again, or ask for a new token"


class BadBundle(PkiError):
    """Trust anchors or a certificate chain that cannot be relied on."""

    remedy = "restore it from a backup; a node can also join again with a new token"


class BadKey(PkiError):
    """Not a P-256 private key in PEM, or not the key that belongs to the certificate."""

    remedy = "restore it from a backup; a node can also join again with a new token"


class WrongPassphrase(PkiError):
    """The key is encrypted, and not with this passphrase."""

    remedy = "try again with the passphrase that was chosen when the key was made"


class WeakPassphrase(PkiError):
    """A passphrase that would not protect a key which leaves the machine."""

    remedy = "choose a longer one; five random words are easy to keep"


class IssuerExpired(PkiError):
    """The certificate that should sign is over, or ends at this very moment."""

    remedy = "make a new one: `hubspoke pki rotate node-issuing`, `hub-issuing` or `root`"


class NoSuchStep(PkiError):
    """An exchange of authorities cannot go on like that from where it is."""

    remedy = "`hubspoke pki status` shows what is under way"


class KeysOfBefore(PkiError):
    """The authorities in this hub's directory are not the mesh's any more."""

    remedy = "make new keys for this hub with `hubspoke pki add-hub`"


class RootKeyMissing(PkiError):
    """The root's key is not where it is looked for, which is as it should be while nobody needs it."""

    remedy = "bring it back from where it is kept, and name the file with --root-key"


@unique
class Refusal(StrEnum):
    """Why a certificate that TLS accepted is not the identity of a node."""

    MALFORMED = "the certificate cannot be read"
    NO_IDENTITY = "the certificate names no SPIFFE identity"
    MANY_IDENTITIES = "the certificate names more than one identity"
    OTHER_NAMES = "the certificate names more than an identity"
    BAD_IDENTITY = "the identity is not one of this mesh"
    NOT_A_CLIENT = "the identity is a hub's and cannot call"
    WRONG_USAGE = "the certificate is not for client authentication alone"
    UNKNOWN_ISSUER = "the issuer is not in use"
    NOT_YET_VALID = "the certificate is not valid yet"
    EXPIRED = "the certificate has expired"
    NOT_A_NODE = "nobody of that role and name is in the mesh"
    LOCKED = "the node is locked"
    NODE_REVOKED = "the node was revoked"
    REVOKED = "the certificate was revoked"
    UNKNOWN_SERIAL = "no certificate has that serial"
    WRONG_KEY = "the proof was not made with the certificate's key"


class PeerRefused(PkiError):
    """A certificate that TLS accepts and the mesh does not, and the *reason*.

    The reason is for the audit log; the peer is told one generic text.
    """

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason.value)
        self.reason = reason


class UnsafeKeyFile(PkiError):
    """Others could read or replace the key; the message holds the command that mends it."""


class AlreadyInitialised(PkiError):
    """There are keys that must not be overwritten."""

    remedy = "move them away first if a new mesh is really wanted: every node will have to join again"


class NotInitialised(PkiError):
    """The hub has no keys yet."""

    remedy = "run `hubspoke pki init`"


class NotEnrolled(PkiError):
    """The node has no identity yet."""

    remedy = "join with a token from the hub"
