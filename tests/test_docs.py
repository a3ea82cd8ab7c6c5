"""The documents say what the code does: their links, commands, tables and examples are held to it."""

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import click
import msgspec
import pytest

import hubspoke.api
from hub.cli import main as hub_server
from hub.config import DatabaseConfig, GatewayConfig, HubConfig, RolesConfig
from hub.rpc import access
from hubspoke.cli import main as hubspoke_command
from hubspoke.cli.chat.commands import COMMANDS as CHAT_COMMANDS
from hubspoke.config import ENV_PREFIX, Settings
from hubspoke.errors import RETRYABLE, STATUS, MeshError
from spoke.cli import main as spoke_agent
from spoke.config import SpokeConfig
from tests.security.cases import NUMBERS as ATTACKS

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tools/**/*.md")])
PROTOCOL = ROOT / "docs" / "protocol.md"
SECURITY = ROOT / "docs" / "security.md"
CONFIGURATION = ROOT / "docs" / "configuration.md"
DEPENDENCIES = ROOT / "docs" / "decisions" / "0002-dependencies.md"
COMMANDS = {"hubspoke": hubspoke_command, "hub-server": hub_server, "spoke-agent": spoke_agent}

FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]+)\)|<img[^>]+src=\"([^\"]+)\"")
PATH = re.compile(r"[\w.-]+/[\w./-]*\.(?:md|mjs|plist|proto|py|service|svg|toml)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
RECIPE = re.compile(r"^([a-z][a-z-]*)(?: [^:=\n]*)?:(?!=)", re.MULTILINE)
ALLOWED = re.compile(r"// Allowed: ([a-z, ]+)[.;][^\n]*\n\s+rpc (\w+)\(")
ENDS_A_COMMAND = {"|", "||", "&&", "&", ";", ">", "<", "2>"}

UNITS = {
    "": 1,
    "KiB": 1024,
    "MiB": 1024**2,
    "ms": 0.001,
    "s": 1,
    "min": 60,
    "h": 3600,
    "%": 1,
}


def documents() -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def rows(path: Path, heading: str) -> list[list[str]]:
    """Give the cells of the first table below *heading*, without its header."""
    _, _, section = path.read_text(encoding="utf-8").partition(f"# {heading}\n")
    lines = section.partition("\n#")[0].splitlines()
    table = [line.strip().strip("|").split(" | ") for line in lines if line.startswith("|")]
    assert len(table) > 2, f"{path.name} has no table below {heading!r}"
    return [[cell.strip() for cell in row] for row in table[2:]]


@pytest.mark.parametrize("name", documents())
def test_every_link_leads_somewhere(name: str):
    path = ROOT / name
    for match in LINK.finditer(FENCE.sub("", read(name))):
        target, _, anchor = (match[1] or match[2]).partition("#")
        other = (path.parent / target).resolve() if target else path
        assert other.exists(), f"{name} links to {target}, which is not there"
        assert not anchor or anchor in anchors(other), (
            f"{name} links to {target}#{anchor}, which is not there"
        )


def anchors(path: Path) -> set[str]:
    """Give the anchors of the headings of *path*, made as GitHub makes them."""
    headings = HEADING.findall(FENCE.sub("", path.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", documents())
def test_every_command_exists(name: str):
    for line in shell_lines(name):
        for words in commands_in(line):
            parse(words)


def shell_lines(name: str) -> Iterator[str]:
    text = read(name)
    for language, block in FENCE.findall(text):
        if language in {"sh", "console"}:
            yield from block.replace("\\\n", " ").splitlines()
    yield from SPAN.findall(FENCE.sub("", text))


def commands_in(line: str) -> Iterator[list[str]]:
    """Give the commands of ours that *line* runs, each as a list of words."""
    words: list[str] = []
    with suppress(ValueError):  # a quotation mark without its other half is no command
        words = shlex.split(line.removeprefix("$ "), comments=True)
    current: list[str] | None = None
    starts = True
    for word in [*words, ";"]:
        if word in ENDS_A_COMMAND:
            if current:
                yield current
            current, starts = None, word not in {">", "<", "2>"}
        elif current is not None:
            current.append(word)
        elif starts:
            current = [word] if word in COMMANDS else None
            starts = False


def parse(words: list[str]) -> None:
    """Parse *words* as the program would; what a sentence leaves out and files that are not here are no mistake."""
    command: click.Command | None = COMMANDS[words[0]]
    rest, parent = words[1:], None
    while isinstance(command, click.Group):
        context = click.Context(command, parent=parent, info_name=words[0])
        try:
            command.parse_args(context, rest)
        except (click.exceptions.Exit, click.exceptions.NoArgsIsHelpError):
            return  # --help, or the name of a group alone
        _, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        parent = context
    assert command is not None
    try:
        command.make_context(words[0], rest, parent=parent).close()
    except (click.exceptions.Exit, click.MissingParameter):
        return
    except click.BadParameter as error:
        if error.param is None or not isinstance(error.param.type, click.Path):
            raise


def test_every_command_is_described():
    headings = " ".join(HEADING.findall(read("docs/cli.md")))
    described = set(re.findall(r"`hubspoke ([a-z]+)", headings))
    assert described == set(hubspoke_command.rows)


def test_everything_that_can_be_typed_into_a_chat_is_described():
    typed = {word for row in rows(ROOT / "docs" / "cli.md", "`hubspoke chat`") for word in row[0].split()}
    assert {word.strip("`,") for word in typed if "/" in word} == set(CHAT_COMMANDS)


@pytest.mark.parametrize("name", documents())
def test_every_recipe_exists(name: str):
    recipes = set(RECIPE.findall(read("Justfile")))
    called = {
        match[1]
        for line in shell_lines(name)
        if (match := re.match(r"(?:\./justw|just) ([a-z][a-z-]*)", line))
    }
    assert called <= recipes


@pytest.mark.parametrize("name", documents())
def test_every_path_that_is_named_exists(name: str):
    spans = SPAN.findall(FENCE.sub("", read(name)))
    paths = {span for span in spans if PATH.fullmatch(span)}
    assert {path for path in paths if not (ROOT / path).exists()} == set()


@pytest.mark.parametrize("name", documents())
def test_every_example_imports_what_there_is(name: str):
    for language, block in FENCE.findall(read(name)):
        if language == "python":
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom) and node.module:
                    module = import_module(node.module)
                    missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
                    assert not missing, f"{name}: {node.module} has no {missing}"


def test_the_program_in_the_protocol_is_the_one_that_runs():
    assert f"```python\n{read('examples/plain_grpc.py')}```" in read("docs/protocol.md")


def test_every_document_is_in_the_index():
    index = read("docs/index.md")
    listed = {match[0] for match in LINK.findall(index)}
    ours = {path.relative_to(ROOT / "docs").as_posix() for path in ROOT.glob("docs/**/*.md")}
    assert ours - {"index.md"} <= listed


def test_every_dependency_has_its_reason():
    project = tomllib.loads(read("pyproject.toml"))
    asked = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    names = {re.split(r"[<>=;\s]", line, maxsplit=1)[0] for line in asked}
    reasoned = {
        cell.strip("`") for heading in ("Runtime", "Development") for cell, *_ in rows(DEPENDENCIES, heading)
    }
    assert reasoned == names


@pytest.mark.parametrize(
    ("section", "kind"),
    [
        ("hub", HubConfig),
        ("gateway", GatewayConfig),
        ("roles", RolesConfig),
        ("database", DatabaseConfig),
        ("spoke", SpokeConfig),
    ],
)
def test_every_setting_is_described(section: str, kind: type[Settings]):
    fields = msgspec.structs.fields(kind)
    expected = [
        [
            f"`{field.name}`",
            f"`{toml(field.default)}`",
            f"`{ENV_PREFIX}{section.upper()}_{field.name.upper()}`",
        ]
        for field in fields
    ]
    assert [row[:3] for row in rows(CONFIGURATION, f"Section `[{section}]`")] == expected


def toml(value: object) -> str:
    match value:
        case None | msgspec.NODEFAULT:
            return "not set"
        case str():
            return f'"{value}"'
        case ():
            return "[]"
        case _:
            return str(value)


def test_every_environment_variable_is_described():
    sources = [
        path for package in ("hub", "hubspoke", "pki", "spoke") for path in (ROOT / package).rglob("*.py")
    ]
    found = {
        name
        for path in sources
        for name in re.findall(r"HUBSPOKE(?:_[A-Z]+)+", path.read_text(encoding="utf-8"))
    }
    assert found <= set(re.findall(r"HUBSPOKE(?:_[A-Z]+)+", CONFIGURATION.read_text(encoding="utf-8")))


def test_the_table_of_errors_is_that_of_the_code():
    described = ["| ".join(row[:5]) for row in rows(PROTOCOL, "Errors")]
    assert described == ["| ".join(error_row(kind)) for kind in STATUS]


def error_row(kind: type[MeshError]) -> list[str]:
    status = STATUS[kind]
    meaning = (kind.__doc__ or "").partition("\n")[0].rstrip(".")
    tried_again = "yes" if kind in RETRYABLE else ""
    return [f"`{kind.reason}`", status.grpc, str(status.http), tried_again, meaning]


def test_the_audit_log_says_what_the_table_of_events_has():
    sources = [
        path.read_text(encoding="utf-8")
        for path in [*ROOT.glob("hub/**/*.py"), *ROOT.glob("hubspoke/auditlog/*.py")]
    ]
    described = {
        event for row in rows(SECURITY, "The audit log") for event in re.findall(r"[a-z]+\.[a-z_]+", row[0])
    }
    noted = {
        event for text in sources for event in re.findall(r'note(?:_often)?\(\s*"([a-z]+\.[a-z_]+)"', text)
    }
    assert noted <= described
    assert {event for event in described if not any(is_named(event, text) for text in sources)} == set()


def is_named(event: str, source: str) -> bool:
    """Whether *source* writes *event* out, or puts it together."""
    return f'"{event}"' in source or f'note(f"{event.partition(".")[0]}.{{' in source


def test_every_attack_stands_beside_a_promise():
    named = [int(number) for row in rows(SECURITY, "What is promised") for number in row[1].split(",")]
    assert sorted(named) == list(ATTACKS)


def test_every_error_says_what_to_do():
    assert [row[0] for row in rows(PROTOCOL, "Errors") if not row[5]] == []


def test_the_table_of_access_is_that_of_the_code():
    mesh = {method: ", ".join(sorted(roles)) for method, roles in access.MESH_PORT.items()}
    expected = [
        [f"`{method.removeprefix('/hubspoke.api.')}`", port, who]
        for port, table in (("mesh", mesh), ("enrol", access.ENROL_PORT))
        for method, who in table.items()
    ]
    assert sorted(row[:3] for row in rows(PROTOCOL, "Who may call what")) == sorted(expected)


def test_every_call_of_the_contract_is_in_one_table_of_access():
    calls = {
        f"/{service.full_name}/{method.name}"
        for module in walk_packages(hubspoke.api.__path__, "hubspoke.api.")
        if module.name.endswith("_pb2")
        for service in import_module(module.name).DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert calls == set(access.MESH_PORT) | set(access.ENROL_PORT)
    assert not set(access.ENROL_PORT) & set(access.MESH_PORT)


def test_the_protos_name_the_roles_that_may_call():
    said = {
        method: {role.strip() for role in roles.split(",")}
        for path in ROOT.glob("protos/**/*.proto")
        for roles, method in ALLOWED.findall(path.read_text(encoding="utf-8"))
    }
    expected = {method.rpartition("/")[2]: set(roles) for method, roles in access.MESH_PORT.items()}
    strangers = {method.rpartition("/")[2] for method in access.ENROL_PORT}
    assert {method: roles for method, roles in said.items() if method not in strangers} == expected


@pytest.mark.parametrize("row", rows(PROTOCOL, "Limits"), ids=lambda row: row[2].strip("`"))
def test_a_limit_is_what_the_code_says(row: list[str]):
    _, value, name, path = (cell.strip("`") for cell in row)
    constant = getattr(import_module(path.removesuffix(".py").replace("/", ".")), name)
    number, _, unit = value.partition(" ")
    told = float(number.replace(",", "")) * UNITS[unit]
    assert told == pytest.approx(in_units(name, constant))


def in_units(name: str, constant: float | timedelta) -> float:
    if isinstance(constant, timedelta):
        return constant.total_seconds()
    return constant / 1000 if name.endswith("_MS") else constant
