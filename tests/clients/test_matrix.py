"""The documents name each client that is run: a row of the table with the version that is pinned, a block of the page."""

from __future__ import annotations

from tests.clients import matrix
from tests.clients.page import blocks
from tests.clients.roster import CLIENTS, FEATURES


def table() -> list[list[str]]:
    text = matrix.DOCUMENT.read_text(encoding="utf-8")
    lines = text[text.index(f"| {matrix.HEADER[0]} |") :].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_has_the_shape_of_the_roster():
    header, _, *rows = table()
    assert header == list(matrix.HEADER)
    assert [row[:2] for row in rows] == [[client.name, client.version] for client in CLIENTS]


def test_a_dash_stands_where_a_client_has_no_such_thing_and_nowhere_else():
    _, _, *rows = table()
    for client, (_, _, *cells) in zip(CLIENTS, rows, strict=True):
        without = [name for name, cell in zip(FEATURES, cells, strict=True) if cell == matrix.NOT_THERE]
        assert without == [feature for feature in FEATURES if feature not in client.features]


def test_every_family_has_a_block_of_the_page():
    assert {client.family for client in CLIENTS} == {family for family, _, _ in blocks()}
