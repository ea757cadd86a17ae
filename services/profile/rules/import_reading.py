"""The first half of a purchases import: the file, read into pieces of orders. Pure, so that it can be done elsewhere."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from services.profile.rules import mapping_reading
from services.profile.rules.mapping import Mapping as PurchasesMapping
from services.profile.rules.mapping_pieces import Numbered, Piece, pieces
from services.profile.rules.mapping_rows import PURCHASE, SKIPPED, ParsedRow, RowParser

_EXAMPLES = 10


class Reading(NamedTuple):
    """What is read how: ``size`` rows at a time, from row number ``start`` on, never across the ``passed``-th.
    ``exponents`` are the digits of currencies' minor units."""

    mapping: PurchasesMapping
    pseudonym: Callable[[str], str]
    size: int
    start: int
    passed: int
    exponents: Mapping[str, int]


class CustomerRows(NamedTuple):
    """What some rows say of a customer: how many name it with this country (``""`` = none), and the earliest time."""

    customer: str
    country: str
    row_count: int
    first_at: datetime


class Batch(NamedTuple):
    """Rows that follow one another. ``refused``, ``skipped``, ``seen``, ``unknown_countries`` as Checked has them;
    ``fine_prices`` how many prices are finer than their currency, and the first lines that have one; ``times`` when the
    first and the last line of a purchase or return occurred."""

    row_count: int
    bytes_read: int
    last: bool
    pieces: Sequence[Piece]
    customers: Sequence[CustomerRows]
    codes: Counter[str]
    quantities: Counter[int]
    refused: Sequence[tuple[int, str | None, str, str]]
    skipped: Counter[str]
    seen: Counter[str]
    unknown_countries: Counter[str]
    fine_prices: tuple[int, Sequence[int]]
    times: tuple[datetime, datetime] | None


def read(reading: Reading, blocks: Iterable[bytes]) -> Iterator[Batch]:
    """The file that ``blocks`` are. Raises UnreadableFile."""
    mapping = reading.mapping
    parser = RowParser(mapping, reading.pseudonym)
    for batch in mapping_reading.batches(
        blocks, mapping, parser.layout, reading.size, reading.start, reading.passed
    ):
        checked = mapping_reading.check_together(parser, batch.rows)
        rows = checked.rows
        parsed = [row for _, row in rows]
        times = [row.occurred_at for row in parsed if row.kind != SKIPPED]
        yield Batch(
            len(batch.rows),
            batch.bytes_read,
            batch.last,
            pieces(rows),
            _customers(parsed),
            Counter([row.sku for row in parsed]),
            Counter([row.quantity for row in parsed if row.kind == PURCHASE]),
            checked.refused,
            checked.skipped,
            checked.seen,
            checked.unknown_countries,
            _fine_prices(rows, reading.exponents),
            (min(times), max(times)) if times else None,
        )


_named = itemgetter(*map(ParsedRow._fields.index, ("customer", "country", "kind")))


def _customers(rows: Sequence[ParsedRow]) -> list[CustomerRows]:
    told: dict[tuple[str, str], list[Any]] = {}
    for (customer, country, kind), run in groupby(rows, _named):
        if customer is None or kind == SKIPPED:
            continue
        times = [row.occurred_at for row in run]
        found = told.setdefault((customer, country or ""), [0, times[0]])
        found[0] += len(times)
        found[1] = min(found[1], min(times))
    return [CustomerRows(*named, *found) for named, found in sorted(told.items())]


def _fine_prices(rows: Sequence[Numbered], exponents: Mapping[str, int]) -> tuple[int, list[int]]:
    counts = Counter((row.unit_price, row.currency) for _, row in rows)
    fine = {
        (price, currency)
        for price, currency in counts
        if -int(price.normalize().as_tuple().exponent) > exponents.get(currency, 2)
    }
    if not fine:
        return 0, []
    lines = [line for line, row in rows if (row.unit_price, row.currency) in fine]
    return len(lines), lines[:_EXAMPLES]
