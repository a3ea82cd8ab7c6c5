"""`hubspoke completion`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import get_completion_class

if TYPE_CHECKING:
    from click.shell_completion import ShellComplete

PROGRAMS: Final = ("hubspoke", "hub-server", "spoke-agent")


_ADVICE: Final = """\b
bash, in ~/.bashrc:   source <(hubspoke completion bash)
zsh, in ~/.zshrc:     source <(hubspoke completion zsh)
fish, once:           hubspoke completion fish > ~/.config/fish/conf.d/hubspoke.fish
"""
_COLONS: Final = """# Names of models have colons, as llama3.2:1b does: they are no ends of words.
COMP_WORDBREAKS=${COMP_WORDBREAKS//:}"""


@click.command("completion", epilog=_ADVICE)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def command(*, shell: str) -> None:
    """Print what makes SHELL complete our commands when you press TAB.

    Also the names of models and spokes: the hub is asked for them, at most once a minute.
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101  # the choice is click's own
    click.echo("\n".join(_script(kind, program) for program in PROGRAMS))
    if shell == "bash":
        click.echo(_COLONS)


def _script(kind: type[ShellComplete], program: str) -> str:
    # The variable is the one that click itself looks for when the program starts.
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    return kind(click.Group(program), {}, program, variable).source()
