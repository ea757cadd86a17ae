"""The rows of a running import, between reading the file and recording its orders."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.profile.rules.mapping_orders import StagedRow
from services.profile.rules.mapping_rows import RETURN, UNKNOWN_COUNTRY, ParsedRow

_COLUMNS = ("job_id", "line", *ParsedRow._fields)
_COPY = f"copy import_row ({', '.join(_COLUMNS)}) from stdin (format binary)"
_TYPES = {
    "job_id": "uuid",
    "line": "int8",
    "kind": "int2",
    "quantity": "int4",
    "occurred_at": "timestamptz",
} | dict.fromkeys(("unit_price", "exchange_rate", "discount"), "numeric")
_COLUMN_TYPES = [_TYPES.get(column, "text") for column in _COLUMNS]

_WINDOW = f"""
    select {", ".join(StagedRow._fields)} from import_row
    where job_id = %(job_id)s and (kind, order_number) > (%(kind)s, %(order_number)s) and kind <= {RETURN}
    order by kind, order_number, line
    limit %(rows)s
"""
_SIZE = text(
    "select count(*) from import_row where job_id = :job_id and kind = :kind and order_number = :order_number"
)

# The country that most of a customer's rows name; of equals, the first in the alphabet.
_GATHER = text(
    f"""
    insert into import_customer (job_id, customer, country, country_count, first_at)
    select :job_id, customer,
        (array_agg(country order by rows desc, country) filter (where country not like '{UNKNOWN_COUNTRY}%'))[1],
        count(country), min(first_at)
    from (
        select customer, country, count(*) as rows, min(occurred_at) as first_at
        from import_row
        where job_id = :job_id and kind <= {RETURN} and customer is not null
        group by customer, country
    ) as named
    group by customer
    """
)
_UNKNOWN_TO_US = text(
    """
    select count(*) from import_customer i
    where job_id = :job_id and not exists (
        select from customer_external_id x where x.source = :source and x.external_id = i.customer
    )
    """
)
_CUSTOMERS = text(
    "select customer, country, first_at from import_customer where job_id = :job_id and customer = any(:names)"
)


class StagedCustomer(NamedTuple):
    """What the file says of a customer."""

    country: str | None
    first_at: datetime


class Order(NamedTuple):
    """All rows of one order number; ``too_long`` if there are more than fit a window, and then only the first."""

    kind: int
    number: str
    rows: Sequence[StagedRow]
    row_count: int
    too_long: bool = False


def put(session: Session, job_id: UUID, rows: Iterable[tuple[int, ParsedRow]]) -> None:
    """Stage rows with their line numbers, in one COPY."""
    connection: Any = session.connection().connection.driver_connection
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        copy.set_types(_COLUMN_TYPES)
        for line, row in rows:
            copy.write_row((job_id, line, *row))


def gather_customers(session: Session, job_id: UUID) -> int:
    """Sum up what the file says of each customer; returns how many there are."""
    session.execute(text("analyze import_row"))
    session.execute(text("delete from import_customer where job_id = :job_id"), {"job_id": job_id})
    return session.execute(_GATHER, {"job_id": job_id}).rowcount  # type: ignore[attr-defined, no-any-return]


def new_customer_count(session: Session, job_id: UUID, source: str) -> int:
    """How many customers of the file nobody has heard of."""
    count: int = session.execute(_UNKNOWN_TO_US, {"job_id": job_id, "source": source}).scalar_one()
    return count


def customers(session: Session, job_id: UUID, names: Iterable[str]) -> dict[str, StagedCustomer]:
    rows = session.execute(_CUSTOMERS, {"job_id": job_id, "names": sorted(set(names))})
    return {row.customer: StagedCustomer(row.country, row.first_at) for row in rows}


def orders(session: Session, job_id: UUID, after: tuple[int, str], rows: int) -> list[Order]:
    """The orders after ``(kind, order number)`` that fit into ``rows`` rows; an order longer than that comes alone."""
    window = _fetch(session, job_id, after, rows + 1)
    found = [Order(*key, lines, len(lines)) for key, lines in _grouped(window)]
    if len(window) <= rows:
        return found
    if len(found) > 1:
        return found[:-1]  # the last one may be cut
    only = found[0]
    size = session.execute(
        _SIZE, {"job_id": job_id, "kind": only.kind, "order_number": only.number}
    ).scalar_one()
    return [only._replace(row_count=size, too_long=True)]


def _fetch(session: Session, job_id: UUID, after: tuple[int, str], rows: int) -> list[StagedRow]:
    connection: Any = session.connection().connection.driver_connection
    with connection.cursor(
        binary=True
    ) as cursor:  # a row at a time through SQLAlchemy costs as much as all the rest
        cursor.execute(_WINDOW, {"job_id": job_id, "kind": after[0], "order_number": after[1], "rows": rows})
        return [StagedRow._make(row) for row in cursor.fetchall()]


def _grouped(rows: Iterable[StagedRow]) -> Iterator[tuple[tuple[int, str], list[StagedRow]]]:
    for key, lines in groupby(rows, key=lambda row: (row.kind, row.order_number)):
        yield key, list(lines)


def clear(session: Session, job_id: UUID) -> None:
    """Forget the rows of an import."""
    for table in ("import_row", "import_customer"):
        session.execute(text(f"delete from {table} where job_id = :job_id"), {"job_id": job_id})
