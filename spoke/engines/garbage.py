"""What may become of text from an engine, or from a model, that has to be JSON."""

from __future__ import annotations

from typing import Final

import msgspec

NOT_JSON: Final = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What reading it raises when it is none, has other fields than it should, or is nested too deep."""
