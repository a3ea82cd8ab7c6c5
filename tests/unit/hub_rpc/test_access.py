"""The table of who may call what, held against the contract itself."""

from __future__ import annotations

import re
from importlib import import_module
from pkgutil import walk_packages
from typing import TYPE_CHECKING

import pytest

import hubspoke.api
from hub.rpc.access import ADMINS, ENROL_PORT, MESH_PORT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import Descriptor, MethodDescriptor

SOMEBODY = re.compile(r"node|spoke|sender|caller|identity|role|peer|owner|user")
"""How a field would be called that says who somebody is."""


def methods() -> dict[str, MethodDescriptor]:
    """Give every method of every service of the contract, by its full name."""
    return {
        f"/{service.full_name}/{method.name}": method
        for module in walk_packages(hubspoke.api.__path__, "hubspoke.api.")
        if module.name.endswith("_pb2")
        for service in import_module(module.name).DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }


def fields(message: Descriptor, seen: frozenset[str] = frozenset()) -> Iterator[str]:
    for field in message.fields:
        yield f"{message.full_name}.{field.name}"
        if field.message_type is not None and field.message_type.full_name not in seen:
            yield from fields(field.message_type, seen | {message.full_name})


@pytest.mark.parametrize("method", methods())
def test_every_method_stands_in_one_of_the_tables(method: str):
    assert (method in MESH_PORT) + (method in ENROL_PORT) == 1
    assert method in ENROL_PORT or MESH_PORT[method], f"nobody may call {method}"


def test_the_tables_hold_nothing_else():
    assert set(MESH_PORT) | set(ENROL_PORT) == set(methods())


@pytest.mark.parametrize("name", sorted(name for name in MESH_PORT if MESH_PORT[name] != ADMINS))
def test_no_message_says_who_sends_it(name: str):
    """Who calls stands in the certificate: a field that could say something else would have to be compared with it."""
    asked = fields(methods()[name].input_type)
    assert [field for field in asked if SOMEBODY.search(field.rpartition(".")[2])] == []
