"""Chains of Alembic without an alembic.ini: one for the tables of shared/, one per service.

Every database holds two chains: ``shared`` (schema and version table ``shared.alembic_version``), run first, then the
service's own (schema ``public``, version table ``alembic_version``). An ``env.py`` is three lines::

    from services.profile.tables import metadata
    from shared.migrate import run_environment

    run_environment(metadata)

Alembic itself is imported only where a migration runs: asking whether a chain is at its head is a file read and a query.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, MetaData, create_engine, text
from sqlalchemy.engine import make_url

# Two migrations of one database wait for each other here; the number only has to be ours.
MIGRATION_LOCK = 7_348_207_101


@dataclass(frozen=True)
class Chain:
    """One line of migrations: ``directory`` holds ``env.py`` and ``versions/``, ``schema`` its tables."""

    name: str
    directory: Path
    schema: str = "public"

    @property
    def version_table(self) -> str:
        return f"{self.schema}.alembic_version"

    def head(self) -> str:
        """The one revision that no other follows; raises ValueError for a chain that forks or is empty."""
        revisions, followed = set(), set()
        for file in (self.directory / "versions").glob("*.py"):
            source = file.read_text(encoding="utf-8")
            revisions |= _assigned("revision", source)
            followed |= _assigned("down_revision", source)
        heads = revisions - followed
        if len(heads) != 1:
            raise ValueError(f"the migrations of {self.name} have {len(heads)} heads: {sorted(heads)}")
        return heads.pop()


SHARED = Chain("shared", Path(__file__).parent / "migrations", "shared")


def chains(service: str, migrations: Path) -> tuple[Chain, Chain]:
    """The chains of a service's database, in the order in which they run."""
    return SHARED, Chain(service, migrations)


def _assigned(name: str, source: str) -> set[str]:
    return set(re.findall(rf"^{name}(?:\s*:[^=]+)?\s*=\s*[\"']([^\"']+)[\"']", source, re.MULTILINE))


def at_head(connection: Connection, chain: Chain) -> bool:
    return current(connection, chain) == chain.head()


def current(connection: Connection, chain: Chain) -> str | None:
    if connection.scalar(text("select to_regclass(:name)"), {"name": chain.version_table}) is None:
        return None
    version: str | None = connection.scalar(text(f"select max(version_num) from {chain.version_table}"))
    return version


def upgrade(
    url: str, wanted: Sequence[Chain], *, lock_timeout: str = "5s", statement_timeout: str = "15min"
) -> list[str]:
    """Bring ``wanted`` chains of one database to their heads; returns what was migrated, e.g. ``["shared 0003"]``.

    Each chain is one transaction under an advisory lock, so that two deployments starting at once do not race, and
    under a lock timeout, so that a migration never queues all traffic behind itself.
    """
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), pool_size=1)
    done = []
    try:
        for chain in wanted:
            with engine.connect() as connection:
                if at_head(connection, chain):
                    continue
                connection.rollback()
                _upgrade(connection, chain, lock_timeout, statement_timeout)
                done.append(f"{chain.name} {chain.head()}")
    finally:
        engine.dispose()
    return done


def _upgrade(connection: Connection, chain: Chain, lock_timeout: str, statement_timeout: str) -> None:
    from alembic import command

    with connection.begin():
        connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
        connection.execute(
            text(
                "select set_config('lock_timeout', :lock, true), set_config('statement_timeout', :statement, true)"
            ),
            {"lock": lock_timeout, "statement": statement_timeout},
        )
        if chain.schema != "public":
            connection.execute(text(f"create schema if not exists {chain.schema}"))
        configuration = _configuration(chain)
        configuration.attributes["connection"] = connection
        configuration.attributes["chain"] = chain
        command.upgrade(configuration, "head")


def _configuration(chain: Chain) -> Any:
    from alembic.config import Config

    configuration = Config()
    configuration.set_main_option("script_location", str(chain.directory))
    configuration.set_main_option("path_separator", "os")
    return configuration


def run_environment(*metadata: MetaData) -> None:
    """What an ``env.py`` calls: run the migrations on the connection that ``upgrade`` opened, or note the metadata for
    ``check``."""
    from alembic import context

    attributes = context.config.attributes
    if "metadata" in attributes:
        attributes["metadata"].extend(metadata)
        return
    chain: Chain = attributes["chain"]
    context.configure(
        connection=attributes["connection"],
        target_metadata=list(metadata),
        version_table_schema=chain.schema,
        include_schemas=chain.schema != "public",
    )
    context.run_migrations()


def check(url: str, chain: Chain) -> list[str]:
    """Where the tables in code and the migrated database differ; empty = they agree."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.environment import EnvironmentContext
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    metadata: list[MetaData] = []
    configuration = _configuration(chain)
    configuration.attributes["metadata"] = metadata
    script = ScriptDirectory.from_config(configuration)
    with EnvironmentContext(configuration, script):
        script.run_env()

    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), pool_size=1)
    try:
        with engine.connect() as connection:
            partitions = set(
                connection.scalars(
                    text(
                        "select relname::text from pg_class where relispartition and relnamespace = to_regnamespace(:schema)"
                    ),
                    {"schema": chain.schema},
                )
            )

            def ours(name: str | None, kind: str, parents: Any) -> bool:
                if kind == "schema":
                    return (name or "public") == chain.schema
                return not (kind == "table" and (name in partitions or name == "alembic_version"))

            differences = MigrationContext.configure(
                connection,
                opts={
                    "target_metadata": metadata,
                    "version_table_schema": chain.schema,
                    "include_schemas": chain.schema != "public",
                    "include_name": ours,
                    "compare_type": True,
                },
            )
            return [_shown(found) for found in compare_metadata(differences, metadata)]  # type: ignore[arg-type]
    finally:
        engine.dispose()


def _shown(difference: Any) -> str:
    """One difference in words; a list of them is one table's changed columns."""
    if isinstance(difference, list):
        return "; ".join(_shown(part) for part in difference)
    verb, *about = difference
    return f"{verb} " + " ".join(
        str(getattr(part, "name", None) or part) for part in about if part is not None
    )
