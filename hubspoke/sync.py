"""The mesh for programs without an event loop: `MeshClient` with plain methods.

    with SyncMesh() as mesh:
        print(mesh.answer(Request("tiny", messages=(Message(Speaker.USER, "Hello"),))).text)

gRPC's asyncio side wants one event loop in a process. This face owns that loop, in a thread of its own, so it is
for programs that run none themselves; those that do use `MeshClient`.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, wait
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from hubspoke import loop, tools
from hubspoke.client import Answer, MeshClient, Vectors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Sequence
    from datetime import datetime
    from pathlib import Path
    from typing import Any, Self

    from hubspoke.types import (
        DelegationEvent,
        DelegationId,
        DelegationInfo,
        Event,
        ModelSummary,
        Request,
        Work,
    )

START_TIMEOUT_S: Final = 10.0
LOOK_UP_S: Final = 0.2
"""How late a Ctrl-C may be heard."""

T = TypeVar("T")


class SyncMesh:
    """A connection to the mesh; use it as a context, from any thread. Arguments and errors are `MeshClient`'s."""

    def __init__(self, identity_dir: Path | None = None, addresses: Sequence[str] = ()) -> None:
        self._mesh = MeshClient(identity_dir, addresses)
        self._thread = _LoopThread()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Connect."""
        with ExitStack() as opening:
            opening.enter_context(self._thread)
            self._thread.call(self._mesh.__aenter__())
            opening.callback(lambda: self._thread.call(self._mesh.__aexit__()))
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect; answers that are still being read end."""
        self._open.close()

    def infer(self, request: Request, *, deadline: datetime | None = None) -> Generator[Event, None, None]:
        """Ask, and give what happens as it happens; closing the generator stops the work on the GPU."""
        yield from self._events(self._mesh.infer(request, deadline=deadline))

    def answer(self, request: Request, *, deadline: datetime | None = None) -> Answer:
        """Ask, and give the whole answer."""
        return self._thread.call(self._mesh.answer(request, deadline=deadline))

    def delegate(self, work: Work) -> Generator[DelegationEvent, None, None]:
        """Hand work over, and give what happens until it has ended; closing the generator ends no work."""
        yield from self._events(self._mesh.delegate(work))

    def delegation(self, id_: DelegationId) -> DelegationInfo:
        """Say how a delegation stands."""
        return self._thread.call(self._mesh.delegations.get(id_))

    def embed(
        self, model: str, inputs: Sequence[str], *, dimensions: int = 0, deadline: datetime | None = None
    ) -> Vectors:
        """Turn texts into vectors."""
        return self._thread.call(self._mesh.embed(model, inputs, dimensions=dimensions, deadline=deadline))

    def answer_with_tools(
        self,
        request: Request,
        functions: Sequence[Callable[..., object]],
        *,
        rounds_max: int = tools.ROUNDS_MAX,
        deadline: datetime | None = None,
    ) -> Answer:
        """Ask, call *functions* as the model wants until it answers, and give that answer; see `hubspoke.tools`.

        The functions run in threads of their own.
        """
        return self._thread.call(
            tools.answer_with_tools(self._mesh, request, functions, rounds_max=rounds_max, deadline=deadline)
        )

    def models(self) -> tuple[ModelSummary, ...]:
        """List what can be asked, and where it runs."""
        return self._thread.call(self._mesh.models())

    def _events(self, events: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        pull = _Pull(events)
        try:
            while (event := self._thread.call(pull.next())) is not None:
                yield event
        finally:
            self._thread.call(pull.close())


class _Pull(Generic[T]):
    """Reads events one by one. Closing cancels a reader that is left waiting.

    A Ctrl-C may hit its thread when the reading is on its way to the loop and nobody holds yet what could cancel it.
    """

    def __init__(self, events: AsyncGenerator[T, None]) -> None:
        self._events = events
        self._reader: asyncio.Task[Any] | None = None

    async def next(self) -> T | None:
        self._reader = asyncio.current_task()
        try:
            return await anext(self._events, None)
        finally:
            self._reader = None

    async def close(self) -> None:
        if (reader := self._reader) is not None:
            reader.cancel()
            await asyncio.wait((reader,))
        await self._events.aclose()


class _LoopThread:
    """The event loop, in its thread."""

    def __init__(self) -> None:
        self._running: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        # A daemon: a program that ends without leaving the context must not hang.
        self._thread = threading.Thread(
            target=lambda: loop.run(self._run_until_stopped), name="hubspoke", daemon=True
        )

    def __enter__(self) -> Self:
        if _runs_a_loop():
            raise RuntimeError("this thread runs an event loop; use MeshClient, which shares it")
        self._thread.start()
        self._running.result(START_TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        event_loop, stop = self._running.result()
        event_loop.call_soon_threadsafe(stop.set)
        self._thread.join()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run *work* on the loop and give its result; whoever interrupts the wait cancels the work."""
        if not self._thread.is_alive():
            work.close()
            raise RuntimeError("not connected; use SyncMesh as a context: `with SyncMesh() as mesh:`")
        event_loop, _ = self._running.result()
        future = asyncio.run_coroutine_threadsafe(work, event_loop)
        try:
            # A Ctrl-C that comes just before a thread falls asleep on a lock does not wake it: so it looks up now and then.
            while not wait((future,), LOOK_UP_S).done:
                pass
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def _run_until_stopped(self) -> None:
        stop = asyncio.Event()
        self._running.set_result((asyncio.get_running_loop(), stop))
        await stop.wait()


def _runs_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
