"""Settings from `hubspoke.toml` and the environment, checked against a struct."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from hubspoke.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ENV_PREFIX: Final = "HUBSPOKE_"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every section: frozen, and a key that nobody reads is an error instead of a surprise."""


T = TypeVar("T", bound=Settings)


def load(kind: type[T], section: str, path: Path | None, env: Mapping[str, str]) -> T:
    """Read *section* of the file, if there is one, let `HUBSPOKE_<SECTION>_<FIELD>` overrule it, and check it all.

    In the environment a list is written with commas between its items, and one without any is empty. Raise InvalidRequest that names the place.
    """
    values = {} if path is None else _section(path, section)
    places = [f"{path} [{section}]"] if values else []
    for field in msgspec.structs.fields(kind):
        variable = f"{ENV_PREFIX}{section}_{field.name}".upper()
        if variable in env:
            text = env[variable]
            values[field.name] = _items(text) if isinstance(field.default, tuple) else text
            places.append(variable)
    try:
        # strict=False: what comes from the environment is text, also where a number is wanted.
        return msgspec.convert(values, type=kind, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{' and '.join(places)}: {error}; see docs/configuration.md") from error


def _items(text: str) -> list[str]:
    return [item for part in text.split(",") if (item := part.strip())]


def _section(path: Path, section: str) -> dict[str, object]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path} is no TOML: {error}") from error
    values = content.get(section, {})
    if not isinstance(values, dict):
        raise InvalidRequest(f"{path}: {section} must be a table, written [{section}]")
    return values
