"""One slot: takes an assignment, sends the answer, and is free again. Each has a stream of its own to the hub."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from hubspoke.api.mesh.v1 import mesh_pb2 as pb
from hubspoke.errors import DeadlineExceeded, ProtocolViolation, Unreachable, Unsupported
from hubspoke.types import Delta, Embeddings, Finished, Place
from hubspoke.wire import answers, requests, times
from hubspoke.wire import tasks as tasks_wire
from hubspoke.wire.enums import FINISH_REASON
from hubspoke.wire.status import failure_to_wire
from spoke.core.slots import Event, Slot, Terms, leave_of, refusal
from spoke.link.answer import Answer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from hubspoke.errors import MeshError, SessionError
    from hubspoke.types import Task
    from spoke.link.answer import Ending, Piece
    from spoke.link.machine import Machine
    from spoke.link.standing import Standing
    from spoke.link.stream import Stream
    from spoke.link.tasks.running import Tasks

METHOD = "/hubspoke.api.mesh.v1.MeshService/Work"

log = logging.getLogger(__name__)


class Work:
    """The spoke's end of one Work stream: one task reads it, one task writes it."""

    def __init__(
        self,
        number: int,
        stream: Stream[pb.WorkRequest, pb.WorkResponse],
        standing: Standing,
        machine: Machine,
        tasks: Tasks,
        *,
        before: Work | None = None,
    ) -> None:
        self.withdrawn = asyncio.Event()
        self.ended = asyncio.Event()
        """Set once nothing runs on it any more, and never will."""
        self._before = before
        self._may_end = False
        self._number = number
        self._stream = stream
        self._standing = standing
        self._machine = machine
        self._tasks = tasks
        self._task: Task | None = None
        self._slot = Slot()
        self._answer: Answer | None = None
        self._refusal: SessionError | None = None
        self._wake = asyncio.Event()
        self._is_closing = False

    async def run(self) -> None:
        """Offer the slot and serve it until `close`; raise the MeshError that ended the stream otherwise.

        It is offered once the slot *before*, of the session that goes on in this one, has ended: together they are one.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write())
                await self._read(group)
        finally:
            self.ended.set()

    def hand_over(self) -> None:
        """Let the hub end the stream as soon as nothing runs on it: another session goes on with its slot."""
        self._may_end = True

    def withdraw(self) -> None:
        """Take the slot back as soon as nothing runs on it; `withdrawn` is set then. The session is draining."""
        self._wake.set()

    def abandon(self, why: MeshError) -> None:
        """Break off what runs; the hub is told *why*."""
        if self._before is not None:
            self._before.abandon(why)
        if self._answer is not None:
            self._answer.stop(why)

    def close(self) -> None:
        """End the stream, of a slot that was withdrawn."""
        self._is_closing = True
        self._wake.set()

    def abort(self, why: MeshError) -> None:
        """End the stream at once."""
        if self._before is not None:
            self._before.abort(why)
        self._stream.abort(why)

    # What the hub says.

    async def _read(self, group: asyncio.TaskGroup) -> None:
        while (message := await self._stream.read()) is not None:
            match message.WhichOneof("message"):
                case "assignment":
                    self._hear_assignment(message.assignment, group)
                case "cancel":
                    self._hear_cancel(message.cancel.attempt)
                case None:
                    raise ProtocolViolation(
                        "the hub said something on a slot that this version does not know"
                    )
        if self._may_end and self._answer is None:
            self.close()
        if not self._is_closing:
            raise Unreachable("the hub has closed a slot")

    def _hear_assignment(self, assignment: pb.Assignment, group: asyncio.TaskGroup) -> None:
        place = Place(assignment.engine, assignment.model)
        self._task = tasks_wire.from_wire(assignment.task) if assignment.HasField("task") else None
        self._refusal = self._refuse(place, assignment, self._task)
        self._slot = self._slot.assigned(assignment.attempt, self._refusal)
        if self._refusal is None:
            self._start_answer(place, assignment, group)
        self._wake.set()

    def _refuse(self, place: Place, assignment: pb.Assignment, task: Task | None) -> SessionError | None:
        if task is not None and (conflict := self._tasks.refusal(task)) is not None:
            return conflict
        draining = self._standing.draining
        if task is not None and self._tasks.knows(task.key):
            return leave_of(self._slot, draining=draining)  # nothing more has to be in memory for it
        terms = Terms(place, assignment.model_digest, assignment.options.context_tokens)
        model, running = self._machine.model(place), self._machine.running(place)
        return refusal(self._slot, terms, model, running=running, draining=draining)

    def _start_answer(self, place: Place, assignment: pb.Assignment, group: asyncio.TaskGroup) -> None:
        answer = self._answer = Answer(partial(self._ask, place, assignment), self._standing.flush_s)
        deadline: asyncio.TimerHandle | None = None
        if assignment.HasField("timeout"):
            late = DeadlineExceeded("the deadline passed before the answer was complete; allow more time")
            loop = asyncio.get_running_loop()
            deadline = loop.call_later(times.seconds(assignment.timeout), self._stop, late)
        is_counted_here = self._task is None  # a task counts for as long as it runs, whoever follows it

        def freed() -> None:
            if is_counted_here:
                self._machine.end(place)
            if deadline is not None:
                deadline.cancel()

        if is_counted_here:
            self._machine.begin(place)
        answer.start(group, freed)

    def _hear_cancel(self, attempt: int) -> None:
        following = self._slot.cancelled(attempt)
        if following is not self._slot and self._answer is not None:
            self._slot = following
            self._stop()

    def _stop(self, why: MeshError | None = None) -> None:
        """Stop what runs for good: of a task, not only the following of it."""
        if self._answer is not None:
            self._answer.stop(why)
            if self._task is not None:
                self._tasks.cancel(self._task.key)

    def _ask(self, place: Place, assignment: pb.Assignment) -> AsyncGenerator[Piece | Finished, None]:
        engine = self._machine.engine(place)
        match assignment.call:
            case pb.CALL_INFER:
                request, _ = requests.request_from_bytes(assignment.request)
                generate = partial(engine.generate, place.model, request)
                return generate() if self._task is None else self._tasks.answer(self._task, place, generate)
            case pb.CALL_EMBED:
                texts, _ = requests.embed_from_bytes(assignment.request)
                return engine.embed(place.model, texts)
            case _:
                raise Unsupported("this spoke does not know such a call; update it")

    # What the spoke says: the writer alone. The slot changes before a message leaves, because the hub may answer it
    # before its write returns.

    async def _write(self) -> None:
        opening = pb.Open(session=self._standing.session, slot=self._number)
        await self._stream.write(pb.WorkRequest(open=opening))
        await self._offer()
        while not self._is_closing:
            await self._wake.wait()
            self._wake.clear()
            if self._answer is not None:
                await self._send_answer(self._answer)
            elif self._refusal is not None:
                await self._send_declined(self._refusal)
            if self._standing.draining and self._slot.is_idle and self._slot.offered:
                await self._send_withdraw()
        await self._stream.finish()

    async def _offer(self) -> None:
        if self._before is not None:
            await self._before.ended.wait()
            self._before = None
        if self._standing.draining:
            self.withdrawn.set()
        else:
            self._slot = self._slot.after(Event.OFFER)
            await self._stream.write(pb.WorkRequest(offer=pb.Offer()))

    async def _send_answer(self, answer: Answer) -> None:
        attempt = self._slot.attempt
        while isinstance(piece := await answer.next(), Delta | Embeddings):
            await self._stream.write(pb.WorkRequest(chunk=_chunk(attempt, piece)))
        self._answer = None
        self._slot = self._slot.after(Event.LAST)
        await self._stream.write(pb.WorkRequest(last=_last(attempt, piece)))

    async def _send_declined(self, why: SessionError) -> None:
        attempt = self._slot.attempt
        self._refusal = None
        self._slot = self._slot.after(Event.DECLINED)
        log.info("declined", extra={"attempt": attempt, "reason": why.reason, "why": why.message})
        declined = pb.Declined(attempt=attempt, failure=failure_to_wire(why))
        await self._stream.write(pb.WorkRequest(declined=declined))

    async def _send_withdraw(self) -> None:
        self._slot = self._slot.after(Event.WITHDRAW)
        await self._stream.write(pb.WorkRequest(withdraw=pb.Withdraw()))
        self.withdrawn.set()


def _chunk(attempt: int, piece: Piece) -> pb.Chunk:
    if isinstance(piece, Delta):
        return pb.Chunk(attempt=attempt, body=answers.delta_bytes(piece), tokens=piece.tokens)
    return pb.Chunk(attempt=attempt, body=answers.embeddings_bytes(piece), tokens=len(piece.vectors))


def _last(attempt: int, ending: Ending) -> pb.Last:
    if isinstance(ending, Finished):
        return pb.Last(
            attempt=attempt,
            body=answers.finished_bytes(ending),
            usage=answers.usage_to_wire(ending.usage),
            finish=FINISH_REASON.to_wire(ending.reason),
        )
    log.warning("answer failed", extra={"attempt": attempt, "reason": ending.reason, "why": ending.message})
    return pb.Last(attempt=attempt, failure=failure_to_wire(ending))
