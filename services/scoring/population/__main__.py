"""python -m services.scoring.population --engine duckdb|spark --facts DIR --as-of MOMENT --out DIR

Metrics and scores of everybody as of a moment, from facts that ``python -m services.scoring export-facts`` wrote. Needs no
database.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.scoring.population.engines import OverParquet


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m services.scoring.population")
    parser.add_argument("--engine", choices=["duckdb", "spark"], required=True)
    parser.add_argument(
        "--facts", required=True, help="what export-facts wrote; with spark, a URL that it reads"
    )
    parser.add_argument("--as-of", required=True, type=_moment, help="only what happened before counts")
    parser.add_argument("--out", required=True, help="a new directory for the results")
    given = parser.parse_args(arguments)
    try:
        engine = _duckdb(given) if given.engine == "duckdb" else _spark(given)
    except ModuleNotFoundError as error:
        print(f"{error}: pip install 'regulars[population]' and, for Spark, pyspark", file=sys.stderr)
        return 2
    from services.scoring.population.engines import UnusableError, populate

    began = time.monotonic()
    try:
        export = engine.open()
        print(f"{export.rows['purchase']:,} purchases as of {given.as_of}", file=sys.stderr, flush=True)
        populate(engine, given.as_of, export.policy, export.time_zone, export.minor_per_unit)
    except UnusableError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{given.out}: done after {time.monotonic() - began:.1f} s", file=sys.stderr)
    return 0


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError("a moment with its offset, e.g. 2026-03-11T00:00:00Z")
    return moment.astimezone(UTC)


def _duckdb(given: argparse.Namespace) -> "OverParquet":
    from services.scoring.population.engines import DuckDB

    return DuckDB(Path(given.facts), Path(given.out))


def _spark(given: argparse.Namespace) -> "OverParquet":
    """In the session that spark-submit gives, or in a local one."""
    from pyspark.sql import SparkSession

    from services.scoring.population.engines import Spark

    return Spark(given.facts, given.out, SparkSession.builder.appName("regulars population").getOrCreate())


if __name__ == "__main__":
    sys.exit(main())
