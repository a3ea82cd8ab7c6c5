"""The command `spoke-agent`. Nothing heavy is imported before a command runs: `--help` has to be instant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hubspoke.cli.lazy import LazyGroup, Row

if TYPE_CHECKING:
    import click

COMMANDS = {
    "run": Row("spoke.cli.run", "Be a spoke until stopped; what happens without a command."),
    "join": Row("spoke.cli.join", "Get this machine's identity with a join token."),
}
HELP_OPTIONS = ("-h", "--help")


class AgentGroup(LazyGroup):
    """Without a command, `run` is meant."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `run` in front of its options."""
        is_bare = not args or (args[0].startswith("-") and args[0] not in HELP_OPTIONS)
        return super().parse_args(ctx, ["run", *args] if is_bare else args)


main = AgentGroup(
    name="spoke-agent",
    rows=COMMANDS,
    help="Let this machine's models and GPUs serve the mesh.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no hub reachable, 4 identity or certificate, "
    "130 interrupted.",
    context_settings={"help_option_names": list(HELP_OPTIONS)},
)
