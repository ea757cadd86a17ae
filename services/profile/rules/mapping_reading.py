"""From an upload to checked rows, some at a time: unpacked, decoded, composed and read as the mapping says."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, NamedTuple, Protocol, TypeVar

from services.profile.rules import mapping_stream as stream
from services.profile.rules.mapping_cells import Layout
from services.profile.rules.mapping_rows import SKIPPED, ParsedRow, RowParser
from services.profile.rules.mapping_shape import FileShape
from services.profile.rules.mapping_sheets import sheet_rows
from services.profile.rules.mapping_values import Refused

Parsed = TypeVar("Parsed")
ParsedOf = TypeVar("ParsedOf", covariant=True)

# Rows that are read together, a column after the other, where none of them needs a look of its own.
_TOGETHER = 500


class Parser(Protocol[ParsedOf]):
    """What makes something of a composed row."""

    layout: Layout
    seen: Counter[str]
    unknown_countries: Counter[str]

    def column(self, field: str | None) -> str | None: ...

    def parse(self, row: Sequence[str]) -> ParsedOf | None: ...


@dataclass
class Checked(Generic[Parsed]):
    """Some rows of a file, read: those that are of use, what was refused (line, column, code, message), how many to
    skip for which reason and what else was seen in them."""

    rows: list[tuple[int, Parsed]] = field(default_factory=list)
    refused: list[tuple[int, str | None, str, str]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    unknown_countries: Counter[str] = field(default_factory=Counter)


class RowsRead(NamedTuple):
    """Rows of a file that follow one another, the bytes read so far, and whether these are the last."""

    rows: list[stream.Row]
    bytes_read: int
    last: bool


def batches(
    blocks: Iterable[bytes], shape: FileShape, layout: Layout, size: int, start: int, passed: int
) -> Iterator[RowsRead]:
    """The rows from number ``start`` on, ``size`` at a time and never across the ``passed``-th. Raises
    UnreadableFile."""
    meter = _Meter(blocks)
    rows = rows_of(meter, shape, layout)
    deque(islice(rows, start), maxlen=0)
    done = start
    while True:
        wanted = size if done >= passed else min(size, passed - done)
        batch = list(islice(rows, wanted))
        done += len(batch)
        yield RowsRead(batch, meter.read, len(batch) < wanted)
        if len(batch) < wanted:
            return


def rows_of(blocks: Iterable[bytes], shape: FileShape, layout: Layout) -> Iterator[stream.Row]:
    """The rows of an upload, unpacked, decoded and composed as the mapping says. Raises UnreadableFile."""
    pieces = stream.unpacked(blocks)
    if shape.format == "xlsx":
        rows = sheet_rows(pieces, layout.columns, shape.sheet)
    elif shape.format == "ndjson":
        rows = stream.ndjson_rows(stream.texts(pieces, shape.encoding), layout.columns)
    else:
        pages = stream.texts(pieces, shape.encoding)
        rows = stream.csv_rows(pages, layout.columns, shape.delimiter, shape.quote)
    return rows if layout.plain else _composed(rows, layout)


def check(parser: Parser[Parsed], rows: Iterable[stream.Row]) -> Checked[Parsed]:
    """Read rows. One that the parser gives nothing for is skipped for want of a customer; one that it marks as skipped
    is kept besides."""
    checked: Checked[Parsed] = Checked()
    _check(parser, rows, checked)
    return _with_remarks(parser, checked)


def check_together(parser: RowParser, rows: Sequence[stream.Row]) -> Checked[ParsedRow]:
    """As ``check``, of lines of purchases: many at once, and one by one where they are not all as usual."""
    checked: Checked[ParsedRow] = Checked()
    for start in range(0, len(rows), _TOGETHER):
        some = rows[start : start + _TOGETHER]
        if (parsed := _together(parser, some)) is None:
            _check(parser, some, checked)
            continue
        checked.rows.extend(zip((line for line, _ in some), parsed, strict=True))
        if skipped := sum(row.kind == SKIPPED for row in parsed):
            checked.skipped["missing_customer"] += skipped
    return _with_remarks(parser, checked)


def _together(parser: RowParser, some: Sequence[stream.Row]) -> list[ParsedRow] | None:
    cells = [row for _, row in some if not isinstance(row, stream.Malformed)]
    return None if parser.layout.skips or len(cells) < len(some) else parser.parse_many(cells)


def _check(parser: Parser[Parsed], rows: Iterable[stream.Row], checked: Checked[Parsed]) -> None:
    keep, parse, layout = checked.rows.append, parser.parse, parser.layout
    for line, row in rows:
        if isinstance(row, stream.Malformed):
            checked.refused.append((line, None, row.code, row.message))
            continue
        if layout.skips and (reason := layout.skipped(row)) is not None:
            checked.skipped[reason] += 1
            continue
        try:
            parsed = parse(row)
        except Refused as refused:
            checked.refused.append((line, parser.column(refused.field), refused.code, refused.message))
            continue
        if parsed is not None:
            keep((line, parsed))
        if parsed is None or getattr(parsed, "kind", None) == SKIPPED:
            checked.skipped["missing_customer"] += 1


def _with_remarks(parser: Parser[Parsed], checked: Checked[Parsed]) -> Checked[Parsed]:
    checked.seen, parser.seen = parser.seen, Counter()
    checked.unknown_countries, parser.unknown_countries = parser.unknown_countries, Counter()
    return checked


def _composed(rows: Iterable[stream.Row], layout: Layout) -> Iterator[stream.Row]:
    for line, row in rows:
        yield line, row if isinstance(row, stream.Malformed) else layout.compose(row)


class _Meter:
    """Counts the bytes that pass."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self.read = 0
        self._blocks = blocks

    def __iter__(self) -> Iterator[bytes]:
        for block in self._blocks:
            self.read += len(block)
            yield block
