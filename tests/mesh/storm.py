"""A process that may die: 200 nodes connect at once while the hub's port is swapped again and again under them.

    python -m tests.mesh.storm DIRECTORY

The clock is moved on, so that each swap is made as soon as it is wanted: far more often than a hub would.
"""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

import grpc

from hub.certificate import SWAP_INTERVAL_S, Certificate
from hubspoke.channel import CHANNEL_OPTIONS
from hubspoke.credentials import channel_credentials
from pki import pem
from pki.authority_files import AuthorityFiles
from pki.rotation import Kind
from pki.succession import RootKey, prepare
from tests.fakes.clock import MovableClock
from tests.fakes.hub import make_mesh

NODES = 200
NODES_PER_SWAP = 10
CALL_S = 30.0
METHOD = "/storm/Hello"


async def storm(directory: Path) -> None:
    made, clock = make_mesh(directory), MovableClock()
    certificate = Certificate(made.hub, clock)
    bundles = both_bundles(made.hub.authorities)
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    server.add_generic_rpc_handlers((handler(),))
    port = server.add_secure_port("127.0.0.1:0", certificate.server_credentials(bundles[0]))
    await server.start()
    anchors = made.admin.load_anchors(now=datetime.now(UTC))
    credentials = channel_credentials(made.admin.load_identity(), anchors)

    async def node(number: int) -> None:
        await hello(f"127.0.0.1:{port}", credentials)
        if number % NODES_PER_SWAP == 0:
            clock.move(SWAP_INTERVAL_S)
            await certificate.show(bundles[number // NODES_PER_SWAP % 2])

    await asyncio.gather(*map(node, range(NODES)))
    await server.stop(None)


def both_bundles(files: AuthorityFiles) -> tuple[bytes, bytes]:
    """Give what the port takes before and during an exchange of what signs nodes."""
    prepare(files, Kind.NODE_ISSUING, RootKey(None), now=datetime.now(UTC))
    old, new = files.load_certificate("node-issuing", 1), files.load_certificate("node-issuing", 2)
    return pem.write((old,)), pem.write((old, new))


async def hello(address: str, credentials: grpc.ChannelCredentials) -> None:
    # Channels to one address would share a connection.
    options = (*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1))
    async with grpc.aio.secure_channel(address, credentials, options=options) as channel:
        assert await channel.unary_unary(METHOD)(b"hello", timeout=CALL_S, wait_for_ready=True) == b"hello"


def handler() -> "grpc.GenericRpcHandler[bytes, bytes]":
    async def echo(request: bytes, _context: object) -> bytes:
        return request

    return grpc.method_handlers_generic_handler("storm", {"Hello": grpc.unary_unary_rpc_method_handler(echo)})


if __name__ == "__main__":
    asyncio.run(storm(Path(sys.argv[1])))
