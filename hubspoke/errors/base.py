"""What all errors of the mesh share, and the groups that they fall into."""

from __future__ import annotations

from typing import ClassVar


class MeshError(Exception):
    """A failure with a stable *reason*, a sentence for people, and figures for programs.

    The message says what happened and what to do; it never holds paths, prompts or secrets.
    """

    reason: ClassVar[str] = "internal"

    def __init__(self, message: str, **figures: str | float) -> None:
        super().__init__(message)
        self.message = message
        self.figures = figures


class RequestError(MeshError):
    """The request cannot succeed as it is."""


class CapacityError(MeshError):
    """The mesh cannot take the request now."""


class SpokeError(MeshError):
    """The spoke or its engine failed."""


class SessionError(MeshError):
    """The spoke and the hub disagree."""


class AccessError(MeshError):
    """Who asks may not."""
