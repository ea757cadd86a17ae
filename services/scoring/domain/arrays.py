"""Numbers out of the database as numpy arrays, without a Python object for each: a million customers are some megabytes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session

_HEADER = 19  # of a binary COPY: signature, flags and the length of an extension that there is not
_TRAILER = 2


def arrays(
    session: Session, query: str, parameters: Mapping[str, Any], names: Sequence[str]
) -> dict[str, npt.NDArray[np.int64]]:
    """The columns of ``query``, which are all bigint and never null, by ``names`` in their order; %(name)s are parameters."""
    connection: Any = session.connection().connection.driver_connection
    received = bytearray()
    with (
        connection.cursor() as cursor,
        cursor.copy(f"copy ({query}) to stdout (format binary)", parameters) as copy,
    ):
        for block in copy:
            received += block
    row = np.dtype(
        [("fields", ">i2")]
        + [field for name in names for field in ((f"{name} length", ">i4"), (name, ">i8"))]
    )
    rows = np.frombuffer(
        received, row, offset=_HEADER, count=(len(received) - _HEADER - _TRAILER) // row.itemsize
    )
    return {name: rows[name].astype(np.int64) for name in names}
