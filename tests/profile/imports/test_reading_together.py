"""Rows read a column at a time are what they are one by one: the same lines, refusals and remarks."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.profile.rules.mapping import Mapping
from services.profile.rules.mapping_reading import Checked, check, check_together
from services.profile.rules.mapping_rows import RowParser
from services.profile.rules.mapping_stream import Malformed, Row
from tests.profile.imports.conftest import HEADER, MAPPING

USUAL = {
    "InvoiceNo": ["1", "2", "C3"],
    "StockCode": ["a", "b"],
    "Description": ["LANTERN", " LANTERN ", ""],
    "Quantity": ["1", "-2", "12"],
    "InvoiceDate": ["2010-12-01 08:26:00", "2011-10-30 01:30:00", "2011-03-27 01:30:00"],
    "UnitPrice": ["2.50", "1", "3.3333"],
    "CustomerID": ["17850.0", "17850", "", "12.0"],
    "Country": ["France", "EIRE", "Atlantis", ""],
}
ODD = {
    "InvoiceNo": ["", "C4"],
    "Quantity": ["0", "x", "-1"],
    "InvoiceDate": ["yesterday"],
    "UnitPrice": ["0", "-1", "?"],
    "StockCode": [""],
}


def row(odd: bool) -> st.SearchStrategy[list[str]]:
    return st.tuples(
        *(st.sampled_from([*USUAL[name], *(ODD.get(name, []) if odd else [])]) for name in HEADER)
    ).map(list)


def as_told(checked: Checked[Any]) -> tuple[Any, ...]:
    return checked.rows, checked.refused, checked.skipped, checked.seen, checked.unknown_countries


@given(
    st.lists(row(odd=False), min_size=1, max_size=40),
    st.lists(row(odd=True) | st.just(Malformed("malformed_row", "cut off")), max_size=4),
    st.sampled_from(["skip", "anonymous"]),
    st.booleans(),
    st.sampled_from(["UnitPrice", None]),
)
def test_many_rows_at_once_are_read_as_one_by_one(
    usual: list[list[str]], odd: list[Any], missing: str, negative: bool, price: str | None
) -> None:
    columns = MAPPING["columns"]
    if price is None:
        columns = {name: column for name, column in columns.items() if name != "unit_price"}
        columns |= {"line_amount": "UnitPrice"}
    mapping = Mapping.model_validate(
        MAPPING | {"missing_customer": missing, "negative_quantity_is_return": negative, "columns": columns}
    )
    rows: list[Row] = [
        (number, cells if isinstance(cells, Malformed) else in_order(RowParser(mapping), cells))
        for number, cells in enumerate([*usual, *odd], 2)
    ]
    together, alone = RowParser(mapping), RowParser(mapping)
    assert as_told(check_together(together, rows)) == as_told(check(alone, rows))


def in_order(parser: RowParser, cells: list[str]) -> list[str]:
    return [dict(zip(HEADER, cells, strict=True))[column] for column in parser.columns]
