"""Everybody as of a moment, equal on three engines, and equal to what the service counts and scores event by event."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from services.scoring.app import SERVICE, export_facts
from services.scoring.population.__main__ import main
from services.scoring.population.definitions import METRICS, SCORES, WINDOWS
from services.scoring.population.engines import DuckDB, Postgres, Spark, UnusableError, populate
from services.scoring.population.export import export
from services.scoring.population.facts import MANIFEST
from services.scoring.rules import rfm
from services.scoring.rules.policy import Policy, parse
from shared.events.envelope import Event
from shared.events.profile import PurchaseRecorded
from tests.scoring.test_calibrations import many
from tests.scoring.test_merges import erased, merge
from tests.scoring.test_properties import SLOW, Bought, banded, events_of, histories, undone, unmatched
from tests.scoring.world import MIDNIGHT, NOON, World, days

# One session of Spark for all of them.
pytestmark = pytest.mark.xdist_group("spark")

Rows = dict[str, dict[str, tuple[Any, ...]]]


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two workers in a JVM of this process; its own zone is not UTC, so that nothing may rely on it."""
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("warehouse")))
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.codegen.wholeStage", "false")  # a few hundred rows: compiling takes longer
        .config("spark.sql.session.timeZone", "America/New_York")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture
def committed(service: Any) -> Any:
    """``committed(time_zone=…)``: a world whose facts another connection can read, as an export does."""
    return lambda **more: World(service(SERVICE, committing=True, **more))


def policy_of(world: World) -> Policy:
    with world.scoring.sessions() as session:
        return parse(*session.execute(text("select version, content from policy")).one())


def on_postgres(
    world: World, as_of: datetime, *, time_zone: str = "UTC", policy: Policy | None = None
) -> Rows:
    """By name of the result and customer."""
    with world.scoring.sessions.begin() as session:
        driver = session.connection().connection.driver_connection
        populate(Postgres(driver), as_of, policy or policy_of(world), time_zone, 100)
        return {name: keyed(driver.execute(f"select * from {name}").fetchall()) for name in (METRICS, SCORES)}


def keyed(rows: Sequence[Sequence[Any]]) -> dict[str, tuple[Any, ...]]:
    """By customer; ids as text and moments in UTC, whatever an engine gives."""
    found = {str(row[0]): tuple(plain(each) for each in row[1:]) for row in rows}
    assert len(found) == len(rows), "one row per customer"
    return found


def plain(value: Any) -> Any:
    if isinstance(value, datetime):
        assert value.tzinfo is not None
        return value.astimezone(UTC)
    return value


def in_files(out: Path) -> Rows:
    """The results that were written, by the same reader whoever wrote them."""
    import pyarrow.parquet as parquet

    found: Rows = {}
    for name in (METRICS, SCORES):
        table = parquet.read_table(out / f"{name}.parquet")
        found[name] = keyed([tuple(row.values()) for row in table.to_pylist()])
    return found


