from pathlib import Path

import psycopg
import pytest

from shared import migrate


def test_a_database_is_migrated_once(empty_database):
    assert migrate.upgrade(empty_database, [migrate.SHARED]) == [f"shared {migrate.SHARED.head()}"]
    assert migrate.upgrade(empty_database, [migrate.SHARED]) == []


def test_the_tables_of_shared_are_what_its_migrations_make(empty_database):
    migrate.upgrade(empty_database, [migrate.SHARED])
    assert migrate.check(empty_database, migrate.SHARED) == []


def test_a_column_that_no_migration_made_is_noticed(empty_database):
    migrate.upgrade(empty_database, [migrate.SHARED])
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("alter table shared.job drop column report, add column more text")
    differences = " ".join(migrate.check(empty_database, migrate.SHARED))
    assert "report" in differences and "more" in differences


def test_a_chain_that_forks_is_refused(tmp_path: Path):
    versions = tmp_path / "versions"
    versions.mkdir()
    (versions / "1.py").write_text('revision = "1"\ndown_revision = None\n')
    (versions / "2.py").write_text('revision: str = "2"\ndown_revision = "1"\n')
    assert migrate.Chain("x", tmp_path).head() == "2"
    (versions / "3.py").write_text('revision = "3"\ndown_revision = "1"\n')
    with pytest.raises(ValueError, match="2 heads"):
        migrate.Chain("x", tmp_path).head()
