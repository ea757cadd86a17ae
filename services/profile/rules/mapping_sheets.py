"""Rows of an .xlsx, a row at a time.

A workbook is a zip with its directory at the end, so its bytes must all be there before the first row: at most 32 MB
of them (a million rows of eight columns; whatever is longer is a CSV). What it unpacks to is bounded before anything is
unpacked: the texts that cells share stay in memory, the sheet itself passes by. Expat, which reads the XML, refuses
entities that explode.
"""

import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time
from io import BytesIO
from typing import Any
from xml.etree.ElementTree import ParseError

from services.profile.rules.mapping_stream import Malformed, Row, UnreadableFile

LARGEST = 32 * 1024 * 1024
LARGEST_SHARED = 32 * 1024 * 1024
LARGEST_UNPACKED = 1024 * 1024 * 1024
MOST_PARTS = 2_000
# The format of XML that people type packs to a tenth; what packs to less than a two hundredth was made to burst.
BURSTING = 200
LAST_ROW = 1_048_576  # of the format


def sheet_rows(blocks: Iterable[bytes], columns: Sequence[str], sheet: str | None = None) -> Iterator[Row]:
    """Rows of a sheet with a header line (its first row that is not empty). Raises UnreadableFile.

    Numbers come with the digits that tell them apart, without a point if they are whole; dates as ISO 8601.
    """
    # A twentieth of the suite's start (0.2 s), for a kind of file that most processes never read.
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    packed = _whole(blocks)
    _check(packed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles and extensions that nobody here looks at
            book = load_workbook(packed, read_only=True, data_only=True, keep_links=False)
            names = book.sheetnames
            if sheet is not None and sheet not in names:
                raise UnreadableFile("missing_sheet", f"the workbook has no sheet named {sheet!r}")
            yield from _rows(book[sheet if sheet is not None else names[0]], columns)
            book.close()
    except (
        InvalidFileException,
        zipfile.BadZipFile,
        ParseError,
        KeyError,
        ValueError,
        EOFError,
        OSError,
    ) as error:
        raise UnreadableFile(
            "damaged_workbook", f"the workbook cannot be read: {type(error).__name__}"
        ) from None


def _rows(sheet: Any, columns: Sequence[str]) -> Iterator[Row]:
    sheet.reset_dimensions()  # what a writer says of its sheet's size is not always true
    rows = sheet.iter_rows(values_only=True)
    number, header = 0, []
    for number, row in enumerate(rows, 1):  # noqa: B007 - the header's place is needed below
        header = [_text(value).strip() for value in row]
        if any(header):
            break
    else:
        raise UnreadableFile("empty_file", "the sheet has no header line")
    places = []
    for column in columns:
        if header.count(column) != 1:
            code, how = (
                ("repeated_column", "several columns")
                if column in header
                else ("missing_column", "no column")
            )
            raise UnreadableFile(code, f"the sheet has {how} named {column!r}")
        places.append(header.index(column))
    for place, row in enumerate(rows, number + 1):
        if place > LAST_ROW:
            raise UnreadableFile("workbook_too_large", f"a sheet has at most {LAST_ROW} rows")
        if all(value is None for value in row):
            continue
        if any(isinstance(value, str) and value.startswith("#") and value in _ERRORS for value in row):
            yield place, Malformed("cell_is_an_error", "a cell holds an error instead of a value")
            continue
        yield place, [_text(row[column]) if column < len(row) else "" for column in places]


_ERRORS = frozenset({"#DIV/0!", "#N/A", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!"})


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else format(value, ".15g")
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value)


def _whole(blocks: Iterable[bytes]) -> BytesIO:
    packed = BytesIO()
    for block in blocks:
        if packed.tell() + len(block) > LARGEST:
            raise UnreadableFile(
                "workbook_too_large", f"a workbook has at most {LARGEST // 1024 // 1024} MB; save it as CSV"
            )
        packed.write(block)
    packed.seek(0)
    return packed


def _check(packed: BytesIO) -> None:
    """What the zip says it unpacks to; nothing more than that is ever unpacked."""
    try:
        with zipfile.ZipFile(packed) as book:
            parts = book.infolist()
    except (zipfile.BadZipFile, ValueError, EOFError, OSError):
        raise UnreadableFile("damaged_workbook", "this is no .xlsx") from None
    if len(parts) > MOST_PARTS or sum(part.file_size for part in parts) > LARGEST_UNPACKED:
        raise UnreadableFile("workbook_too_large", "the workbook unpacks to more than 1 GB; save it as CSV")
    for part in parts:
        if part.file_size > 1024 * 1024 and part.file_size > BURSTING * part.compress_size:
            raise UnreadableFile(
                "workbook_bursts", "a part of the workbook unpacks to more than 200 times its size"
            )
        if part.filename.endswith("sharedStrings.xml") and part.file_size > LARGEST_SHARED:
            raise UnreadableFile("workbook_too_large", "the workbook holds too much text; save it as CSV")
    packed.seek(0)
