"""What goes wrong with work that was handed over."""

from __future__ import annotations

from hubspoke.errors.base import CapacityError, RequestError


class UnknownDelegation(RequestError):
    """No delegation of that id is there for whoever asks."""

    reason = "unknown_delegation"


class RequestIdTaken(RequestError):
    """The same request id came with other content before."""

    reason = "request_id_taken"


class WrongState(RequestError):
    """The delegation does not stand in a way that allows this."""

    reason = "wrong_state"


class BudgetSpent(RequestError):
    """The tokens that the delegation may take are used up."""

    reason = "budget_spent"


class NotAcceptable(RequestError):
    """What a model made was refused as often as it was tried."""

    reason = "not_acceptable"


class Poisonous(RequestError):
    """Whoever did this work has gone down with it, more than once."""

    reason = "poisonous"


class NoOrchestrator(CapacityError):
    """No spoke has a model that may plan and review."""

    reason = "no_orchestrator"
