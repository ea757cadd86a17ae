"""Numbers out of the database and into it as numpy arrays, without a Python object for each: a million customers are some
megabytes."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from psycopg import Connection
from psycopg.adapt import Dumper
from psycopg.postgres import types
from psycopg.pq import Format
from sqlalchemy.orm import Session

Kind = Literal["bigint", "double precision"]
Array = npt.NDArray[np.int64] | npt.NDArray[np.float64]

_KINDS: Mapping[Kind, str] = {"bigint": ">i8", "double precision": ">f8"}
_HEADER = 19  # of a binary COPY: signature, flags and the length of an extension that there is not
_TRAILER = 2


def arrays(
    session: Session, query: str, parameters: Mapping[str, Any], columns: Sequence[str] | Mapping[str, Kind]
) -> dict[str, Any]:
    """The columns of ``query``, which are never null, by their names in their order, bigint where nothing else is said;
    %(name)s are parameters."""
    kinds: dict[str, Kind] = (
        dict(columns) if isinstance(columns, Mapping) else dict.fromkeys(columns, "bigint")
    )
    received = bytearray()
    with (
        _driver(session).cursor() as cursor,
        cursor.copy(f"copy ({query}) to stdout (format binary)".encode(), parameters) as copy,
    ):
        for block in copy:
            received += block
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    for name, kind in kinds.items():
        fields += [(f"{name} length", ">i4"), (name, _KINDS[kind])]
    row = np.dtype(fields)
    rows = np.frombuffer(
        received, row, offset=_HEADER, count=(len(received) - _HEADER - _TRAILER) // row.itemsize
    )
    return {name: rows[name].astype(_KINDS[kind][1:]) for name, kind in kinds.items()}


def execute(session: Session, statement: str, parameters: Mapping[str, Any]) -> None:
    """A statement some of whose parameters, ``cast(%(name)b as bigint[])`` or ``double precision[]``, are arrays."""
    connection = _driver(session)
    for sent in (_BigInts, _Doubles):
        connection.adapters.register_dumper(sent, _Ready)
    given = {name: _sent(each) if isinstance(each, np.ndarray) else each for name, each in parameters.items()}
    session.connection().exec_driver_sql(statement, given)


def _driver(session: Session) -> Connection[Any]:
    connection: Any = session.connection().connection.driver_connection
    return connection  # type: ignore[no-any-return]


class _BigInts(bytes):
    oid: ClassVar[int] = types["int8"].array_oid


class _Doubles(bytes):
    oid: ClassVar[int] = types["float8"].array_oid


class _Ready(Dumper):
    """Of an array that is in the binary format of Postgres already."""

    format = Format.BINARY

    def __init__(self, cls: type[_BigInts | _Doubles], context: Any = None) -> None:
        super().__init__(cls, context)
        self.oid = cls.oid

    def dump(self, obj: _BigInts | _Doubles) -> bytes:
        return obj


def _sent(array: Array) -> _BigInts | _Doubles:
    """One dimension, nothing null: a header, then every element behind its length."""
    whole = np.issubdtype(array.dtype, np.integer)
    element = types["int8" if whole else "float8"].oid
    header = np.array([1, 0, element, array.size, 1], dtype=">i4").tobytes()
    elements = np.empty(array.size, dtype=[("length", ">i4"), ("value", ">i8" if whole else ">f8")])
    elements["length"], elements["value"] = 8, array
    return (_BigInts if whole else _Doubles)(header + elements.tobytes())
