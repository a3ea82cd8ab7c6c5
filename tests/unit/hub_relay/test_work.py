"""A slot on the hub's side, without a network: what a stalled client and a stuck spoke come to."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from hub.core.types import Target
from hub.relay.work import DRAIN_S, PROGRESS_S_MAX, SINK_STALL_S, Assignment, Cancel, Ended, Job, WorkStream
from hubspoke.errors import ClientStalled, EngineTimeout, ProtocolViolation, SpokeLost
from hubspoke.types import CallKind, FinishReason, ModelKey, Place, SpokeId, Usage

DEN = SpokeId("den")
TARGET = Target(DEN, Place("fake", "tiny"), ModelKey("key"), "", 2048)
ENDED = Ended(FinishReason.STOP, Usage(1, 1))


class Sink:
    """A client's stream: keeps what it gets, fails, or never takes it."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.is_gone = False
        self.is_stalled = False
        self.stalled = asyncio.Event()

    async def write(self, body: bytes) -> None:
        if self.is_gone:
            raise grpc.aio.UsageError("the call has ended")
        if self.is_stalled:
            self.stalled.set()
            await asyncio.Event().wait()
        self.got.append(body)


def an_idle_stream() -> WorkStream:
    stream = WorkStream(DEN, 1, 0, lambda _: None)
    stream.offer()
    return stream


def a_job(sink: Sink, attempt: int = 1) -> Job:
    job = Job(
        Assignment(attempt, TARGET, CallKind.INFER, None, b"?"),
        sink.write,
        asyncio.get_running_loop().create_future(),
    )
    job.announced.set()
    return job


async def test_chunks_go_to_the_client_and_the_last_one_frees_the_slot() -> None:
    stream, sink = an_idle_stream(), Sink()
    job = a_job(sink)
    stream.assign(job, 0.0)
    assert not stream.is_idle
    await stream.chunk(1, b"a", 1, 0.0)
    await stream.last(1, b"z", ENDED, 0.0)
    assert sink.got == [b"a", b"z"]
    assert stream.is_idle
    assert job.done.result() is ENDED


def test_an_idle_slot_gets_no_work_from_its_withdrawal_to_the_next_offer() -> None:
    was_idle: list[bool] = []
    stream = WorkStream(DEN, 1, 0, lambda changed: was_idle.append(changed.is_idle))
    stream.offer()
    stream.withdraw()
    stream.offer()
    assert was_idle == [True, False, True]


async def test_a_spoke_is_silent_until_it_says_something_and_not_while_that_is_passed_on() -> None:
    stream, sink = an_idle_stream(), Sink()
    job = a_job(sink)
    stream.assign(job, 1.0)
    assert stream.silent_s(job, 12.5) == 11.5
    job.announced.clear()
    passing = asyncio.create_task(stream.chunk(1, b"a", 0, 13.0))
    await asyncio.wait([passing], timeout=0.01)
    assert stream.silent_s(job, 30.0) == 0
    job.announced.set()
    await passing
    assert stream.silent_s(job, 30.0) == 17  # that was no text
    await stream.chunk(1, b"a", 1, 30.0)
    assert stream.silent_s(job, 99.0) == 0
    await stream.last(1, b"z", ENDED, 99.0)
    assert stream.silent_s(job, 200.0) == 0


async def test_nothing_of_an_answer_goes_out_before_the_client_knows_where_it_is_made() -> None:
    stream, sink = an_idle_stream(), Sink()
    job = a_job(sink)
    job.announced.clear()
    stream.assign(job, 0.0)
    passing = asyncio.create_task(stream.chunk(1, b"a", 1, 0.0))
    await asyncio.wait([passing], timeout=0.01)
    assert sink.got == []
    job.announced.set()
    await passing
    assert sink.got == [b"a"]


async def test_a_client_that_is_gone_costs_the_spoke_nothing() -> None:
    stream, sink = an_idle_stream(), Sink()
    stream.assign(a_job(sink), 0.0)
    sink.is_gone = True
    await stream.chunk(1, b"a", 1, 0.0)
    await stream.last(1, b"z", ENDED, 0.0)
    assert stream.is_idle


