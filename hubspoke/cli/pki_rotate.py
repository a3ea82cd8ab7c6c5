"""`hubspoke pki rotate`."""

from __future__ import annotations

from enum import StrEnum, unique
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from hubspoke import loop
from hubspoke.cli import options
from hubspoke.cli.failures import for_admins
from hubspoke.cli.output import write_json
from hubspoke.cli.pki_status import facts, rotation_lines
from hubspoke.cli.prompts import read_passphrase
from hubspoke.clock import SystemClock
from hubspoke.errors import RotationRefused
from hubspoke.paths import locate
from pki.errors import NotInitialised, WrongPassphrase
from pki.files import HubFiles
from pki.rotation import Kind, Phase
from pki.succession import RootKey, prepare

if TYPE_CHECKING:
    from hubspoke.admin import AdminClient
    from hubspoke.types import AuthoritiesInfo, RotationInfo
    from pki.address import Address


@unique
class Step(StrEnum):
    """What may be done with an exchange."""

    STATUS = "status"
    BEGIN = "begin"
    ADVANCE = "advance"
    FINISH = "finish"
    ROLLBACK = "rollback"


NEW_ROOT: Final = "Passphrase for the new root key"
OLD_ROOT: Final = "Passphrase of the root key"


@click.command("rotate")
@click.argument("kind", type=click.Choice([kind.value for kind in Kind]))
@click.argument("step", type=click.Choice([step.value for step in Step]), default=Step.STATUS.value)
@click.option("--force", is_flag=True, help="Go on although nodes are not ready; they will need a new token.")
@click.option(
    "--root-key",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the root's key is, to begin with an issuer. Default: where `pki init` left it.",
)
@click.option(
    "--passphrase-file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="Read the root key's passphrase, a new root's its new one, from the first line of this file; - is standard input.",
)
@click.option("--no-passphrase", is_flag=True, help="Leave a new root key open; for demos and tests only.")
@options.of_a_client
def command(  # each is an option of the command
    *,
    kind: str,
    step: str,
    force: bool,
    root_key: Path | None,
    passphrase_file: Path | None,
    no_passphrase: bool,
    hubs: tuple[Address, ...],
    state_dir: Path | None,
    as_json: bool,
) -> None:
    """Exchange what signs certificates, while everybody goes on working.

    KIND is `node-issuing`, `hub-issuing` or `root`, which brings new issuers too. STEP is `begin`, on the hub's machine, then
    `advance` from phase to phase, and `finish`; `rollback` leads back from each phase; `status`, the default, tells how far it
    is. A step is refused while nodes are not ready for it. The root's key is read here and goes nowhere.

    JSON: generation, authorities, certificates, nodes and rotation as of `hubspoke pki status`, and left_behind.
    """
    wanted, todo = Kind(kind), Step(step)
    if no_passphrase and (passphrase_file is not None or wanted is not Kind.ROOT):
        raise click.UsageError("--no-passphrase is for a new root, and without --passphrase-file")
    places = locate(state_dir)

    async def act() -> tuple[AuthoritiesInfo, tuple[str, ...]]:
        from hubspoke.admin import AdminClient  # noqa: PLC0415  # heavy, and `pki init` needs none of it

        async with AdminClient(places.client, hubs) as mesh:
            match todo:
                case Step.STATUS:
                    return await mesh.authorities(), ()
                case Step.BEGIN:
                    return await mesh.begin_rotation(wanted, fingerprint), ()
                case Step.ADVANCE | Step.FINISH:
                    return await _go_on(mesh, wanted, todo, force=force)
                case Step.ROLLBACK:
                    under_way = _under_way(await mesh.authorities(), wanted)
                    return await mesh.roll_back_rotation(wanted, under_way.phase), ()

    fingerprint = ""
    if todo is Step.BEGIN:
        fingerprint = _prepared(
            HubFiles(places.hub), wanted, root_key, passphrase_file, no_passphrase=no_passphrase
        )
    with for_admins():
        info, left_behind = loop.run(act)
    if as_json:
        write_json({**facts(info), "left_behind": left_behind})
    else:
        _tell(info, left_behind, todo)


def _prepared(
    hub: HubFiles, kind: Kind, root_key: Path | None, passphrase_file: Path | None, *, no_passphrase: bool
) -> str:
    """Make what is to come into use, and return its fingerprint."""
    if not hub.authorities.directory.is_dir():
        raise NotInitialised(
            f"there are no authorities in {hub.authorities.directory}; begin on the machine of the hub, as the user that runs it, "
            "or name its directory with --state-dir"
        )
    now = SystemClock().now()
    if kind is Kind.ROOT:
        if root_key is not None:
            raise click.UsageError("--root-key is for issuers: a new root needs no old key")
        new = None if no_passphrase else read_passphrase(passphrase_file, NEW_ROOT)
        return prepare(hub.authorities, kind, RootKey(new), now=now)
    if passphrase_file is None:
        try:
            return prepare(hub.authorities, kind, RootKey(None, root_key), now=now)
        except WrongPassphrase:
            pass  # it has one, which is as it should be
    passphrase = read_passphrase(passphrase_file, OLD_ROOT, is_new=False)
    return prepare(hub.authorities, kind, RootKey(passphrase, root_key), now=now)


async def _go_on(
    mesh: AdminClient, kind: Kind, step: Step, *, force: bool
) -> tuple[AuthoritiesInfo, tuple[str, ...]]:
    under_way = _under_way(await mesh.authorities(), kind)
    is_last = under_way.next is Phase.STEADY
    if is_last is not (step is Step.FINISH):
        right = Step.FINISH if is_last else Step.ADVANCE
        raise RotationRefused(
            f"{kind} is in phase {under_way.phase}, after which comes {under_way.next}: `hubspoke pki rotate {kind} {right}`"
        )
    return await mesh.advance_rotation(kind, under_way.phase, force=force)


def _under_way(info: AuthoritiesInfo, kind: Kind) -> RotationInfo:
    if info.rotation is None or info.rotation.kind is not kind:
        other = f"{info.rotation.kind} is" if info.rotation else "nothing is"
        raise RotationRefused(f"{kind} is not being exchanged, {other}; `hubspoke pki status` tells more")
    return info.rotation


def _tell(info: AuthoritiesInfo, left_behind: tuple[str, ...], step: Step) -> None:
    for line in rotation_lines(info):
        click.echo(line)
    if left_behind:
        click.echo(f"Left behind, to join again with a new token: {', '.join(left_behind)}.")
    phase = None if info.rotation is None else info.rotation.phase
    if step is Step.BEGIN and phase is Phase.INIT:
        click.echo(
            "The new root's key lies beside the old one, in the hub's `pki`: move it to a stick in a drawer."
        )
    if step is Step.ADVANCE and phase is Phase.UPDATE_HUB:
        click.echo(
            "Join tokens that were made before this do not work any more: make new ones. Programs that ask over HTTPS need the "
            "hub's `anchors.pem` of now."
        )
