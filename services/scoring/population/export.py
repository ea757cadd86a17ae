"""The facts as Parquet, with the policy beside them: what population work outside of the service's database reads.

Streamed, from one snapshot of the database: memory stays flat for any size. Every file is written under another name and
renamed when it is whole, the manifest last; what has no manifest is no export.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
from pyarrow import csv, parquet

from services.scoring.domain.calibrations import minor_per_unit
from services.scoring.population.facts import MANIFEST, POLICY, TABLES, Expression

CHUNK = 8 * 1024 * 1024  # bytes of CSV, and a row group


def export(
    connection: psycopg.Connection[Any], directory: Path, time_zone: str, currency: str | None
) -> None:
    """Write the facts and the latest policy as the connection's transaction sees them; an export that is there is replaced.

    ``currency``: the accounting currency if it is set, else that of the purchases.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MANIFEST).unlink(missing_ok=True)
    with connection.transaction():
        for setting in (("timezone", "UTC"), ("datestyle", "ISO"), ("statement_timeout", "0")):
            connection.execute("select set_config(%s, %s, true)", setting)
        rows = {table.get_name(): _write_table(connection, table, directory) for table in TABLES}
        latest = connection.execute(
            "select version, content, (select currency from accounting) from policy order by version desc limit 1"
        ).fetchone()
    assert latest is not None, "the first migration makes a policy"
    version, content, used = latest
    _write_json(directory / POLICY, {"version": version, "content": content})
    manifest = {
        "exported_at": datetime.now(UTC).isoformat(),
        "rows": rows,
        "time_zone": time_zone,
        "minor_per_unit": minor_per_unit(currency or used),
    }
    _write_json(directory / MANIFEST, manifest)


def _write_table(connection: psycopg.Connection[Any], table: Expression, directory: Path) -> int:
    """One table as one file; gives its rows."""
    name, schema = table.get_name(), table.schema().to_pyarrow()
    file = directory / f"{name}.parquet"
    unfinished = file.with_suffix(".unfinished")
    named = csv.ReadOptions(column_names=schema.names)
    typed = csv.ConvertOptions(
        column_types=schema,
        null_values=[""],
        strings_can_be_null=True,
        true_values=["t"],
        false_values=["f"],
    )
    rows = 0
    with (
        parquet.ParquetWriter(unfinished, schema) as writer,
        connection.cursor() as cursor,
        cursor.copy(
            f"copy (select {', '.join(schema.names)} from {name}) to stdout (format csv)".encode()
        ) as copy,
    ):
        for chunk in _chunks(copy):
            read = csv.read_csv(pa.BufferReader(chunk), named, convert_options=typed)
            writer.write_table(read)
            rows += len(read)
            print(f"{name}: {rows:,} rows", file=sys.stderr, flush=True)
    unfinished.rename(file)
    return rows


def _chunks(lines: Iterable[bytes | bytearray | memoryview]) -> Iterator[bytes]:
    """The same lines, many at once."""
    gathered = bytearray()
    for line in lines:
        gathered += line
        if len(gathered) >= CHUNK:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)


def _write_json(file: Path, content: object) -> None:
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    unfinished.rename(file)
