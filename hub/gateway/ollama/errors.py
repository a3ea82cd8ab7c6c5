"""Errors in Ollama's shape: a sentence below "error", and what programs may want beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hubspoke.errors import status_of

if TYPE_CHECKING:
    from hubspoke.errors import MeshError


class Ollama:
    """How the dialect says that something went wrong."""

    def error(self, error: MeshError, request_id: str) -> tuple[int, bytes]:
        """Give the status and the body of an error."""
        content = described(error)
        more = {**_more(error), "request_id": request_id}
        return status_of(error).http, msgspec.json.encode({**content, "hubspoke": more})

    def missing(self, status: int, message: str, request_id: str) -> bytes:  # noqa: ARG002  # the dialect has no kinds
        """Give the body for a request that no route takes."""
        return msgspec.json.encode({"error": message, "hubspoke": {"request_id": request_id}})


def described(error: MeshError) -> dict[str, object]:
    """Give an error as the line that ends a stream."""
    return {"error": error.message, "hubspoke": _more(error)}


def _more(error: MeshError) -> dict[str, object]:
    loading = {
        name.removesuffix("_s"): error.figures[name]
        for name in ("elapsed_s", "expected_s")
        if name in error.figures
    }
    return {"reason": error.reason, **({"loading": loading} if loading else {})}
