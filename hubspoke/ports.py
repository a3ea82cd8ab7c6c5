"""Where hubs listen, unless they are told otherwise."""

from __future__ import annotations

from typing import Final

MESH_PORT: Final = 7443
ENROL_PORT: Final = 7444
GATEWAY_PORT: Final = 7445