async def test_a_client_that_stops_reading_loses_its_call_and_not_the_slot() -> None:
    stream, sink = an_idle_stream(), Sink()
    job = a_job(sink)
    stream.assign(job, 0.0)
    sink.is_stalled = True

    async def read() -> None:
        await stream.chunk(1, b"a", 1, 100.0)
        await stream.chunk(1, b"b", 1, 200.0)
        await stream.last(1, b"z", ENDED, 200.0)

    reader = asyncio.create_task(read())
    stream.read_by(reader)
    await sink.stalled.wait()
    stream.sweep(100.0 + SINK_STALL_S)
    assert not job.done.done()
    stream.sweep(100.1 + SINK_STALL_S)
    with pytest.raises(ClientStalled):
        await job.done
    await reader  # it was woken, and read on to the end
    assert stream.is_idle


async def test_a_client_that_others_watch_may_take_long_for_a_message() -> None:
    stream, sink = an_idle_stream(), Sink()
    job = a_job(sink)
    job.is_watched = True
    stream.assign(job, 0.0)
    sink.is_stalled = True
    reader = asyncio.create_task(stream.chunk(1, b"a", 1, 0.0))
    stream.read_by(reader)
    await sink.stalled.wait()
    stream.sweep(10 * SINK_STALL_S)
    assert not job.done.done()
    stream.cancel(job, 10 * SINK_STALL_S)  # as they do when it reads nothing
    await reader


async def test_cancelling_the_reader_itself_is_not_taken_for_a_stall() -> None:
    stream, sink = an_idle_stream(), Sink()
    stream.assign(a_job(sink), 0.0)
    sink.is_stalled = True
    reader = asyncio.create_task(stream.chunk(1, b"a", 1, 0.0))
    stream.read_by(reader)
    await sink.stalled.wait()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader


async def test_a_cancelled_job_is_idle_only_after_its_last() -> None:
    stream, sink = an_idle_stream(), Sink()
    job = a_job(sink)
    stream.assign(job, 0.0)
    stream.cancel(job, 0.0)
    stream.cancel(job, 0.0)  # once is enough
    await stream.chunk(1, b"late", 1, 0.1)
    assert not stream.is_idle
    await stream.last(1, b"z", ENDED, 0.2)
    assert stream.is_idle
    assert sink.got == []
    stream.outbox.close()
    sent = [item async for item in stream.outbox]
    assert [type(item) for item in sent] == [Assignment, Cancel]


async def test_a_spoke_that_never_ends_what_was_cancelled_loses_the_stream() -> None:
    stream = an_idle_stream()
    job = a_job(Sink())
    stream.assign(job, 0.0)
    stream.cancel(job, 50.0)
    stream.sweep(50.0 + DRAIN_S)
    assert not stream.outbox.is_closed
    stream.sweep(50.1 + DRAIN_S)
    assert isinstance(stream.outbox.error, ProtocolViolation)
    assert not stream.is_idle


async def test_what_runs_on_a_stream_that_ends_is_lost_with_a_sentence() -> None:
    stream = an_idle_stream()
    job = a_job(Sink())
    stream.assign(job, 0.0)
    stream.close()
    with pytest.raises(SpokeLost, match="den went away"):
        await job.done


async def test_a_spoke_that_reads_nothing_is_closed_rather_than_queued_for() -> None:
    stream = an_idle_stream()
    for attempt in range(1, 10):
        job = a_job(Sink(), attempt)
        if not stream.is_idle:
            break
        stream.assign(job, 0.0)
        stream.declined(attempt, ProtocolViolation("test"))
        assert job.done.exception() is not None
    assert isinstance(stream.outbox.error, ProtocolViolation)


async def test_a_job_that_is_cancelled_while_its_client_is_stalled_does_not_cost_the_stream() -> None:
    stream, sink = an_idle_stream(), Sink()
    job = a_job(sink)
    stream.assign(job, 0.0)
    sink.is_stalled = True

    async def read() -> None:
        await stream.chunk(1, b"a", 1, 0.0)
        await stream.last(1, b"z", ENDED, 1.0)

    reader = asyncio.create_task(read())
    stream.read_by(reader)
    await sink.stalled.wait()
    stream.cancel(job, 0.5)
    await reader  # woken at once: the Last was there to be read
    stream.sweep(0.6 + DRAIN_S)
    assert stream.is_idle


async def test_a_spoke_that_says_nothing_about_a_job_loses_it() -> None:
    stream = an_idle_stream()
    job = a_job(Sink())
    stream.assign(job, 100.0)
    stream.sweep(100.0 + PROGRESS_S_MAX)
    assert not job.done.done()
    stream.sweep(100.1 + PROGRESS_S_MAX)
    with pytest.raises(EngineTimeout, match="den has said nothing"):
        await job.done
