"""Pictures that people show to a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hubspoke.channel import MESSAGE_BYTES_MAX
from hubspoke.types import Image
from hubspoke.wire.conversation import media_type

if TYPE_CHECKING:
    from pathlib import Path


def read_image(path: Path) -> Image:
    """Read a picture; raise a usage error for what is none, and OSError for what cannot be read."""
    with path.open("rb") as file:
        # One more than a message holds: the hub's own limit then speaks, with its own words.
        data = file.read(MESSAGE_BYTES_MAX + 1)
    if not media_type(data):
        raise click.UsageError(f"{path} is neither PNG, JPEG, WebP nor GIF; convert it")
    return Image(data)
