"""The rows of one order that were read together, as one piece: a JSON object of columns, each a list, or a single value
where all rows say the same. A file of half a million rows is then some ten thousand pieces."""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from services.profile.rules.mapping_orders import StagedRow
from services.profile.rules.mapping_rows import ParsedRow

Numbered = tuple[int, ParsedRow]  # with the line of the file

# The columns of a piece, in the order of StagedRow, after the order's kind and number and the line.
_COLUMNS = StagedRow._fields[3:]
_TOLD = tuple(ParsedRow._fields.index(column) for column in _COLUMNS)


class Piece(NamedTuple):
    """Rows of the order ``number``; ``packed`` as the module says."""

    kind: int
    number: str
    first_line: int
    row_count: int
    packed: bytes


def pieces(rows: Sequence[Numbered]) -> list[Piece]:
    """The rows, an order at a time."""
    orders: dict[tuple[int, str], list[Numbered]] = {}
    for staged in rows:
        row = staged[1]
        key = (row.kind, row.order_number)
        if (there := orders.get(key)) is None:
            orders[key] = [staged]
        else:
            there.append(staged)
    return [
        Piece(kind, number, lines[0][0], len(lines), _packed(lines))
        for (kind, number), lines in orders.items()
    ]


def unpacked(kind: int, number: str, packed: bytes) -> Iterator[StagedRow]:
    """The rows of a piece."""
    told = json.loads(packed)
    count = len(told["line"])
    columns = [[kind] * count, [number] * count, told["line"]]
    for name in _COLUMNS:
        column = told.get(name)
        if read := _READ.get(name):
            if isinstance(column, list):
                column = [None if one is None else read(one) for one in column]
            elif column is not None:
                column = read(column)
        columns.append(column if isinstance(column, list) else [column] * count)
    return map(StagedRow._make, zip(*columns, strict=True))


def _packed(lines: Sequence[Numbered]) -> bytes:
    columns = list(zip(*(row for _, row in lines), strict=True))
    packed: dict[str, Any] = {"line": [line for line, _ in lines]}
    for name, place in zip(_COLUMNS, _TOLD, strict=True):
        column = columns[place]
        first = column[0]
        alike = len(column) == 1 or column.count(first) == len(column)
        if alike and first is None:
            continue
        if name in _WRITTEN:
            write = _WRITTEN[name]
            packed[name] = write(first) if alike else [None if one is None else write(one) for one in column]
        else:
            packed[name] = first if alike else column
    return _encode(packed).encode()


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
_WRITTEN: dict[str, Callable[[Any], str]] = {
    "unit_price": str,
    "occurred_at": datetime.isoformat,
    "exchange_rate": str,
    "discount": str,
}
_READ: dict[str, Callable[[Any], Any]] = {
    "unit_price": Decimal,
    "occurred_at": datetime.fromisoformat,
    "exchange_rate": Decimal,
    "discount": Decimal,
}
