"""A batch as delegations of at most 256 lines each, which its label holds together, on whatever machine they are looked at."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NewType

from hubspoke.errors import RequestIdTaken, UnknownDelegation
from hubspoke.types import ENDED, Limits, Merge, Plan, Subtask, SubtaskId, Work
from hubspoke.wire.delegations import LABEL_VALUE_BYTES_MAX, SUBTASKS_MAX
from hubspoke.wire.requests import request_to_wire

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from hubspoke.batch.lines import Line
    from hubspoke.delegate import Delegations
    from hubspoke.types import DelegationInfo, Request

JobId = NewType("JobId", str)

CHUNK_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of the requests in one delegation; one message has room for four times as much."""

CHUNK_OUTPUT_BYTES_MAX: Final = 6 * 1024 * 1024
"""Of the outputs that a hub tells of one delegation at once."""

OUTPUT_BYTES: Final = 24 * 1024
"""What is reckoned for an answer that has no limit."""

OUTPUT_BYTES_PER_TOKEN: Final = 8
JOB: Final = "batch"
_CHUNK: Final = "batch.chunk"
_CHUNKS: Final = "batch.chunks"
_LINES: Final = "batch.lines"
_FILE: Final = "batch.file"
_ID_CHARS: Final = 16


@dataclass(frozen=True, slots=True)
class Job:
    """A batch as the hub knows it: its delegations by their place, some of which may not be handed over yet."""

    id: JobId
    file: str
    lines: int
    chunks: int
    delegations: Mapping[int, DelegationInfo]

    @property
    def is_whole(self) -> bool:
        """Whether all of it is handed over."""
        return len(self.delegations) == self.chunks

    @property
    def state(self) -> str:
        """Say how it stands: incomplete, running or ended."""
        if not self.is_whole:
            return "incomplete"
        return "ended" if all(info.state in ENDED for info in self.delegations.values()) else "running"


@dataclass(frozen=True, slots=True)
class Terms:
    """How a batch is done: what its file is called, when it is of no use any more, and how many lines at a time."""

    file: str
    deadline: datetime
    parallel: int


def job_of(lines: Iterable[Line]) -> JobId:
    """Give the id of what *lines* ask: the same for the same, whoever asks it and wherever."""
    digest = hashlib.sha256()
    for line in lines:
        body = _encoded(line.request)
        digest.update(f"{line.number} {len(line.id.encode())} {len(body)} {line.id}".encode() + body)
    return JobId("b-" + base64.b32encode(digest.digest()).decode().lower()[:_ID_CHARS])


def chunked(lines: Iterable[Line]) -> Iterator[tuple[Line, ...]]:
    """Cut a batch into pieces for one delegation each, equal batches equally."""
    chunk: list[Line] = []
    asked = told = 0
    for line in lines:
        body_bytes = len(_encoded(line.request))
        output_bytes = line.request.max_output_tokens * OUTPUT_BYTES_PER_TOKEN or OUTPUT_BYTES
        is_full = len(chunk) == SUBTASKS_MAX or asked + body_bytes > CHUNK_BYTES_MAX
        if chunk and (is_full or told + output_bytes > CHUNK_OUTPUT_BYTES_MAX):
            yield tuple(chunk)
            chunk, asked, told = [], 0, 0
        chunk.append(line)
        asked, told = asked + body_bytes, told + output_bytes
    if chunk:
        yield tuple(chunk)


def subtask_of(line: Line) -> SubtaskId:
    """Give what a line is called in its delegation."""
    return SubtaskId(f"line-{line.number}")


async def hand_over(
    delegations: Delegations, job: JobId, chunks: Sequence[Sequence[Line]], terms: Terms
) -> Job:
    """Hand over what the hub does not have of the *chunks* of *job* yet, and give all of it. Once this returns it will be done.

    Raise what `Delegations.hand_over` raises; what was handed over before is kept, and the rest can be handed over again.
    """
    lines = sum(map(len, chunks))
    known = {number: info async for number, info in _chunks(delegations, job)}
    if known:
        before = min(info.deadline for info in known.values())
        terms = replace(terms, deadline=max(before, terms.deadline) if _all_ended(known) else before)
    for number, chunk in enumerate(chunks, start=1):
        if number not in known:
            work = _work(job, (number, len(chunks), lines), chunk, terms)
            known[number] = await _kept(delegations, job, number, work)
    return Job(job, terms.file, lines, len(chunks), MappingProxyType(known))


async def job_by(delegations: Delegations, job: JobId) -> Job:
    """Give a batch that somebody handed over; raise UnknownDelegation."""
    async for found in jobs(delegations, {JOB: job}):
        return found
    raise UnknownDelegation(
        f"there is no batch {job[:64]}; `hubspoke batch status` lists those that are there"
    )


async def jobs(
    delegations: Delegations, labels: Mapping[str, str] | None = None
) -> AsyncGenerator[Job, None]:
    """Give the batches with *labels*, the newest first."""
    found: dict[JobId, dict[int, DelegationInfo]] = {}
    async for info in delegations.list(labels=labels):
        if JOB in info.labels and info.labels.get(_CHUNK, "").isdecimal():
            found.setdefault(JobId(info.labels[JOB]), {}).setdefault(int(info.labels[_CHUNK]), info)
    for job, chunks in found.items():
        told = next(iter(chunks.values())).labels
        yield Job(
            job,
            told.get(_FILE, ""),
            _number(told.get(_LINES, "")),
            _number(told.get(_CHUNKS, "")),
            MappingProxyType(dict(sorted(chunks.items()))),
        )


async def _chunks(delegations: Delegations, job: JobId) -> AsyncGenerator[tuple[int, DelegationInfo], None]:
    async for found in jobs(delegations, {JOB: job}):
        for number, info in found.delegations.items():
            yield number, info


async def _kept(delegations: Delegations, job: JobId, number: int, work: Work) -> DelegationInfo:
    try:
        return await delegations.hand_over(work)
    except RequestIdTaken:
        # Somebody else hands the same batch over just now, with another deadline.
        async for other, info in _chunks(delegations, job):
            if other == number:
                return info
        raise


def _work(job: JobId, place: tuple[int, int, int], chunk: Sequence[Line], terms: Terms) -> Work:
    number, chunks, lines = place
    labels = {
        JOB: job,
        _CHUNK: str(number),
        _CHUNKS: str(chunks),
        _LINES: str(lines),
        _FILE: terms.file.encode()[:LABEL_VALUE_BYTES_MAX].decode(errors="ignore"),
    }
    return Work(
        request_id=f"{job}/{number}",
        task=Plan(tuple(map(_subtask, chunk)), Merge.EACH),
        limits=Limits(deadline=terms.deadline, parallel_max=terms.parallel, lane=job),
        partial=True,
        labels=MappingProxyType(labels),
    )


def _subtask(line: Line) -> Subtask:
    return Subtask(subtask_of(line), line.id, model=line.request.model, request=line.request)


def _encoded(request: Request) -> bytes:
    return request_to_wire(request).SerializeToString(deterministic=True)


def _all_ended(known: Mapping[int, DelegationInfo]) -> bool:
    return all(info.state in ENDED for info in known.values())


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
