"""Style as a test: what CONTRIBUTING.md asks of every file."""

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from hub.cli import main as hub_server
from hubspoke.cli import main as hubspoke
from spoke.cli import main as spoke_agent

ROOT = Path(__file__).parent.parent
PACKAGES = ("hub", "hubspoke", "pki", "spoke")
FOLDERS = (*PACKAGES, "bench", "examples", "tests", "tools")
GENERATED = ROOT / "hubspoke" / "api"
COMMANDS = {"hubspoke": hubspoke, "hub-server": hub_server, "spoke-agent": spoke_agent}

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60

ROOT_FILES = {
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Justfile",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "buf.yaml",
    "importlinter.toml",
    "justw",
    "pyproject.toml",
    "uv.lock",
}

# Where anything at all may be caught, and how often. One boundary for each side of the wire is enough,
# and one for functions that are not ours.
BROAD_HANDLERS = {
    "hub/rpc/interceptors.py": 1,  # a defect must not be told to whoever called
    "hubspoke/tools.py": 1,  # a tool of somebody else's program fails, and the model is told
    "spoke/link/boundary.py": 1,  # a defect in one answer must not end the spoke
}

UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")
OUTSIDE = re.compile(r"\.\./shared|(?<![\w.}])/work/")
SECRET = re.compile(r"(?:^|_)(?:token|passphrase|password|secret)(?:_|$)")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def python_files(*folders: str) -> list[Path]:
    files = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(path for path in files if GENERATED not in path.parents)


def text_files() -> Iterator[Path]:
    """Give everything that somebody reads, but this file, which has to name what it forbids."""
    yield from (path for path in python_files(*FOLDERS) if path != Path(__file__))
    yield from (ROOT / name for name in ROOT_FILES - {"uv.lock"})
    for pattern in (
        "deploy/**/*.*",
        "docs/**/*.md",
        "examples/node/*.mjs",
        "docs/**/*.svg",
        "protos/**/*.proto",
        "tools/**/*.md",
    ):
        yield from ROOT.glob(pattern)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def nodes(*folders: str) -> Iterator[tuple[Path, ast.AST]]:
    return ((path, node) for path in python_files(*folders) for node in ast.walk(parsed(path)))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def refuse(offenders: Iterable[str]) -> None:
    """Fail with all of *offenders*, one a line, so that they can be mended in one go."""
    found = sorted(offenders)
    assert not found, "\n" + "\n".join(found)


def matches(pattern: re.Pattern[str]) -> Iterator[str]:
    for path in text_files():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if pattern.search(line):
                yield f"{name_of(path)}:{number}: {line.strip()}"


def test_a_file_has_at_most_400_lines():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in python_files(*FOLDERS)}
    refuse(f"{name_of(path)} has {lines}" for path, lines in lengths.items() if lines > FILE_LINES_MAX)


def test_a_function_has_at_most_60_lines():
    functions = [(path, node) for path, node in nodes(*FOLDERS) if isinstance(node, Function)]
    refuse(
        f"{name_of(path)}:{function.lineno} {function.name} has {lines_of(function)}"
        for path, function in functions
        if lines_of(function) > FUNCTION_LINES_MAX
    )


def lines_of(function: Function) -> int:
    """Count the lines of *function* without its docstring."""
    docstring = function.body[0] if ast.get_docstring(function) is not None else None
    of_docstring = docstring.end_lineno - docstring.lineno + 1 if docstring else 0
    return function.end_lineno - function.lineno + 1 - of_docstring


def test_only_the_boundaries_catch_everything():
    handlers = ((path, node) for path, node in nodes(*FOLDERS) if isinstance(node, ast.ExceptHandler))
    found = Counter(name_of(path) for path, handler in handlers if keeps_everything(handler))
    assert found == BROAD_HANDLERS


def keeps_everything(handler: ast.ExceptHandler) -> bool:
    """Whether *handler* catches whatever comes and does not raise it again."""
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    is_broad = any(kind is None or ast.unparse(kind) in {"Exception", "BaseException"} for kind in kinds)
    return is_broad and not isinstance(handler.body[-1], ast.Raise)


def test_nothing_is_suppressed_without_a_name():
    broad = re.compile(r"suppress\((?:Exception|BaseException)")
    calls = ((path, node) for path, node in nodes(*FOLDERS) if isinstance(node, ast.Call))
    refuse(f"{name_of(path)}:{call.lineno}" for path, call in calls if broad.search(ast.unparse(call)[:60]))


def test_nothing_is_left_for_later():
    refuse(matches(UNFINISHED))


def test_nothing_points_outside_the_repository():
    refuse(matches(OUTSIDE))


def test_no_test_mocks():
    imported = ((path, module) for path in python_files("tests") for module in imports(parsed(path)))
    refuse(f"{name_of(path)} imports {module}" for path, module in imported if "mock" in module)


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_test_sleeps():
    """To give way with `asyncio.sleep(0)` is no sleep: it does not hope that something is true by then."""
    sleeps = {"sleep", "time.sleep", "asyncio.sleep"}
    calls = ((path, node) for path, node in nodes("tests") if isinstance(node, ast.Call))
    refuse(
        f"{name_of(path)}:{call.lineno}: {ast.unparse(call)}"
        for path, call in calls
        if ast.unparse(call.func) in sleeps and ast.unparse(call.args[0]) != "0"
    )


def test_the_root_holds_no_reports():
    visible = {path.name for path in ROOT.iterdir() if path.is_file() and not path.name.startswith(".")}
    assert visible == ROOT_FILES


def test_every_file_says_what_it_is():
    files = python_files(*PACKAGES, "examples", "tools")
    refuse(name_of(path) for path in files if not ast.get_docstring(parsed(path)))


def test_every_folder_with_code_is_a_package():
    folders = {path.parent for path in python_files(*PACKAGES)}
    refuse(name_of(folder) for folder in folders if not (folder / "__init__.py").exists())


@pytest.mark.parametrize("program", COMMANDS)
def test_no_secret_is_taken_from_the_command_line(program: str):
    refuse(
        f"{path}: {parameter.name}"
        for path, command in walk(program, COMMANDS[program])
        for parameter in command.params
        if SECRET.search(parameter.name or "") and not is_harmless(parameter)
    )


def walk(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """Give *command* and all commands below it, each with the words that call it."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from walk(f"{path} {name}", child)


def is_harmless(parameter: click.Parameter) -> bool:
    """Whether a parameter that speaks of a secret takes none: it is a switch, or the name of a file."""
    is_switch = isinstance(parameter, click.Option) and parameter.is_flag
    return is_switch or isinstance(parameter.type, click.Path)
