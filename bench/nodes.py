"""What runs beside the hub, each in a process of its own: `python -m bench.nodes spoke|direct ...`."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Final

import click
import grpc

from bench.metronome import Metronome, Tally
from hubspoke import logs, loop
from hubspoke.api.inference.v1 import inference_pb2 as pb
from hubspoke.channel import COMMON_OPTIONS
from hubspoke.clock import SystemClock
from hubspoke.signals import stop_signals
from hubspoke.types import Delta
from hubspoke.wire import answers, requests
from pki.files import NodeFiles
from spoke.agent import Agent
from spoke.gpu.memory import host_memory
from spoke.gpu.none import NoGpus
from spoke.link.machine import Machine

SERVICE: Final = "hubspoke.api.inference.v1.InferenceService"
A_FILE: Final = click.Path(path_type=Path)


@click.group()
def main() -> None:
    """Run one node of the bench until SIGTERM."""


@main.command()
@click.argument("directory", type=A_FILE)
@click.option("--slots", type=int, required=True)
@click.option("--tally", type=A_FILE, required=True)
def spoke(directory: Path, slots: int, tally: Path) -> None:
    """Be a whole spoke, of which only the engine is not real."""
    logs.configure("info")
    loop.run(lambda: _spoke(directory, slots, tally))


@main.command()
@click.argument("credential", type=A_FILE)
@click.option("--callers", type=A_FILE, required=True, help="Authority of the client certificates to take.")
@click.option("--port", type=int, required=True)
@click.option("--tally", type=A_FILE, required=True)
def direct(credential: Path, callers: Path, port: int, tally: Path) -> None:
    """Be a gRPC server with mutual TLS and nothing else, around the same engine."""
    loop.run(lambda: _direct(credential.read_bytes(), callers.read_bytes(), port, tally))


async def _spoke(directory: Path, slots: int, tally: Path) -> None:
    clock = SystemClock()
    agent = Agent(
        NodeFiles(directory),
        Machine((Metronome(Tally(tally)),), NoGpus(), host_memory),
        hubs=(),
        slots=slots,
        version="bench",
        clock=clock,
        chance=random.random,
    )
    with stop_signals(agent.stop):
        await agent.run()


async def _direct(credential_pem: bytes, callers_pem: bytes, port: int, tally: Path) -> None:
    engine = Metronome(Tally(tally))

    async def infer(
        message: pb.InferRequest, context: grpc.aio.ServicerContext[pb.InferRequest, pb.InferResponse]
    ) -> None:
        request, _ = requests.request_from_wire(message)
        async for event in engine.generate(request.model, request):
            if isinstance(event, Delta):
                await context.write(pb.InferResponse(delta=pb.Delta(text=event.text)))
            else:
                await context.write(pb.InferResponse.FromString(answers.finished_bytes(event)))

    handler = grpc.unary_stream_rpc_method_handler(
        infer, pb.InferRequest.FromString, pb.InferResponse.SerializeToString
    )
    server = grpc.aio.server(options=COMMON_OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Infer": handler}),))
    key_pem, begin, chain_pem = credential_pem.partition(b"-----BEGIN CERTIFICATE")
    credentials = grpc.ssl_server_credentials(
        [(key_pem, begin + chain_pem)], root_certificates=callers_pem, require_client_auth=True
    )
    server.add_secure_port(f"127.0.0.1:{port}", credentials)
    await server.start()
    stop = asyncio.Event()
    with stop_signals(stop.set):
        await stop.wait()
    await server.stop(None)


if __name__ == "__main__":
    main()
