"""From the bytes of an upload to rows: unpacked, decoded and split, a block at a time, in memory that does not grow."""

import csv
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import chain
from typing import Any

PIECE = 1024 * 1024
# A line longer than this is not a line of anybody's export.
LONGEST_LINE = 4 * 1024 * 1024

_BOMS_OF_OTHERS = (b"\xff\xfe", b"\xfe\xff")


class UnreadableFile(Exception):  # noqa: N818 - what the file is, not an error of ours
    """The file as a whole cannot be read; ``code`` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)  # both, so that it can be pickled
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Malformed:
    """A row that is no row."""

    code: str
    message: str


# The number of the row's first line in the file (the header is line 1), and its values in the order asked for.
Row = tuple[int, Sequence[str] | Malformed]


def unpacked(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Pieces of at most 1 MB of what was uploaded, decompressed if it is gzip (several members one after another
    too). Whether it is, its first two bytes say."""
    blocks = iter(blocks)
    first = next(blocks, b"")
    while len(first) < 2 and (more := next(blocks, b"")):
        first += more
    if first[:2] != b"\x1f\x8b":
        yield first
        yield from blocks
        return
    member = zlib.decompressobj(wbits=31)
    for packed in chain((first,), blocks):
        while packed:
            if member.eof:
                if not packed.strip(b"\0"):
                    break
                member = zlib.decompressobj(wbits=31)
            try:
                piece = member.decompress(packed, PIECE)
            except zlib.error:
                raise UnreadableFile("damaged_gzip", "the gzip stream is damaged") from None
            if piece:
                yield piece
            packed = member.unused_data if member.eof else member.unconsumed_tail
    while not member.eof:
        piece = member.decompress(b"", PIECE)
        if not piece:
            raise UnreadableFile("truncated_gzip", "the gzip stream ends before its end")
        yield piece


def texts(pieces: Iterable[bytes], encoding: str = "utf-8") -> Iterator[str]:
    """Whole lines, many at a time. Bytes that are not of the encoding stay as lone surrogates, which the row parser
    refuses with the line. A byte order mark is dropped."""
    rest, first = b"", True
    for piece in pieces:
        if first and piece[:2] in _BOMS_OF_OTHERS:
            raise UnreadableFile("unsupported_encoding", "the file is UTF-16; export it as UTF-8")
        end = piece.rfind(b"\n") + 1
        if not end:
            rest += piece
            if len(rest) > LONGEST_LINE:
                raise UnreadableFile("line_too_long", f"a line is longer than {LONGEST_LINE} bytes")
            continue
        text = (rest + piece[:end]).decode(encoding, "surrogateescape")
        rest = piece[end:]
        yield text.removeprefix("\ufeff") if first else text
        first = False
    if rest:
        text = rest.decode(encoding, "surrogateescape")
        yield text.removeprefix("\ufeff") if first else text


def csv_rows(
    pages: Iterable[str], columns: Sequence[str], delimiter: str | None = ",", quote: str = '"'
) -> Iterator[Row]:
    """Rows of a CSV with a header line; without a delimiter, the one under which the header has the columns. Raises
    UnreadableFile if a column is not in the header or stands there twice."""
    lines = chain.from_iterable(StringIO(page, newline="\n") for page in pages)
    if delimiter is None:
        first = next(lines, "")
        delimiter = _delimiter(first, columns, quote)
        lines = chain((first,), lines)
    reader = csv.reader(lines, delimiter=delimiter, quotechar=quote)
    header = _header(reader)
    width = len(header)
    places = [_place(header, column) for column in columns]
    in_file_order = places == list(range(width))
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, Malformed("malformed_row", f"lines {line}-{reader.line_num}: {error}")
            continue
        if len(row) != width:
            if row:
                yield line, Malformed("wrong_number_of_columns", f"{len(row)} values under {width} columns")
            continue
        yield line, row if in_file_order else [row[place] for place in places]


def _delimiter(first: str, columns: Sequence[str], quote: str) -> str:
    """Of the usual ones, the one that shows most of the columns; of equals, the one that makes most fields."""

    def shown(delimiter: str) -> tuple[int, int]:
        try:
            names = [
                name.strip() for name in next(csv.reader([first], delimiter=delimiter, quotechar=quote), [])
            ]
        except csv.Error:
            return (0, 0)
        return len(set(columns) & set(names)), len(names)

    return max(",;\t|", key=shown)


def _header(reader: Iterator[list[str]]) -> list[str]:
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error:
        header = []
    if not any(header):
        raise UnreadableFile("empty_file", "the file has no header line")
    return header


def _place(header: list[str], column: str) -> int:
    found = header.count(column)
    if found != 1:
        code, how = ("missing_column", "no column") if not found else ("repeated_column", "several columns")
        raise UnreadableFile(code, f"the file has {how} named {column!r}")
    return header.index(column)


def ndjson_rows(pages: Iterable[str], columns: Sequence[str]) -> Iterator[Row]:
    """Rows of JSON objects, one a line. Numbers keep the digits they are written with; absent and null are empty."""
    decode = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str).decode
    lines = chain.from_iterable(StringIO(page, newline="\n") for page in pages)
    for number, text in enumerate(lines, 1):
        if text.isspace():
            continue
        try:
            value: Any = decode(text)
        except (ValueError, RecursionError):
            yield number, Malformed("malformed_row", "the line is not JSON")
            continue
        if not isinstance(value, dict):
            yield number, Malformed("malformed_row", "the line is not a JSON object")
            continue
        row = [value.get(column) for column in columns]
        if any(item is not None and not isinstance(item, str) for item in row):
            yield number, Malformed("malformed_row", "a value is neither text nor a number")
            continue
        yield number, ["" if item is None else item for item in row]
