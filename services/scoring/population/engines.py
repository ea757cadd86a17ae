"""Where population work runs. Each engine compiles an expression to its own SQL and keeps what comes out under a name:
Postgres as a table beside the service's own, DuckDB and Spark as Parquet, from exported facts.

Only the SQL is ibis's: its drivers are not used, so that the service needs neither pandas nor pyarrow.
"""

from abc import ABC, abstractmethod
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ibis
import psycopg

from services.scoring.population import definitions
from services.scoring.population.definitions import METRICS, SCORES
from services.scoring.population.facts import MANIFEST, POLICY, Export, Expression, read
from services.scoring.rules.policy import Policy

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class UnusableError(Exception):
    """A directory that is not what it should be, in a sentence for people."""


class Engine(ABC):
    dialect: str

    @abstractmethod
    def run(self, name: str, sql: str) -> None:
        """Make what ``sql`` selects, and let later statements read it as ``name``."""

    def keep(self, name: str, expression: Expression) -> Expression:
        """The table that holds what the expression gives now."""
        self.run(name, str(ibis.to_sql(expression, dialect=self.dialect)))
        return ibis.table(expression.schema(), name=name)


def populate(engine: Engine, as_of: datetime, policy: Policy, time_zone: str, minor_per_unit: int) -> None:
    """Make ``population_metrics`` and ``population_score`` of everybody as of a moment (see ``definitions``)."""
    metrics = engine.keep(METRICS, definitions.metrics(as_of, time_zone))
    engine.keep(SCORES, definitions.scores(metrics, as_of, policy, minor_per_unit))


class Postgres(Engine):
    """Tables of the service's database, made again by every run; unlogged, so that a crash of the server empties them."""

    dialect = "postgres"

    # Ten million purchases are sorted and hashed by two processes with this memory each; what it lacks goes to files. The
    # planner takes handing rows over to cost so much that it would not let another process sort.
    SETTINGS = (
        ("timezone", "UTC"),
        ("statement_timeout", "0"),
        ("work_mem", "256MB"),
        ("max_parallel_workers_per_gather", "1"),
        ("parallel_tuple_cost", "0.01"),
    )

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    def run(self, name: str, sql: str) -> None:
        with self.connection.transaction():
            for setting in self.SETTINGS:
                self.connection.execute("select set_config(%s, %s, true)", setting)
            self.connection.execute(f"drop table if exists {name}".encode())
            # ``create table as`` may use several processes; ``insert`` may not.
            self.connection.execute(f"create unlogged table {name} as {sql}".encode())
            self.connection.execute(f"analyze {name}".encode())


class OverParquet(Engine):
    """An engine that reads exported facts."""

    def open(self) -> Export:
        """Let statements read the facts; gives what stands beside them. Raises UnusableError for anything but a whole
        export."""
        manifest, policy = self.text(MANIFEST), self.text(POLICY)
        if manifest is None or policy is None:
            raise UnusableError(
                "this is no whole export of facts: its manifest, which is written last, is missing"
            )
        export = read(manifest, policy)
        for table, rows in export.rows.items():
            if (found := self.read_facts(table)) != rows:
                raise UnusableError(
                    f"{table} has {found:,} rows, but the manifest of the export says {rows:,}"
                )
        return export

    @abstractmethod
    def text(self, name: str) -> str | None:
        """What stands in a file beside the facts; None if there is none."""

    @abstractmethod
    def read_facts(self, table: str) -> int:
        """Let statements read a table of the export; gives its rows."""


class DuckDB(OverParquet):
    """One process over Parquet files of this machine."""

    dialect = "duckdb"

    def __init__(self, facts: Path, out: Path) -> None:
        import duckdb

        self.facts, self.out = facts, out
        self.connection = duckdb.connect()
        self.connection.execute("set TimeZone = 'UTC'")
        self.connection.execute("set preserve_insertion_order = false")
        self.connection.execute("set enable_progress_bar = false")
        self.connection.execute("create macro date_mi(day, before) as date_diff('day', before, day)")

    def text(self, name: str) -> str | None:
        file = self.facts / name
        return file.read_text(encoding="utf-8") if file.exists() else None

    def read_facts(self, table: str) -> int:
        return self._read(table, self.facts / f"{table}.parquet")

    def run(self, name: str, sql: str) -> None:
        file = self.out / f"{name}.parquet"
        if file.exists():
            raise _there_already(file)
        self.out.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".unfinished")
        self.connection.execute(f"copy ({sql}) to '{_quoted(unfinished)}' (format parquet)")
        unfinished.rename(file)
        self._read(name, file)

    def _read(self, name: str, file: Path) -> int:
        self.connection.execute(f"create view {name} as select * from read_parquet('{_quoted(file)}')")
        (rows,) = self.connection.execute(f"select count(*) from {name}").fetchall()[0]
        return int(rows)


class Spark(OverParquet):
    """A Spark session; ``facts`` and ``out`` may be URLs of whatever file systems it reaches.

    Nothing but SQL is handed to its workers: they need no Python package.
    """

    dialect = "pyspark"

    def __init__(self, facts: str, out: str, session: "SparkSession") -> None:
        self.facts, self.out, self.session = facts, out, session
        session.conf.set("spark.sql.session.timeZone", "UTC")
        session.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
        session.sql(
            "create or replace temporary function timezone(zone string, moment timestamp) returns timestamp"
            " return from_utc_timestamp(moment, zone)"
        )
        session.sql(
            "create or replace temporary function date_mi(day date, before date) returns int return datediff(day, before)"
        )

    def text(self, name: str) -> str | None:
        from pyspark.errors import AnalysisException

        try:
            (content,) = self.session.read.text(f"{self.facts}/{name}", wholetext=True).collect()[0]
        except AnalysisException as error:
            if error.getCondition() != "PATH_NOT_FOUND":
                raise
            return None
        return str(content)

    def read_facts(self, table: str) -> int:
        return self._read(table, f"{self.facts}/{table}.parquet").count()

    def run(self, name: str, sql: str) -> None:
        from pyspark.errors import AnalysisException

        path = f"{self.out}/{name}.parquet"
        try:
            self.session.sql(sql).write.parquet(path)
        except AnalysisException as error:
            if error.getCondition() != "PATH_ALREADY_EXISTS":
                raise
            raise _there_already(path) from error
        self._read(name, path)

    def _read(self, name: str, path: str) -> "DataFrame":
        frame = self.session.read.parquet(path)
        frame.createOrReplaceTempView(name)
        return frame


def _there_already(path: Path | str) -> UnusableError:
    return UnusableError(f"{path} is there already: every run writes into a directory of its own")


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