def eventful(world: World, count: int = 150) -> None:
    """Returns of every kind, cancellations, an exchange, a merge, an erased customer, one with returns alone."""
    many(world, count)
    names = [f"c{i:03}" for i in range(count)]
    amounts = {name: 100 * (i + 1) for i, name in enumerate(names)}
    world.happens(
        *(world.returned(name, f"{name}-0", amounts[name] // 2, NOON - days(3)) for name in names[::7]),
        *(world.returned(name, f"{name}-0", amounts[name], NOON - days(2)) for name in names[3::11]),
        *(world.cancelled(name, f"{name}-0", amounts[name], NOON - days(2)) for name in names[5::11]),
        *(world.returned(name, None, 70, NOON - days(4)) for name in names[::13]),
        # Two on one day, in two zones or in one.
        *(world.purchase(name, f"{name}-late", 900, NOON + days(0.25)) for name in names[::4]),
        *(world.purchase(name, f"{name}-later", 800, NOON + days(0.4)) for name in names[::4]),
        world.registered("only returns"),
        world.returned("only returns", None, 500),
        world.registered("prospect"),
    )
    instead = world.purchase("c020", "instead", 7_000, NOON - days(1))
    exchanged = world.returned(
        "c020", "c020-0", 500, NOON - days(1), replacement_purchase_id=instead.purchase_id
    )
    world.happens(instead, exchanged)
    world.happens(*merge(world, "c010", "c011"), *merge(world, "c012", "c011"), erased(world, "c013"))


SERVICES_METRICS = """
    select cast(m.customer_id as text), first_purchase_at, last_purchase_at, purchase_count, counted_minor, gross_minor,
           returned_minor, cancelled_minor, last_fact_at
    from metrics m join customer using (customer_id) where state = 'active'
"""
SERVICES_SCORES = """
    select cast(s.customer_id as text), m.purchase_count, m.gross_minor - m.returned_minor - m.cancelled_minor, c.counted,
           recency_worse, frequency_worse, monetary_worse, numerator, score_worse, s.r, s.f, s.m, segment, value_class, tier
    from score s join metrics m using (customer_id) join tier using (customer_id)
    join calibration c on c.calibration_id = s.calibration_id where r is not null
"""


def services_own(world: World, query: str) -> dict[str, tuple[Any, ...]]:
    with world.scoring.sessions() as session:
        return keyed([tuple(row) for row in session.execute(text(query))])


@pytest.mark.parametrize("count", [150, 30])
def test_after_a_calibration_metrics_scores_and_tiers_equal_the_services(world: World, count: int) -> None:
    """Banded by the population, and by fixed thresholds in a small base."""
    eventful(world, count)
    world.happens(world.purchase("c001", "silver", 500_00), world.purchase("c002", "gold", 2_000_00))
    world.calibrated(MIDNIGHT)
    population = on_postgres(world, MIDNIGHT)
    known = 8
    assert {who: row[:known] for who, row in population[METRICS].items()} == services_own(
        world, SERVICES_METRICS
    )
    # Without the recency in days, which the service does not keep.
    scores = {who: row[1:] for who, row in population[SCORES].items()}
    assert scores == services_own(world, SERVICES_SCORES)
    assert len({row[-1] for row in scores.values()}) > 1, "several tiers"


def test_facts_at_or_after_as_of_are_not_counted_as_a_calibration_does_not_count_them(world: World) -> None:
    eventful(world)
    # A purchase before as_of that came back after it still counted then.
    as_of = NOON - days(2.5)
    world.calibrated(as_of)
    scores = on_postgres(world, as_of)[SCORES].values()
    drawn = {
        (measure, value, worse)
        for recency, f, m, _, *worse_counts, numerator, s_worse, _r, _f, _m, _segment, _class, _tier in scores
        for measure, value, worse in zip(
            "rfms", (-recency, f, m, numerator), (*worse_counts, s_worse), strict=True
        )
    }
    with world.scoring.sessions() as session:
        stored = session.execute(text("select measure, value, worse_count from distribution")).all()
    assert drawn == {tuple(row) for row in stored}
    with world.scoring.sessions() as session:
        assert session.scalar(text("select counted from calibration")) == len(scores)


@pytest.mark.parametrize("time_zone", ["Europe/London", "Asia/Shanghai"])
def test_three_engines_give_equal_rows(committed: Any, spark: Any, tmp_path: Path, time_zone: str) -> None:
    world = committed(time_zone=time_zone)
    eventful(world)
    # Around both changes of London's clocks of 2025: half past midnight of summer time is the day before in UTC.
    for k, hours in enumerate([-0.6, -0.5, -0.4, 0, 0.5, 1, 1.5, 22.5, 23, 23.5, 24, 24.5]):
        for change in (datetime(2025, 3, 30, tzinfo=UTC), datetime(2025, 10, 26, tzinfo=UTC)):
            world.happens(world.purchase("c001", f"{change}{k}", 100, change + days(hours / 24)))
    as_of = NOON + days(0.3) + days(1 / 86_400_000_000)
    facts, out = tmp_path / "facts", tmp_path / "it's"
    assert export_facts(world.scoring.settings, str(facts)) == 0
    expected = on_postgres(world, as_of, time_zone=time_zone)
    assert len(expected[SCORES]) > 100
    arguments = ["--facts", str(facts), "--as-of", as_of.isoformat(), "--out"]
    for engine in ("duckdb", "spark"):
        assert main(["--engine", engine, *arguments, str(out / engine)]) == 0
        assert in_files(out / engine) == expected


def test_a_small_base_is_banded_by_thresholds_on_every_engine(
    committed: Any, spark: Any, tmp_path: Path
) -> None:
    world = committed()
    many(world, 40)
    assert export_facts(world.scoring.settings, str(tmp_path / "facts")) == 0
    expected = on_postgres(world, MIDNIGHT)
    small = policy_of(world)
    assert expected[SCORES] != on_postgres(world, MIDNIGHT, policy=replace(small, small_base=1))[SCORES]
    duck = DuckDB(tmp_path / "facts", tmp_path / "duckdb")
    on_spark = Spark(str(tmp_path / "facts"), str(tmp_path / "spark"), spark)
    for engine, out in ((duck, "duckdb"), (on_spark, "spark")):
        export = engine.open()
        populate(engine, MIDNIGHT, export.policy, export.time_zone, export.minor_per_unit)
        assert in_files(tmp_path / out) == expected
        with pytest.raises(UnusableError, match="is there already"):
            populate(engine, MIDNIGHT, export.policy, export.time_zone, export.minor_per_unit)


# The same in plain Python.


def recomputed(
    world: World, events: Sequence[Event], as_of: datetime, time_zone: str, policy: Policy
) -> Rows:
    metrics: dict[str, tuple[Any, ...]] = {}
    people = {}
    for name in world.customers:
        who = world.customer(name)
        mine = [
            each
            for each in events
            if getattr(each, "customer_id", None) == who and getattr(each, "occurred_at", as_of) < as_of
        ]
        if not mine:
            continue
        bought = [each for each in mine if isinstance(each, PurchaseRecorded)]
        back = [each for each in mine if not isinstance(each, PurchaseRecorded)]
        left = {
            each: each.accounting_total_minor
            - sum(b.accounting_amount_minor for b in back if b.purchase_id == each.purchase_id)
            for each in bought
        }
        counted = [each for each in bought if left[each] > 0]
        moments = [each.occurred_at for each in counted]
        occasions = sorted({moment.astimezone(ZoneInfo(time_zone)).date() for moment in moments})
        gross = sum(each.accounting_total_minor for each in bought)
        returned = sum(b.accounting_amount_minor for b in back if b.type.endswith("returned.v1"))
        cancelled = sum(b.accounting_amount_minor for b in back if b.type.endswith("cancelled.v1"))
        rolling: list[int] = []
        for window in WINDOWS:
            since = as_of - days(window)
            rolling.append(sum(1 for each in counted if each.occurred_at >= since))
            rolling.append(
                sum(each.accounting_total_minor for each in bought if each.occurred_at >= since)
                - sum(each.accounting_amount_minor for each in back if each.occurred_at >= since)
            )
        metrics[str(who)] = (
            min(moments, default=None),
            max(moments, default=None),
            len(counted),
            sum(left[each] for each in counted),
            gross,
            returned,
            cancelled,
            max(each.occurred_at for each in mine),
            len(occasions),
            occasions[0] if occasions else None,
            occasions[-1] if occasions else None,
            sum((later - earlier).days ** 2 for earlier, later in pairwise(occasions)),
            *rolling,
        )
        if counted:
            recency = rfm.whole_days(max(moments), as_of)
            people[str(who)] = (recency, len(counted), gross - returned - cancelled)
    bands = dict(zip(people, banded(policy, list(people.values())), strict=True))
    return {METRICS: metrics, SCORES: {who: (*people[who], *bands[who]) for who in people}}


def told(population: Rows) -> Rows:
    """The columns of scores that ``recomputed`` has."""
    scores = {
        who: (recency, f, m, *bands, segment, value, tier, numerator)
        for who, (recency, f, m, _, _, _, _, numerator, _, *bands, segment, value, tier) in population[
            SCORES
        ].items()
    }
    return {METRICS: population[METRICS], SCORES: scores}


@settings(**SLOW | {"max_examples": 20})
@given(
    histories,
    unmatched,
    st.integers(-45 * 24, 24),
    st.sampled_from(["UTC", "Europe/London", "Asia/Shanghai", "America/St_Johns"]),
    st.sampled_from([1, 100]),
)
def test_any_facts_give_the_rows_of_plain_python(
    world: World,
    tmp_path_factory: pytest.TempPathFactory,
    history: list[Bought],
    returns: list[tuple[int, int, int]],
    hours: int,
    time_zone: str,
    small_base: int,
) -> None:
    as_of = NOON + days(hours / 24)
    with undone(world) as fresh:
        events = events_of(fresh, history, returns)
        fresh.happens(*events)
        policy = replace(policy_of(fresh), small_base=small_base)
        rows = on_postgres(fresh, as_of, time_zone=time_zone, policy=policy)
        expected = recomputed(fresh, events, as_of, time_zone, policy)
        assert told(rows) == expected
        folder = tmp_path_factory.mktemp("example")
        with fresh.scoring.sessions() as session:
            export(session.connection().connection.driver_connection, folder, time_zone, None)
        duck = DuckDB(folder, folder / "out")
        assert duck.open().rows["purchase"] == len(history)
        populate(duck, as_of, policy, time_zone, 100)
        assert in_files(folder / "out") == rows


def test_a_calendar_day_is_the_companys_and_days_between_are_not_hours(world: World) -> None:
    # 23:30 and 00:30 in UTC are one night in London's summer, and the night of the change has 23 hours.
    night = datetime(2025, 3, 29, 23, 30, tzinfo=UTC)
    world.happens(
        world.registered("ann"),
        *(world.purchase("ann", f"P{k}", 100, night + days(k / 24)) for k in (0, 0.4, 1, 23, 23.6, 24.6)),
    )
    occasions = {}
    for zone in ("UTC", "Europe/London", "Asia/Shanghai"):
        ((*_, last_fact_at, count, first, last, squares, _, _, _, _, _, _),) = on_postgres(
            world, MIDNIGHT, time_zone=zone
        )[METRICS].values()
        assert last_fact_at == night + days(24.6 / 24)
        occasions[zone] = (count, first, last, squares)
    assert occasions == {
        "UTC": (3, date(2025, 3, 29), date(2025, 3, 31), 2),
        "Europe/London": (3, date(2025, 3, 29), date(2025, 3, 31), 2),
        "Asia/Shanghai": (2, date(2025, 3, 30), date(2025, 3, 31), 1),
    }


def test_of_a_half_written_export_nothing_is_computed(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many(world, 3)
    facts = tmp_path / "facts"

    def exported() -> None:
        with world.scoring.sessions() as session:
            export(session.connection().connection.driver_connection, facts, "UTC", None)

    def run() -> int:
        arguments = ["--facts", str(facts), "--as-of", "2026-03-11T00:00:00Z", "--out", str(tmp_path / "out")]
        return main(["--engine", "duckdb", *arguments])

    exported()
    (facts / MANIFEST).unlink()
    assert run() == 1
    assert "no whole export" in capsys.readouterr().err
    exported()
    said = json.loads((facts / MANIFEST).read_text())
    (facts / MANIFEST).write_text(json.dumps(said | {"rows": said["rows"] | {"purchase": 13}}))
    assert run() == 1
    assert "purchase has 12 rows, but the manifest of the export says 13" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    exported()
    assert run() == 0
    capsys.readouterr()
    assert run() == 1
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize("engine", ["duckdb", "spark"])
def test_what_is_no_export_is_refused(
    spark: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], engine: str
) -> None:
    arguments = ["--facts", str(tmp_path), "--as-of", "2026-03-11T00:00:00Z", "--out", str(tmp_path / "out")]
    assert main(["--engine", engine, *arguments]) == 1
    assert "no whole export" in capsys.readouterr().err


def test_without_what_it_needs_an_export_says_what_to_install(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "services.scoring.population.export")
    assert export_facts(world.scoring.settings, str(tmp_path)) == 2
    assert "pip install 'regulars[population]'" in capsys.readouterr().err


def test_an_export_that_fails_leaves_no_whole_one_behind(world: World, tmp_path: Path) -> None:
    many(world, 3)
    with world.scoring.sessions() as session:
        driver = session.connection().connection.driver_connection
        export(driver, tmp_path, "UTC", None)
        session.execute(text("savepoint whole"))
        session.execute(text("alter table purchase_return rename to elsewhere"))
        with pytest.raises(psycopg.errors.UndefinedTable):
            export(driver, tmp_path, "UTC", None)
        session.execute(text("rollback to savepoint whole"))
    with pytest.raises(UnusableError):
        DuckDB(tmp_path, tmp_path / "out").open()


def test_on_postgres_neither_pandas_nor_pyarrow_is_needed() -> None:
    """Nor the drivers of ibis: the service is installed without them."""
    program = """
import sys
from datetime import datetime
sys.modules |= dict.fromkeys(("pandas", "pyarrow", "duckdb", "pyspark"))
from services.scoring.population import definitions, engines
import ibis
print(ibis.to_sql(definitions.metrics(datetime.fromisoformat("2026-03-11T00:00:00Z"), "UTC"), dialect="postgres"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("SELECT")
