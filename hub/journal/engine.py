"""DBOS, which keeps what every step gave and begins again what a dead hub had not ended. Nobody else knows of it."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from copy import copy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa
from dbos import DBOS, Serializer, SetWorkflowID
from dbos import error as dbos_errors

from hub.journal import formats
from hub.journal.patience import patiently
from hub.journal.rows import Taken
from hub.journal.steps import WHY_CHARS, connect, make_wal, told
from hubspoke.errors import InternalError, StoreFailed
from hubspoke.logs import Seldom
from hubspoke.types import DelegationId

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence

    from dbos import DBOSConfig, StepOptions, StepReservation, WorkflowStatus

    from hub.journal.journal import Step, Steps

log = logging.getLogger(__name__)
log.addFilter(Seldom())

THREADS_MAX: Final = 8
"""DBOS would start as many as there are steps; with more than these, answers to others come late."""

STARTED_AT_A_TIME: Final = 64

_NAME: Final = "hubspoke"
_PENDING: Final = "PENDING"
_STATUSES_ALIVE: Final = frozenset({_PENDING, "ENQUEUED", "DELAYED"})


class _Json(Serializer):
    """Everything is kept as JSON: whoever can write the database must not be able to run code in the hub."""

    def serialize(self, data: Any) -> str:
        if isinstance(data, (sa.exc.SQLAlchemyError, StoreFailed)):
            # DBOS would keep for good, as what became of a step, that it could not be kept.
            raise data
        return msgspec.json.encode(data, enc_hook=_as_text).decode()

    def deserialize(self, serialized_data: str) -> Any:
        return msgspec.json.decode(serialized_data)

    def name(self) -> str:
        return "hubspoke_json"


class _Voice(logging.Handler):
    """Takes what DBOS says into our own log, without what it says of values and code."""

    def emit(self, record: logging.LogRecord) -> None:
        log.warning("journal engine", extra={"why": record.getMessage()[:WHY_CHARS]})


class _Place:
    """A step that was reserved."""

    def __init__(self, name: str, reserved: StepReservation) -> None:
        # Without options of its own a reserved step would take what its function was decorated with for lost.
        self._options: StepOptions = {"name": name, "retries_allowed": False}
        self._reserved = reserved

    async def run(self, work: Callable[[], Awaitable[str]]) -> str:
        """Do *work* and keep what it gives. What it raises is not kept: it is about this hub, and may be over."""
        given: list[str] = []
        failed: list[Exception] = []

        async def step() -> str:
            try:
                if not given:  # else it was done, and could not be kept
                    given.append(await work())
                return given[0]
            except Exception as error:
                failed.append(error)
                # DBOS keeps what a step raises, all but this.
                raise dbos_errors.DBOSWorkflowCancelledError(str(error)) from error

        try:
            return await patiently(partial(self._once, step))
        except dbos_errors.DBOSWorkflowCancelledError:
            if failed:
                raise failed[0] from None
            raise

    async def _once(self, step: Callable[[], Coroutine[Any, Any, str]]) -> str:
        """Run *step* unless it was done before; raise StoreFailed where DBOS does not wait for the database by itself."""
        with told():
            # A copy: a reserved step can be run once.
            return await copy(self._reserved).run_async(self._options, step)


class _Places:
    """The steps of the delegation that runs in this context."""

    def reserve(self, name: str) -> Step:
        """Draw the next place: by their order alone they are known again after a crash."""
        return _Place(name, DBOS.reserve_step())


class Engine:
    """Runs delegations by *run*, which is called again with the same steps until it returns. One in a process."""

    def __init__(
        self,
        url: sa.URL,
        executor: str,
        run: Callable[[DelegationId, Steps], Coroutine[None, None, None]],
    ) -> None:
        is_file = url.get_backend_name() == "sqlite"
        self._file = Path(url.database or "") if is_file else None
        self._server = None if is_file else connect(url)
        self._config: DBOSConfig = {
            "name": _NAME,
            "system_database_url": url.render_as_string(hide_password=False),
            "system_database_engine": self._server,
            "executor_id": executor,
            # DBOS leaves alone what has another one, and would else take every change of our code for one.
            "application_version": str(formats.FORMAT),
            "serializer": _Json(),
            "max_executor_threads": THREADS_MAX,
            "log_level": "WARNING",
        }
        self._run = run
        self._tasks: dict[DelegationId, asyncio.Task[None]] = {}
        self._over: set[DelegationId] = set()
        # Kept under this name as running, and maybe nobody does it.
        self._doubtful: set[DelegationId] = set()
        self._workflow: Callable[[str], Coroutine[Any, Any, None]] | None = None

    @property
    def running(self) -> tuple[DelegationId, ...]:
        """Say what runs here."""
        return tuple(self._tasks)

    async def launch(self) -> None:
        """Begin again what this executor had not ended, in the loop that runs now; raise StoreFailed."""
        with told():
            if self._file is not None:
                await asyncio.to_thread(make_wal, self._file)
        _silence()
        DBOS(config=self._config)

        async def delegation(name: str) -> None:
            await self._delegation(name)

        # Who begins something in vain too often is found out by the journal: a restart alone proves nothing.
        self._workflow = DBOS.workflow(name="delegation", max_recovery_attempts=None)(delegation)
        try:
            with told():
                DBOS.launch()
        except StoreFailed:
            await self.close()
            raise

    async def begin(self, delegations: Iterable[DelegationId]) -> tuple[DelegationId, ...]:
        """Run what is not under way yet. What is pending under another executor's name is taken over. Raise StoreFailed.

        Give those whose steps are of another format, so that they cannot go on.
        """
        wanted, others = list(delegations), list[DelegationId]()
        with told():
            for first in range(0, len(wanted), STARTED_AT_A_TIME):
                others += await self._begin(wanted[first : first + STARTED_AT_A_TIME])
        return tuple(others)

    def doubt(self, delegations: Iterable[DelegationId]) -> None:
        """Take what is kept as running here, and is not, for left: the next `begin` begins it again."""
        self._doubtful.update(each for each in delegations if each not in self._tasks)

    def stop(self, delegation: DelegationId) -> None:
        """Stop a delegation for good."""
        task = self._tasks.get(delegation)
        if task is not None:
            self._over.add(delegation)
            task.cancel()

    async def forget(self, delegations: Iterable[DelegationId]) -> None:
        """Forget the steps of what has ended; raise StoreFailed."""
        gone = list(delegations)
        if gone:
            with told():
                await DBOS.delete_workflows_async([*gone])

    async def close(self) -> None:
        """Let go of everything. What runs is begun again at the next launch."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        # DBOS has made its threads those of the loop; they end with it.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
        await asyncio.to_thread(DBOS.destroy, destroy_registry=True)
        if self._server is not None:
            await asyncio.to_thread(self._server.dispose)

    async def _begin(self, some: Sequence[DelegationId]) -> list[DelegationId]:
        known = {
            status.workflow_id: status
            for status in await DBOS.list_workflows_async(
                workflow_ids=[*some], load_input=False, load_output=False
            )
        }
        others = []
        for each in some:
            status = known.get(each)
            if status is None:
                await self._start(each)
            elif status.app_version != self._config["application_version"]:
                others.append(each)
            elif self._is_left(each, status):
                await DBOS.resume_workflow_async(each)
                self._doubtful.discard(each)
        return others

    def _is_left(self, delegation: DelegationId, status: WorkflowStatus) -> bool:
        """Whether nobody runs it, or another executor that is gone."""
        if delegation in self._tasks:
            return False
        if status.status != _PENDING:
            self._doubtful.discard(delegation)
            return status.status not in _STATUSES_ALIVE
        return delegation in self._doubtful or status.executor_id != self._config["executor_id"]

    async def _start(self, delegation: DelegationId) -> None:
        if self._workflow is None:
            raise InternalError("the journal's engine was used before its launch")
        # A server that goes away in the middle may have kept that it runs, which then nobody does.
        self._doubtful.add(delegation)
        with SetWorkflowID(delegation):
            await DBOS.start_workflow_async(self._workflow, delegation)
        self._doubtful.discard(delegation)

    async def _delegation(self, name: str) -> None:
        """Run one delegation in a task of its own, that can be stopped without DBOS."""
        delegation = DelegationId(name)
        task = asyncio.create_task(self._run(delegation, _Places()))
        self._tasks[delegation] = task
        self._doubtful.discard(delegation)
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
            del self._tasks[delegation]
        is_over = delegation in self._over
        self._over.discard(delegation)
        if not (task.cancelled() and is_over):
            with self._pending_if_taken(delegation):
                await task  # raises what it has raised; cancelled, it stays pending

    @contextmanager
    def _pending_if_taken(self, delegation: DelegationId) -> Iterator[None]:
        try:
            yield
        except Taken:
            self._doubtful.add(delegation)  # another hub may lose it to this one again
            # For DBOS, what ends well or badly here is over for everybody.
            raise asyncio.CancelledError from None


def _silence() -> None:
    logger = logging.getLogger("dbos")
    logger.handlers = [_Voice()]
    logger.propagate = False


def _as_text(value: object) -> str:
    """Keep of an error what it says: nothing else that is not JSON is ever given."""
    with suppress(AttributeError):
        return f"{type(value).__name__}: {value}"[:WHY_CHARS]
    return type(value).__name__
