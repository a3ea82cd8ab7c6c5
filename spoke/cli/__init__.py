"""The command `spoke-agent`. Nothing heavy is imported before a command runs: `--help` has to be instant."""

from __future__ import annotations

import os

from hubspoke import grpc_settings
from hubspoke.cli.lazy import DefaultGroup, Row

grpc_settings.prepare(os.environ)

COMMANDS = {
    "run": Row("spoke.cli.run", "Be a spoke until stopped; what happens without a command."),
    "join": Row("spoke.cli.join", "Get this machine's identity with a join token."),
}

main = DefaultGroup(
    name="spoke-agent",
    default="run",
    rows=COMMANDS,
    help="Let this machine's models and GPUs serve the mesh.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no hub reachable, 4 identity or certificate, "
    "130 interrupted.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
