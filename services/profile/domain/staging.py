"""The rows of a running import, between reading the file and recording its orders.

The rows of one order that were read together are staged as one piece: a JSON object of columns, each a list, or a
single value where all rows say the same. A file of half a million rows is then some ten thousand rows of a table.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.profile.rules.mapping_orders import MOST_LINES, StagedRow
from services.profile.rules.mapping_rows import PURCHASE, RETURN, SKIPPED, UNKNOWN_COUNTRY, ParsedRow

CODES, QUANTITIES = 0, 1
# Distinct codes and quantities kept in memory: some MB.
_MOST_COUNTS = 20_000

_COPY = """copy import_order (job_id, kind, order_number, first_line, row_count, rows) from stdin (format binary)"""
_COPY_TYPES = ["uuid", "int2", "text", "int8", "int4", "bytea"]
# The columns of a piece, in the order of StagedRow, after the order's kind and number and the line.
_COLUMNS = StagedRow._fields[3:]
_KIND, _NUMBER = ParsedRow._fields.index("kind"), ParsedRow._fields.index("order_number")
_TOLD = tuple(ParsedRow._fields.index(column) for column in _COLUMNS)

# Pieces of an order follow one another; those of a window are fetched some at a time until they have enough rows.
_PIECES = """
    select kind, order_number, row_count, rows from import_order
    where job_id = %(job_id)s and (kind, order_number) > (%(kind)s, %(order_number)s)
    order by kind, order_number, first_line
"""
_AT_ONCE = 200
_SIZE = """
    select sum(row_count)::bigint from import_order
    where job_id = %(job_id)s and kind = %(kind)s and order_number = %(order_number)s
