"""The rows of a running import, between reading the file and recording its orders: pieces of orders
(rules/mapping_pieces), what they say of customers, and how often they name a code or a quantity."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.profile.rules.import_preparing import OrderKey, StagedOrder
from services.profile.rules.import_reading import CustomerRows
from services.profile.rules.mapping_orders import MOST_LINES
from services.profile.rules.mapping_pieces import Piece
from services.profile.rules.mapping_rows import UNKNOWN_COUNTRY

CODES, QUANTITIES = 0, 1
# Distinct codes and quantities kept in memory: some MB.
_MOST_COUNTS = 20_000

_COPY = """copy import_order (job_id, kind, order_number, first_line, row_count, rows) from stdin (format binary)"""
_COPY_TYPES = ["uuid", "int2", "text", "int8", "int4", "bytea"]

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


class Counts:
    """How often the rows name a code or a quantity, on the way into the database: written when there are many."""

    def __init__(self) -> None:
        self.codes: Counter[str] = Counter()
        self.quantities: Counter[int] = Counter()

    def are_many(self) -> bool:
        return len(self.codes) + len(self.quantities) > _MOST_COUNTS

    def add(self, codes: Counter[str], quantities: Counter[int]) -> None:
        self.codes.update(codes)
        self.quantities.update(quantities)

    def write(self, session: Session, job_id: UUID) -> None:
        counters: tuple[tuple[int, Counter[Any]], ...] = ((CODES, self.codes), (QUANTITIES, self.quantities))
        for what, counts in counters:
            values = {"values": [str(value) for value in counts], "rows": list(counts.values())}
            session.execute(_ADD_COUNTS, {"job_id": job_id, "what": what} | values)
            counts.clear()


def put(session: Session, job_id: UUID, pieces: Iterable[Piece], customers: Sequence[CustomerRows]) -> None:
    """Stage pieces, in one COPY, and sum up what their rows say of customers."""
    connection: Any = session.connection().connection.driver_connection
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        copy.set_types(_COPY_TYPES)
        for piece in pieces:
            copy.write_row((job_id, *piece))
    if customers:
        session.execute(
            _ADD_CUSTOMERS,
            {
                "job_id": job_id,
                "customers": [one.customer for one in customers],
                "countries": [one.country for one in customers],
                "rows": [one.row_count for one in customers],
                "first": [one.first_at for one in customers],
            },
        )


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


def orders(session: Session, job_id: UUID, after: OrderKey, rows: int) -> list[StagedOrder]:
    """The orders after ``after``, as many as have about ``rows`` rows, each whole."""
    connection: Any = session.connection().connection.driver_connection
    found: list[StagedOrder] = []
    pieces: list[bytes] = []
    open_: OrderKey | None = None
    taken = count = 0
    parameters = {"job_id": job_id, "kind": after[0], "order_number": after[1]}
    with connection.cursor(name="pieces", binary=True) as cursor:
        cursor.itersize = _AT_ONCE
        cursor.execute(_PIECES, parameters)
        for kind, number, row_count, packed in cursor:
            if open_ != (kind, number):
                if open_ is not None:
                    found.append(StagedOrder(*open_, count, pieces))
                    if taken >= rows:
                        return found
                open_, pieces, count = (kind, number), [], 0
            taken += row_count
            count += row_count
            pieces.append(packed)
            if count > MOST_LINES:
                size = {"job_id": job_id, "kind": kind, "order_number": number}
                count = connection.execute(_SIZE, size).fetchone()[0]
                return [*found, StagedOrder(kind, number, count, pieces, too_long=True)]
    if open_ is not None:
        found.append(StagedOrder(*open_, count, pieces))
    return found


def clear(session: Session, job_id: UUID) -> None:
    """Forget the rows of an import."""
    for table in ("import_order", "import_customer", "import_count", "import_key"):
        session.execute(text(f"delete from {table} where job_id = :job_id"), {"job_id": job_id})
