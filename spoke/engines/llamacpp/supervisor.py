"""Child processes that hold engines: starting one, hearing its reply, ending it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final, cast

import msgspec

from hubspoke.errors import (
    EngineCrashed,
    EngineOutOfMemory,
    EngineProtocol,
    EngineTimeout,
    EngineUnavailable,
    LoadFailed,
)
from spoke.engines.llamacpp.launch import LINE_BYTES_MAX, Order, Refused, Reply
from spoke.platform import detached

if TYPE_CHECKING:
    from collections.abc import Callable

ARGUMENTS: Final = ("-P", "-m", "spoke.engines.llamacpp.child")
"""-P: nothing is imported from the directory that the agent happens to be in."""
STOP_GRACE_S: Final = 2.0
KILL_TIMEOUT_S: Final = 10.0
"""A process that a driver holds in the kernel may never end; the agent goes on without it."""
STDERR_BYTES_KEPT: Final = 16 * 1024
PRIVATE_VARIABLES: Final = "HUBSPOKE_"
SIGKILL_EXIT: Final = -9

log = logging.getLogger(__name__)


class Child:
    """A child process that has replied. Its stdin stays open until `stop`, and it lives that long at most."""

    def __init__(self, transport: asyncio.SubprocessTransport, pipes: _Pipes, reply: Reply) -> None:
        self._transport = transport
        self._pipes = pipes
        self.reply = reply
        self.pid = transport.get_pid()

    @property
    def has_exited(self) -> bool:
        """Whether the process has ended."""
        return self._pipes.exited.done()

    async def exits_within(self, limit_s: float) -> bool:
        """Wait for the process to end, *limit_s* at most, and say whether it did."""
        await asyncio.wait({self._pipes.exited}, timeout=limit_s)
        return self.has_exited

    def on_exit(self, call: Callable[[int], None]) -> None:
        """Call *call* with the exit status once the process ends, or soon when it has."""
        self._pipes.exited.add_done_callback(lambda exited: call(exited.result()))

    async def stop(self) -> None:
        """End the process: politely for `STOP_GRACE_S`, then for certain."""
        await _stop(self._transport, self._pipes, STOP_GRACE_S)

    def last_words(self) -> str:
        """Give what the process wrote to stderr last. It may name paths, so it is for the spoke's log alone."""
        return self._pipes.last_words()


async def start(order: Order, timeout_s: float) -> Child:
    """Start a child and wait for its reply to *order*.

    Raise LoadFailed when it refuses, EngineCrashed or EngineOutOfMemory when it dies, EngineTimeout after *timeout_s*,
    EngineUnavailable when it cannot be started, EngineProtocol when its reply makes no sense.
    """
    loop = asyncio.get_running_loop()
    try:
        transport, pipes = await loop.subprocess_exec(
            lambda: _Pipes(loop), sys.executable, *ARGUMENTS, env=_environment(), **detached()
        )
    except OSError as error:
        raise EngineUnavailable(f"this machine cannot start another process: {error.strerror}") from error
    async with AsyncExitStack() as undo:
        undo.push_async_callback(_stop, transport, pipes, grace_s=0)
        _stdin(transport).write(msgspec.json.encode(order) + b"\n")
        reply = await _reply(pipes, timeout_s)
        undo.pop_all()
        return Child(transport, pipes, reply)


class _Pipes(asyncio.SubprocessProtocol):
    """Hears a child: the first line of its stdout, the end of its stderr, its exit."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.line: asyncio.Future[bytes] = loop.create_future()
        self.exited: asyncio.Future[int] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._transport: asyncio.SubprocessTransport | None = None
        self._stdout = b""
        self._stderr = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._stderr = (self._stderr + data)[-STDERR_BYTES_KEPT:]
        elif not self.line.done():
            self._stdout += data
            line, end, _ = self._stdout.partition(b"\n")
            if end or len(line) > LINE_BYTES_MAX:
                self.line.set_result(line)

    def pipe_connection_lost(self, fd: int, _exc: Exception | None) -> None:
        if fd == 1 and not self.line.done():
            self.line.set_result(b"")

    def process_exited(self) -> None:
        status = None if self._transport is None else self._transport.get_returncode()
        self.exited.set_result(0 if status is None else status)

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._transport is not None:
            self._transport.close()
        self.closed.set_result(None)

    def last_words(self) -> str:
        return self._stderr.decode("utf-8", errors="replace")


async def _reply(pipes: _Pipes, timeout_s: float) -> Reply:
    """Wait for the reply; raise what its absence means."""
    await asyncio.wait({pipes.line}, timeout=timeout_s)
    if not pipes.line.done():
        raise EngineTimeout(f"the engine did not get ready within {timeout_s:g} s")
    line = pipes.line.result()
    if not line:
        await asyncio.wait({pipes.exited}, timeout=STOP_GRACE_S)
        raise _died(pipes)
    try:
        reply: Reply = msgspec.json.decode(line, type=Reply)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EngineProtocol("the engine's process said something that makes no sense") from error
    if isinstance(reply, Refused):
        log.warning("engine refused the model", extra={"why": reply.why, "stderr": pipes.last_words()})
        raise LoadFailed("the engine refused the model; the spoke's log says why")
    return reply


def _died(pipes: _Pipes) -> EngineCrashed | EngineOutOfMemory:
    status = pipes.exited.result() if pipes.exited.done() else 0
    log.warning("engine died at its start", extra={"status": status, "stderr": pipes.last_words()})
    if status == SIGKILL_EXIT:
        return EngineOutOfMemory("the system killed the engine at its start, most likely for want of memory")
    return EngineCrashed(
        f"the engine died at its start (exit status {status}); the spoke's log says more", status=status
    )


async def _stop(transport: asyncio.SubprocessTransport, pipes: _Pipes, grace_s: float) -> None:
    _stdin(transport).close()
    try:
        await asyncio.wait({pipes.exited}, timeout=grace_s)
    finally:
        # Kills what still runs, also when this wait is cancelled.
        transport.close()
    await asyncio.wait({pipes.closed}, timeout=KILL_TIMEOUT_S)
    if not pipes.closed.done():
        log.error("engine does not end", extra={"pid": transport.get_pid(), "after_s": KILL_TIMEOUT_S})


def _stdin(transport: asyncio.SubprocessTransport) -> asyncio.WriteTransport:
    return cast("asyncio.WriteTransport", transport.get_pipe_transport(0))


def _environment() -> dict[str, str]:
    """Give the agent's environment without what is none of an engine's business.

    Cards are numbered as NVML numbers them, or else the hub would be told of the wrong ones.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PRIVATE_VARIABLES)}
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", **inherited}
