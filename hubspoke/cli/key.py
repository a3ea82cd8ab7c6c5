"""`hubspoke key`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import click

from hubspoke import loop
from hubspoke.admin import AdminClient
from hubspoke.cli import options
from hubspoke.cli.output import write_json
from hubspoke.paths import locate
from hubspoke.types import KeyPlan, Priority

if TYPE_CHECKING:
    from pathlib import Path

    from hubspoke.types import IssuedKey, KeyInfo
    from pki.address import Address

_SCOPES: Final = ("models:write",)


@click.group("key")
def command() -> None:
    """Make and end API keys of the HTTP gateway."""


@command.command("create")
@click.argument("name")
@click.option(
    "--models",
    metavar="NAMES",
    default="",
    help="Models it may ask, by name or pattern, with commas. Default: all.",
)
@click.option("--rpm", type=click.IntRange(1, 1_000_000), help="Requests a minute. Default: no limit.")
@click.option(
    "--tokens-per-day", type=click.IntRange(1), help="Tokens a day, prompts included. Default: no limit."
)
@click.option(
    "--priority",
    type=click.Choice([priority.value for priority in Priority]),
    default=Priority.INTERACTIVE.value,
    show_default=True,
    help="batch: after everybody who waits.",
)
@click.option("--scope", "scopes", type=click.Choice(_SCOPES), multiple=True, help="What else it may do.")
@options.of_a_client
def create(
    *,
    name: str,
    models: str,
    rpm: int | None,
    tokens_per_day: int | None,
    priority: str,
    scopes: tuple[str, ...],
    hubs: tuple[Address, ...],
    state_dir: Path | None,
    as_json: bool,
) -> None:
    """Make an API key called NAME. An admin's identity is needed.

    The key alone goes to standard output, so that it can be piped; it is shown once and kept nowhere.

    JSON: key, id, name, models, requests_per_minute, tokens_per_day, priority, scopes, created_at.
    """
    plan = KeyPlan(
        name=name,
        models=tuple(part.strip() for part in models.split(",") if part.strip()),
        requests_per_minute=rpm,
        tokens_per_day=tokens_per_day,
        priority=Priority(priority),
        scopes=frozenset(scopes),
    )

    async def ask() -> IssuedKey:
        async with AdminClient(locate(state_dir).client, hubs) as mesh:
            return await mesh.create_key(plan)

    issued = loop.run(ask)
    if as_json:
        write_json({"key": issued.secret, **_facts(issued.info)})
        return
    click.echo(f"A key for {name!r}. It is shown this once:", err=True)
    click.echo(issued.secret)
    click.echo(
        "Apps send it as `Authorization: Bearer ...`; OPENAI_API_KEY, OLLAMA_API_KEY and ANTHROPIC_AUTH_TOKEN take it.",
        err=True,
    )


@command.command("list")
@options.of_a_client
def list_keys(*, hubs: tuple[Address, ...], state_dir: Path | None, as_json: bool) -> None:
    """List the keys, and what they have used of the last 31 days. An admin's identity is needed.

    JSON: keys, each with id, name, models, requests_per_minute, tokens_per_day, priority, scopes, created_at,
    revoked_at and usage (day, model, requests, prompt_tokens, output_tokens).
    """

    async def ask() -> tuple[KeyInfo, ...]:
        async with AdminClient(locate(state_dir).client, hubs) as mesh:
            return await mesh.keys()

    keys = loop.run(ask)
    if as_json:
        write_json({"keys": [{**_facts(key), "usage": key.usage} for key in keys]})
    elif keys:
        _show(keys)
    else:
        click.echo("There is no key yet; `hubspoke key create NAME` makes one.")


@command.command("revoke")
@click.argument("key")
@options.of_a_client
def revoke(*, key: str, hubs: tuple[Address, ...], state_dir: Path | None, as_json: bool) -> None:
    """End KEY, by its name or id, for good. What runs with it runs on. An admin's identity is needed.

    JSON: id, name, revoked_at and the rest of the key.
    """

    async def ask() -> KeyInfo:
        async with AdminClient(locate(state_dir).client, hubs) as mesh:
            return await mesh.revoke_key(key)

    ended = loop.run(ask)
    if as_json:
        write_json(_facts(ended))
    else:
        click.echo(f"The key {ended.plan.name!r} ({ended.id}) is no longer good.")


def _facts(key: KeyInfo) -> dict[str, object]:
    plan = key.plan
    return {
        "id": key.id,
        "name": plan.name,
        "models": plan.models,
        "requests_per_minute": plan.requests_per_minute,
        "tokens_per_day": plan.tokens_per_day,
        "priority": plan.priority,
        "scopes": plan.scopes,
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
    }


def _show(keys: tuple[KeyInfo, ...]) -> None:
    from rich.console import Console  # noqa: PLC0415  # for who sees the table alone
    from rich.table import Table  # noqa: PLC0415  # as above
    from rich.text import Text  # noqa: PLC0415  # as above

    table = Table("Name", "Id", "Models", "Limits", "Used in 31 days", box=None, pad_edge=False)
    for key in keys:
        style = "dim" if key.revoked_at else ""
        row = (key.plan.name, key.id, ", ".join(key.plan.models) or "all", _limits(key), _used(key))
        table.add_row(*(Text(cell, style=style) for cell in row))
    Console().print(table)


def _limits(key: KeyInfo) -> str:
    if key.revoked_at:
        return f"revoked {key.revoked_at:%Y-%m-%d}"
    plan = key.plan
    limits = [
        *([f"{plan.requests_per_minute} a minute"] if plan.requests_per_minute else []),
        *([f"{plan.tokens_per_day:,} tokens a day"] if plan.tokens_per_day else []),
        *(["batch"] if plan.priority is Priority.BATCH else []),
        *sorted(plan.scopes),
    ]
    return ", ".join(limits) or "none"


def _used(key: KeyInfo) -> str:
    total: Counter[str] = Counter()
    for usage in key.usage:
        total["requests"] += usage.requests
        total["tokens"] += usage.prompt_tokens + usage.output_tokens
    return f"{total['requests']:,} requests, {total['tokens']:,} tokens" if total else "nothing"
