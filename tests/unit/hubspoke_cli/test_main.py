import subprocess
import sys

import click
import pytest

from hubspoke.cli import COMMANDS, main
from hubspoke.cli.failures import Exit, exit_code, reported
from hubspoke.errors import (
    STATUS,
    DoesNotFit,
    MeshError,
    PermissionDenied,
    QueueFull,
    RateLimited,
    Unauthenticated,
    UnknownModel,
    Unreachable,
)
from pki.errors import BadToken, NotEnrolled

HEAVY = ("grpc", "rich", "httpx", "cryptography", "msgspec", "google.protobuf")


def test_help_imports_nothing_heavy():
    program = f"""
import sys
from hubspoke.cli import main
try:
    main(["--help"])
except SystemExit as end:
    assert not end.code, end.code
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert "Commands:" in ran.stdout
    assert ran.stderr.strip() == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_row_of_the_table_is_a_command(name: str):
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.name == name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(run, name: str):
    ran = run(name, "--help")
    assert ran.exit_code == Exit.DONE
    assert f"hubspoke {name}" in ran.output


def test_an_unknown_command_is_wrong_usage(run):
    assert run("bogus").exit_code == Exit.USAGE


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unreachable("x"), Exit.UNREACHABLE),
        (QueueFull("x"), Exit.FULL),
        (DoesNotFit("x"), Exit.FULL),
        (RateLimited("x"), Exit.FULL),
        (Unauthenticated("x"), Exit.IDENTITY),
        (PermissionDenied("x"), Exit.IDENTITY),
        (NotEnrolled("x"), Exit.IDENTITY),
        (BadToken("x"), Exit.IDENTITY),
        (UnknownModel("x"), Exit.FAILED),
    ],
)
def test_exit_codes_tell_what_kind_of_failure_it_was(error, code: Exit):
    assert exit_code(error) is code


@pytest.mark.parametrize("kind", STATUS)
def test_every_error_of_the_mesh_ends_in_a_sentence(kind: type[MeshError], capsys):
    with pytest.raises(click.exceptions.Exit), reported():
        raise kind("the hub said no")
    assert capsys.readouterr().err == "Error: The hub said no.\n"


def test_a_question_needs_no_full_stop(capsys):
    with pytest.raises(click.exceptions.Exit), reported():
        raise UnknownModel("no spoke has 'tini': did you mean 'tiny'?")
    assert capsys.readouterr().err.endswith("did you mean 'tiny'?\n")


def test_a_refusal_inside_groups_of_tasks_is_one_sentence(capsys):
    group = ExceptionGroup("tasks", [ExceptionGroup("more", [NotEnrolled("no identity")])])
    with pytest.raises(click.exceptions.Exit) as caught, reported():
        raise group
    assert caught.value.exit_code == Exit.IDENTITY
    assert capsys.readouterr().err.startswith("Error: No identity")


def test_a_defect_inside_a_group_keeps_its_traceback():
    group = ExceptionGroup("tasks", [NotEnrolled("no identity"), ZeroDivisionError()])
    with pytest.raises(ExceptionGroup), reported():
        raise group


def test_an_interrupt_ends_with_its_own_code():
    with pytest.raises(click.exceptions.Exit) as caught, reported():
        raise KeyboardInterrupt
    assert caught.value.exit_code == Exit.INTERRUPTED


def test_a_file_that_cannot_be_read_is_named(tmp_path, capsys):
    with pytest.raises(click.exceptions.Exit), reported():
        (tmp_path / "absent").read_bytes()
    assert str(tmp_path / "absent") in capsys.readouterr().err


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), reported():
        raise ZeroDivisionError
