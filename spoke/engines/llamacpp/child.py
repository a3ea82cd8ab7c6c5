"""The process around one loaded model, run as `python -m spoke.engines.llamacpp.child`.

llama.cpp runs here and not in the agent: a crash costs one model, and ending the process frees all its memory. The
process lives for as long as its stdin is open, so it never outlives the agent, however that ends. Elsewhere than on
Linux it notices only once the model is loaded.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import msgspec
import xllamacpp

from spoke.engines.llamacpp.launch import (
    LINE_BYTES_MAX,
    Device,
    Order,
    Ready,
    Refused,
    Reply,
    Serve,
    Surveyed,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

if sys.platform == "linux":
    import fcntl

BATCH_TOKENS_ON_CPU: Final = 128
"""A cancelled request frees its slot when the batch under way is done; larger ones are hardly faster."""
BATCH_TOKENS_ON_GPU: Final = 512
"""Also of a model that sees: some take in an image, of 256 tokens and more, at once or not at all."""
ERRORS_ONLY: Final = 1
REFUSED_EXIT: Final = 3


def main() -> None:
    """Take one order, reply, and wait for the end."""
    replies = _claim_stdout()
    _ignore_stop_signals()
    order = msgspec.json.decode(sys.stdin.buffer.readline(LINE_BYTES_MAX), type=Order)
    if not isinstance(order, Serve):
        _reply(replies, _survey())
        _leave(0)
    try:
        with _dies_with_the_agent():
            server = xllamacpp.Server(_parameters(order))
    except (RuntimeError, ValueError) as error:
        _reply(replies, Refused(str(error)))
        _leave(REFUSED_EXIT)
    _reply(replies, Ready(server.listening_address))
    sys.stdin.buffer.read()
    _remove_socket(order)
    _leave(0)


def _claim_stdout() -> int:
    """Keep stdout for the reply, and send what the engine prints to stderr instead."""
    replies = os.dup(1)
    os.dup2(2, 1)
    return replies


def _ignore_stop_signals() -> None:
    """Leave it to the agent when to end: systemd signals every process of a service, and the agent may drain first."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _survey() -> Surveyed:
    return Surveyed(
        version=metadata.version("xllamacpp"),
        devices=[
            Device(
                name=str(device["name"]),
                description=str(device["description"]),
                place=str(device["device_id"]),
                is_integrated=device["type"].name.endswith("IGPU"),
                memory_total_bytes=int(device["memory_total"]),
                memory_free_bytes=int(device["memory_free"]),
            )
            for device in xllamacpp.get_device_info()
            if device["type"].name.endswith("GPU")
        ],
    )


def _parameters(order: Serve) -> xllamacpp.CommonParams:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = order.path
    parameters.model_alias = {order.model}  # or else every chunk would repeat the path
    parameters.n_parallel = order.slots
    parameters.n_ctx = order.context_tokens
    parameters.n_batch = parameters.n_ubatch = _batch_tokens(order)
    parameters.embedding = order.makes_vectors
    if order.makes_vectors:
        # In streams of their own, texts of different lengths that are computed together spoil each other's vectors.
        parameters.kv_unified = True
        parameters.kv_unified_per_slot = order.context_tokens // order.slots
    parameters.mmproj.path = order.projector
    parameters.video_ffmpeg_bin_dir = (
        os.devnull
    )  # or else what is no image would be handed to a program on the path
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = order.threads
    parameters.hostnames = [order.socket or "127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [order.api_key]
    parameters.offline = True
    parameters.ui = False
    parameters.endpoint_slots = False
    parameters.cors_credentials = False
    parameters.cache_ram_mib = 0  # would hold up to 8 GiB of old prompts that no ledger knows of
    parameters.verbosity = ERRORS_ONLY
    return parameters


def _batch_tokens(order: Serve) -> int:
    """Say how much is computed at once. A text that is to become a vector has to fit, up to the context of a slot."""
    on_gpu = any(device["type"].name.endswith("GPU") for device in xllamacpp.get_device_info())
    usual = BATCH_TOKENS_ON_GPU if on_gpu or order.projector else BATCH_TOKENS_ON_CPU
    return max(usual, order.context_tokens // order.slots) if order.makes_vectors else usual


def _reply(replies: int, reply: Reply) -> None:
    with suppress(BrokenPipeError):  # the agent has just gone
        os.write(replies, msgspec.json.encode(reply) + b"\n")


@contextmanager
def _dies_with_the_agent() -> Iterator[None]:
    """Let the kernel end this process when stdin closes, as no Python runs while llama.cpp loads, which takes minutes."""
    if sys.platform != "linux":
        yield
        return
    stdin = sys.stdin.fileno()
    flags = fcntl.fcntl(stdin, fcntl.F_GETFL)
    fcntl.fcntl(stdin, fcntl.F_SETOWN, os.getpid())
    # From here on whatever happens to stdin is a SIGIO, which kills.
    fcntl.fcntl(stdin, fcntl.F_SETFL, flags | os.O_ASYNC)
    try:
        if select.select([stdin], [], [], 0)[0]:  # it closed before that
            _leave(0)
        yield
    finally:
        fcntl.fcntl(stdin, fcntl.F_SETFL, flags)


def _remove_socket(order: Serve) -> None:
    if order.socket:
        with suppress(OSError):
            Path(order.socket).unlink()
            Path(order.socket).parent.rmdir()


def _leave(status: int) -> NoReturn:
    """End without the engine's destructor, which can deadlock and would keep the memory."""
    os._exit(status)


if __name__ == "__main__":
    main()
