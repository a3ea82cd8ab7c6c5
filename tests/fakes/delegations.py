"""A hub's delegations, as the test has them happen."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import grpc

from hubspoke.api.delegation.v1 import delegation_pb2 as pb
from hubspoke.api.delegation.v1 import delegation_pb2_grpc as rpc
from hubspoke.errors import MeshError, UnknownDelegation
from hubspoke.types import (
    DelegationEvent,
    DelegationId,
    DelegationInfo,
    DelegationState,
    Happening,
    Mode,
    Planned,
    Spent,
    StateChanged,
    SubtaskId,
    SubtaskState,
    SubtaskStatus,
)
from hubspoke.wire import delegated, delegations, status

WAIT_S = 10.0
"""Longest wait for a test that holds a watching up."""

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
ID = DelegationId("d-1")
FIRST = SubtaskStatus(SubtaskId("one"), SubtaskState.WAITING, "Read the first half")
STORY: tuple[Happening, ...] = (
    StateChanged(DelegationState.PLANNING),
    Planned(Mode.DAG, (FIRST,), "two parts, three spokes"),
    StateChanged(DelegationState.RUNNING),
    SubtaskStatus(FIRST.id, SubtaskState.RUNNING, FIRST.title, spoke="den", model="tiny", attempt=1),
    SubtaskStatus(
        FIRST.id, SubtaskState.DONE, FIRST.title, spoke="den", model="tiny", attempt=1, output="half",
        spent=Spent(0, 12),
    ),
    StateChanged(DelegationState.SUCCEEDED, "all of it", spent=Spent(30, 12)),
)  # fmt: skip
"""A delegation with one subtask, from its beginning to its end."""


def info(state: DelegationState = DelegationState.ACCEPTED, **more: object) -> DelegationInfo:
    """A delegation."""
    fields = {"owner": "spiffe://hubspoke.internal/app/laptop", "request_id": "r-1", "title": "Read it"}
    return DelegationInfo(
        id=ID,
        state=state,
        accepted_at=NOW,
        deadline=NOW,
        **{**fields, **more},  # type: ignore[arg-type]
    )


class FakeDelegations(rpc.DelegationServiceServicer):
    """Keeps what it is asked, and tells *story*; `breaks` names the events after which a watching breaks off.

    After the event number *stays_after* nothing more comes until `may_go`.
    """

    def __init__(
        self, story: tuple[Happening, ...] = STORY, breaks: tuple[int, ...] = (), stays_after: int = 0
    ) -> None:
        self.story = story
        self.stays_after = stays_after
        self.broke, self.stays, self.may_go = threading.Event(), threading.Event(), threading.Event()
        self.breaks = list(breaks)
        self.asked: list[object] = []
        self.kept = [info(DelegationState.SUCCEEDED, result="all of it")]
        self.refuses: MeshError | None = None

    def add_to(self, server: grpc.Server) -> None:
        """Have *server* serve this."""
        rpc.add_DelegationServiceServicer_to_server(self, server)

    def Delegate(self, request, context):  # noqa: N802  # the proto names it
        self._hear(request, context)
        title = delegations.work_from_wire(request).request_id
        return pb.DelegateResponse(delegation=delegated.info_to_wire(info(title=title)))

    def WatchDelegation(self, request, context):  # noqa: N802  # the proto names it
        self._hear(request, context)
        for seq, happening in enumerate(self.story, start=1):
            if seq >= max(request.from_seq, 1):
                event = DelegationEvent(seq, NOW, happening)
                yield pb.WatchDelegationResponse(event=delegated.event_to_wire(event))
                if seq in self.breaks:
                    self.breaks.remove(seq)
                    self.broke.set()
                    context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
                if seq == self.stays_after:
                    self.stays.set()
                    self.may_go.wait(WAIT_S)

    def GetDelegation(self, request, context):  # noqa: N802  # the proto names it
        return pb.GetDelegationResponse(delegation=self._kept(request, context))

    def CancelDelegation(self, request, context):  # noqa: N802  # the proto names it
        return pb.CancelDelegationResponse(delegation=self._kept(request, context))

    def ResolveParked(self, request, context):  # noqa: N802  # the proto names it
        return pb.ResolveParkedResponse(delegation=self._kept(request, context))

    def DeleteDelegation(self, request, context):  # noqa: N802  # the proto names it
        self._kept(request, context)
        return pb.DeleteDelegationResponse()

    def ListDelegations(self, request, context):  # noqa: N802  # the proto names it
        """Give one on each page."""
        self._hear(request, context)
        number = int(request.page_token or 0)
        page = [delegated.info_to_wire(one) for one in self.kept[number : number + 1]]
        more = str(number + 1) if number + 1 < len(self.kept) else ""
        return pb.ListDelegationsResponse(delegations=page, next_page_token=more)

    def _kept(self, request, context) -> pb.Delegation:
        self._hear(request, context)
        if request.id != ID:
            self._refuse(context, UnknownDelegation("no delegation of that id is there for you"))
        return delegated.info_to_wire(self.kept[0])

    def _hear(self, request, context) -> None:
        self.asked.append(request)
        if self.refuses is not None:
            self._refuse(context, self.refuses)

    def _refuse(self, context, error: MeshError) -> None:
        context.set_trailing_metadata(status.trailers_of(error))
        context.abort(status.code_of(error), error.message)