"""

_ADD_CUSTOMERS = text(
    """
    insert into import_customer as i (job_id, customer, country, row_count, first_at)
    select :job_id, * from unnest(cast(:customers as text[]), cast(:countries as text[]), cast(:rows as bigint[]),
        cast(:first as timestamptz[]))
    on conflict (job_id, customer, country) do update
        set row_count = i.row_count + excluded.row_count, first_at = least(i.first_at, excluded.first_at)
    """
)
_ADD_COUNTS = text(
    """
    insert into import_count as i (job_id, what, value, row_count)
    select :job_id, :what, * from unnest(cast(:values as text[]), cast(:rows as bigint[]))
    on conflict (job_id, what, value) do update set row_count = i.row_count + excluded.row_count
    """
)
_IN_FILE = text("select count(distinct customer) from import_customer where job_id = :job_id")
_UNKNOWN_TO_US = text(
    """
    select count(distinct customer) from import_customer i
    where job_id = :job_id and not exists (
        select from customer_external_id x where x.source = :source and x.external_id = i.customer
    )
    """
)
# The country that most of a customer's rows name; of equals, the first in the alphabet.
_CUSTOMERS = text(
    f"""
    select customer,
        (array_agg(country order by row_count desc, country)
            filter (where country <> '' and country not like '{UNKNOWN_COUNTRY}%'))[1] as country,
        min(first_at) as first_at
    from import_customer where job_id = :job_id and customer = any(:names)
    group by customer
    """
)


class StagedCustomer(NamedTuple):
    """What the file says of a customer."""

    country: str | None
    first_at: datetime


class Order(NamedTuple):
    """All rows of one order number; ``too_long`` if there are more than one order may have, and then only the first."""

    kind: int
    number: str
    rows: Sequence[StagedRow]
    row_count: int
    too_long: bool = False


class Counts:
    """How often the rows name a code or a quantity, on the way into the database: written when there are many."""

    def __init__(self) -> None:
        self.codes: Counter[str] = Counter()
        self.quantities: Counter[int] = Counter()

    def are_many(self) -> bool:
        return len(self.codes) + len(self.quantities) > _MOST_COUNTS

    def add(self, rows: Iterable[tuple[int, ParsedRow]]) -> None:
        parsed = [row for _, row in rows]
        self.codes.update([row.sku for row in parsed])
        self.quantities.update([row.quantity for row in parsed if row.kind == PURCHASE])

    def write(self, session: Session, job_id: UUID) -> None:
        counters: tuple[tuple[int, Counter[Any]], ...] = ((CODES, self.codes), (QUANTITIES, self.quantities))
        for what, counts in counters:
            values = {"values": [str(value) for value in counts], "rows": list(counts.values())}
            session.execute(_ADD_COUNTS, {"job_id": job_id, "what": what} | values)
            counts.clear()


def put(session: Session, job_id: UUID, rows: Iterable[tuple[int, ParsedRow]]) -> None:
    """Stage rows with their line numbers, in one COPY, and sum up what they say of customers."""
    orders: dict[tuple[int, str], list[tuple[int, ParsedRow]]] = {}
    customers: dict[tuple[str, str], list[Any]] = {}
    for staged in rows:
        row = staged[1]
        kind = row.kind
        key = (kind, row.order_number)
        if (there := orders.get(key)) is None:
            orders[key] = [staged]
        else:
            there.append(staged)
        if kind != SKIPPED and row.customer is not None:
            named = (row.customer, row.country or "")
            if (told := customers.get(named)) is None:
                customers[named] = [1, row.occurred_at]
            else:
                told[0] += 1
                if row.occurred_at < told[1]:
                    told[1] = row.occurred_at
    if not orders:
        return
    connection: Any = session.connection().connection.driver_connection
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        copy.set_types(_COPY_TYPES)
        for (kind, number), lines in orders.items():
            copy.write_row((job_id, kind, number, lines[0][0], len(lines), _packed(lines)))
    if customers:
        names = sorted(customers)
        session.execute(
            _ADD_CUSTOMERS,
            {
                "job_id": job_id,
                "customers": [customer for customer, _ in names],
                "countries": [country for _, country in names],
                "rows": [customers[one][0] for one in names],
                "first": [customers[one][1] for one in names],
            },
        )


def _packed(lines: Sequence[tuple[int, ParsedRow]]) -> bytes:
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
    return json.dumps(packed, ensure_ascii=False, separators=(",", ":")).encode()


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


def _unpacked(kind: int, number: str, rows: bytes) -> Iterator[StagedRow]:
    packed = json.loads(rows)
    count = len(packed["line"])
    columns = [[kind] * count, [number] * count, packed["line"]]
    for name in _COLUMNS:
        column = packed.get(name)
        if read := _READ.get(name):
            if isinstance(column, list):
                column = [None if one is None else read(one) for one in column]
            elif column is not None:
                column = read(column)
        columns.append(column if isinstance(column, list) else [column] * count)
    return map(StagedRow._make, zip(*columns, strict=True))


def customer_count(session: Session, job_id: UUID) -> int:
    """How many customers the file names."""
    session.execute(text("analyze import_order, import_customer"))
    count: int = session.execute(_IN_FILE, {"job_id": job_id}).scalar_one()
    return count


def new_customer_count(session: Session, job_id: UUID, source: str) -> int:
    """How many customers of the file nobody has heard of."""
    count: int = session.execute(_UNKNOWN_TO_US, {"job_id": job_id, "source": source}).scalar_one()
    return count


def customers(session: Session, job_id: UUID, names: Iterable[str]) -> dict[str, StagedCustomer]:
    rows = session.execute(_CUSTOMERS, {"job_id": job_id, "names": sorted(set(names))})
    return {row.customer: StagedCustomer(row.country, row.first_at) for row in rows}


def orders(session: Session, job_id: UUID, after: tuple[int, str], rows: int) -> list[Order]:
    """The orders after ``(kind, order number)``, as many as have about ``rows`` rows, each whole."""
    connection: Any = session.connection().connection.driver_connection
    found: list[Order] = []
    lines: list[StagedRow] = []
    open_: tuple[int, str] | None = None
    taken = 0
    parameters = {"job_id": job_id, "kind": after[0], "order_number": after[1]}
    with connection.cursor(name="pieces", binary=True) as cursor:
        cursor.itersize = _AT_ONCE
        cursor.execute(_PIECES, parameters)
        for kind, number, row_count, packed in cursor:
            if open_ != (kind, number):
                if open_ is not None:
                    found.append(Order(*open_, lines, len(lines)))
                    if taken >= rows:
                        return found
                open_, lines = (kind, number), []
            taken += row_count
            lines.extend(_unpacked(kind, number, packed))
            if len(lines) > MOST_LINES:
                size = {"job_id": job_id, "kind": kind, "order_number": number}
                count = connection.execute(_SIZE, size).fetchone()[0]
                return [*found, Order(kind, number, lines, count, too_long=True)]
    if open_ is not None:
        found.append(Order(*open_, lines, len(lines)))
    return found


def clear(session: Session, job_id: UUID) -> None:
    """Forget the rows of an import."""
    for table in ("import_order", "import_customer", "import_count", "import_key"):
        session.execute(text(f"delete from {table} where job_id = :job_id"), {"job_id": job_id})


__all__ = [
    "CODES",
    "PURCHASE",
    "QUANTITIES",
    "RETURN",
    "Counts",
    "Order",
    "StagedCustomer",
    "clear",
    "customer_count",
    "customers",
    "new_customer_count",
    "orders",
    "put",
]
