"""PEM taken apart strictly: blocks, white space between them, and nothing else.

TLS libraries skip over what they cannot read, so a bundle that lost its second half still loads
there. Here it does not.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from pki.errors import BadBundle

PEM_BYTES_MAX = 64 * 1024
BLOCKS_MAX = 16

CERTIFICATE = "CERTIFICATE"

_BLOCK = re.compile(
    r"\s*(?P<text>-----BEGIN (?P<label>[A-Z0-9 ]+)-----\r?\n(?P<body>[A-Za-z0-9+/=\s]+)-----END (?P=label)-----)\s*"
)


@dataclass(frozen=True, slots=True)
class Block:
    """One PEM block. It may hold a private key, so its content is not shown."""

    label: str
    text: bytes = field(repr=False)
    der: bytes = field(repr=False)


def split(pem: bytes) -> tuple[Block, ...]:
    """Take *pem* apart, or raise `BadBundle` for anything that is not a block."""
    if len(pem) > PEM_BYTES_MAX:
        raise BadBundle(f"the file has more than {PEM_BYTES_MAX} bytes")
    try:
        text = pem.decode("ascii")
    except UnicodeDecodeError as error:
        raise BadBundle("the file is not PEM: it holds bytes that are not ASCII") from error
    blocks = tuple(_blocks(text))
    if not blocks:
        raise BadBundle("the file is empty")
    if len(blocks) > BLOCKS_MAX:
        raise BadBundle(f"the file holds more than {BLOCKS_MAX} blocks")
    return blocks


def certificates(blocks: tuple[Block, ...]) -> tuple[x509.Certificate, ...]:
    """Read certificates out of *blocks*, or raise `BadBundle` if one is something else."""
    return tuple(_certificate(block) for block in blocks)


def write(chain: tuple[x509.Certificate, ...]) -> bytes:
    """Write certificates one after the other."""
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain)


def _blocks(text: str) -> Iterator[Block]:
    position = 0
    while position < len(text):
        match = _BLOCK.match(text, position)
        if match is None:
            if not text[position:].strip():
                return
            line = text.count("\n", 0, position) + 1
            raise BadBundle(f"the file is damaged: there is no whole PEM block at line {line}")
        yield Block(match["label"], match["text"].encode() + b"\n", _decode(match["body"]))
        position = match.end()


def _decode(body: str) -> bytes:
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except binascii.Error as error:
        raise BadBundle("the file is damaged: a PEM block is not Base64") from error


def _certificate(block: Block) -> x509.Certificate:
    if block.label != CERTIFICATE:
        raise BadBundle(f"there is a {block.label} where a certificate belongs")
    try:
        return x509.load_der_x509_certificate(block.der)
    except (ValueError, x509.InvalidVersion) as error:
        raise BadBundle("a certificate in the file is damaged") from error
