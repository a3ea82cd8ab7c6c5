"""Which words a model understands."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from hub.core.catalogue import holdings, resolve
from hub.core.delegation.plain_prompts import PLAIN
from hub.core.delegation.tiny_prompts import TINY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hub.core.delegation.prompts import Family
    from hub.core.types import Registry

FAMILIES: Final[Mapping[str, Family]] = MappingProxyType({"tiny": TINY, "nano": TINY})
"""By name of the model, without its tag; all others are told in plain English."""


def family_in(registry: Registry, model: str) -> Family:
    """Give the templates for what *model*, a name, a digest or a key, means in *registry*; raise UnknownModel."""
    key = resolve(registry, model).key
    return family_of(next(holding.model.name for holding in holdings(registry, key)))


def family_of(model: str) -> Family:
    """Give the templates for the model that goes by the name *model*, such as `tiny` or `tiny:latest`."""
    return FAMILIES.get(model.rpartition("/")[2].partition(":")[0], PLAIN)
