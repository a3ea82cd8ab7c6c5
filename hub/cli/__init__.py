"""The command `hub-server`. Nothing heavy is imported before a command runs: `--help` has to be instant."""

from __future__ import annotations

import os

from hubspoke import grpc_settings
from hubspoke.cli.lazy import DefaultGroup, Row

grpc_settings.prepare(os.environ)

COMMANDS = {
    "run": Row("hub.cli.run", "Be the hub until stopped; what happens without a command."),
    "admin": Row("hub.cli.admin", "Give the admin on this machine a new identity."),
}

main = DefaultGroup(
    name="hub-server",
    default="run",
    rows=COMMANDS,
    help="Let spokes, apps and people meet: the centre of the mesh.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 4 identity or certificate, 130 interrupted.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
