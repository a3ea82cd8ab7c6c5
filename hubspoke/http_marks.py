"""HTTP headers by which meshes know each other, so that none takes itself, or another one, for an engine."""

from __future__ import annotations

from typing import Final

MESH_HEADER: Final = "x-hubspoke-mesh"
"""Every answer of a gateway carries it; its value is the trust domain. A spoke takes no such server for an engine."""
HOP_HEADER: Final = "x-hubspoke-hop"
"""Every request of a spoke to an engine carries it. A gateway refuses one: it would go round for ever."""
