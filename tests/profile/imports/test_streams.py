"""From the bytes of an upload to rows."""

import gzip
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.rules.mapping_stream import (
    LONGEST_LINE,
    Malformed,
    UnreadableFile,
    csv_rows,
    ndjson_rows,
    texts,
    unpacked,
)

FILE = 'id,name,price\r\n1,茶,2.55\r\n2,"two\nlines, quoted",3\r\n3,last,4'.encode()


def cut(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def rows(blocks: Iterable[bytes], *columns: str, encoding: str = "utf-8") -> list[object]:
    return list(csv_rows(texts(unpacked(blocks), encoding), columns))


EXPECTED = [(2, ["茶", "1"]), (3, ["two\nlines, quoted", "2"]), (5, ["last", "3"])]


@given(size=st.integers(1, 80), packed=st.booleans(), mark=st.booleans())
def test_rows_do_not_depend_on_where_blocks_end(size: int, packed: bool, mark: bool) -> None:
    data = (b"\xef\xbb\xbf" if mark else b"") + FILE
    assert rows(cut(gzip.compress(data) if packed else data, size), "name", "id") == EXPECTED


def test_gzip_may_have_several_members() -> None:
    data = gzip.compress(FILE[:20]) + gzip.compress(FILE[20:])
    assert rows(cut(data, 7), "name", "id") == EXPECTED


def test_a_truncated_or_damaged_gzip_is_said_to_be_one() -> None:
    packed = gzip.compress(FILE * 100)
    with pytest.raises(UnreadableFile) as truncated:
        rows([packed[:-9]], "name", "id")
    assert truncated.value.code == "truncated_gzip"
    with pytest.raises(UnreadableFile) as damaged:
        rows([packed[:20] + b"\xff\xff\xff\xff" + packed[24:]], "name", "id")
    assert damaged.value.code == "damaged_gzip"


def test_a_gzip_bomb_comes_in_small_pieces() -> None:
    packed = gzip.compress(b"\0" * (64 * 1024 * 1024))
    assert max(len(piece) for piece in unpacked([packed])) <= 1024 * 1024
    with pytest.raises(UnreadableFile) as refused:
        rows([packed], "name")
    assert refused.value.code == "line_too_long"
    assert LONGEST_LINE < 64 * 1024 * 1024


def test_gb18030_is_read() -> None:
    assert rows([FILE.decode().encode("gb18030")], "name", "id", encoding="gb18030") == EXPECTED


def test_bytes_of_another_encoding_stay_in_their_own_row() -> None:
    found = rows([b"id,name\n1,caf\xe9\n2,tea\n"], "id", "name")
    assert found == [(2, ["1", "caf\udce9"]), (3, ["2", "tea"])]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_file"),
        (b"\n\n", "empty_file"),
        (b"id,nam\n", "missing_column"),
        (b"id,name,name\n", "repeated_column"),
        ("id,name\n".encode("utf-16"), "unsupported_encoding"),
    ],
)
def test_a_file_that_is_not_one_of_these_is_refused_as_a_whole(data: bytes, code: str) -> None:
    with pytest.raises(UnreadableFile) as refused:
        rows([data], "id", "name")
    assert refused.value.code == code


def test_a_row_of_another_width_is_refused_and_the_next_is_read() -> None:
    found = rows([b"id,name\n1\n\n2,tea,3\n4,milk\n"], "id", "name")
    assert [(line, row.code if isinstance(row, Malformed) else row) for line, row in found] == [  # type: ignore[misc, attr-defined]
        (2, "wrong_number_of_columns"),
        (4, "wrong_number_of_columns"),
        (5, ["4", "milk"]),
    ]


def test_a_quote_that_never_closes_costs_what_it_swallows_and_says_so() -> None:
    data = b'id,name\n1,"tea\n' + b"2,milk\n" * 40_000
    found = rows([data], "id", "name")
    malformed = [row for _, row in found if isinstance(row, Malformed)]  # type: ignore[misc]
    assert malformed and malformed[0].message.startswith("lines 2-")
    assert (found[-1][0], found[-1][1]) == (40_002, ["2", "milk"])  # type: ignore[index]


def test_ndjson_keeps_digits_as_written_and_takes_absent_for_empty() -> None:
    text = '{"id": 1, "price": 2.50}\n\n{"id": "a", "price": null}\n[1]\n{"id": {}}\n{"id": true}\noops\n'
    found = list(ndjson_rows([text], ("id", "price")))
    assert found[:2] == [(1, ["1", "2.50"]), (3, ["a", ""])]
    assert [(line, isinstance(row, Malformed)) for line, row in found[2:]] == [
        (4, True),
        (5, True),
        (6, True),
        (7, True),
    ]
