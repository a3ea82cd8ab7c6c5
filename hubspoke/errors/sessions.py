"""What a spoke and its hub may disagree about."""

from __future__ import annotations

from hubspoke.errors.base import SessionError


class ProtocolViolation(SessionError):
    """A message that the contract does not allow here."""

    reason = "protocol_violation"


class SessionReplaced(SessionError):
    """A newer session of the same spoke took over, or the hub does not know this one."""

    reason = "session_replaced"


class ModelNotLoaded(SessionError):
    """The spoke has unloaded the model meanwhile."""

    reason = "model_not_loaded"


class SlotTaken(SessionError):
    """The slot is busy or was withdrawn."""

    reason = "slot_taken"


class TaskConflict(SessionError):
    """A task has a newer owner, or its key stands for another request."""

    reason = "task_conflict"


class Busy(SessionError):
    """The model runs and cannot be unloaded."""

    reason = "busy"


class Draining(SessionError):
    """The spoke is leaving."""

    reason = "draining"
