"""From certificates on disk to what gRPC takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from pki import pem

if TYPE_CHECKING:
    from cryptography import x509

    from pki.credential import StoredIdentity


def channel_credentials(
    identity: StoredIdentity, anchors: tuple[x509.Certificate, ...]
) -> grpc.ChannelCredentials:
    """Give the credentials of a node: who it is, and whom it trusts. *anchors* come from `load_anchors`."""
    return grpc.ssl_channel_credentials(_roots(anchors), identity.key_pem, identity.chain_pem)


def anonymous_credentials(anchors: tuple[x509.Certificate, ...]) -> grpc.ChannelCredentials:
    """Give the credentials of whoever has no certificate yet: the enrol port proves itself, the caller does not."""
    return grpc.ssl_channel_credentials(_roots(anchors))


def _roots(anchors: tuple[x509.Certificate, ...]) -> bytes:
    # gRPC takes empty roots for "trust the public web".
    if not anchors:
        raise ValueError("credentials without a trust anchor")
    return pem.write(anchors)
