"""Metrics, RFM and tiers of everybody from nothing, by the one definition and by hand.

A million customers with ten million purchases, of which three per cent came back, are made set-based in a Postgres of its
own. The compiled definition and SQL written by hand for the same tables run in turns, each alone and with the same settings
of the session; then both results are compared, row by row. Then the facts are exported, and the same is done by DuckDB over
the files. The ratio is that of the best runs, because whatever else the machine does only makes a run longer; the least CPU
time of each stands beside it. Memory is the proportional set size of Postgres and of this process, sampled while the
definition runs. ``CUSTOMERS`` in the environment makes a smaller company.
"""

import contextlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import psutil
import psycopg

from services.scoring.app import SERVICE
from services.scoring.population.engines import DuckDB, Postgres, populate
from services.scoring.population.export import export
from services.scoring.rules.policy import Policy, parse
from shared import migrate
from tests import postgres
from tests.benchmarks.report import Figure
from tests.deployment import proportional_set_size

CUSTOMERS = int(os.environ.get("CUSTOMERS", "1000000"))
PURCHASES = 10 * CUSTOMERS
ROUNDS = 3
# The last thirty of 1,095 days are after it.
AS_OF = datetime(2025, 12, 1, tzinfo=UTC)
TIME_ZONE = "Europe/London"

_FILL = (
    f"""
        insert into customer (customer_id, state)
        select md5('customer ' || i)::uuid, case when i % 100 = 0 then 'erased' else 'active' end
        from generate_series(1, {CUSTOMERS}) i""",
    "drop index ix_purchase_customer_id_occurred_at",
    # Ids in the order of time, as the service makes them; a few customers buy much.
    f"""
        insert into purchase (
            purchase_id, customer_id, recorded_customer_id, occurred_at, amount_minor, returned_minor)
        select lpad(to_hex(i), 32, '0')::uuid, customer_id, customer_id,
               timestamptz '2023-01-01 00:00:00+00' + interval '1095 days' * (i / {PURCHASES}::float), amount_minor,
               case when i % 33 = 0 then amount_minor / (1 + i % 2) else 0 end
        from (
            select i, md5('customer ' || 1 + floor({CUSTOMERS} * power(chance, 1.5))::int)::uuid as customer_id,
                   100 + (-5000 * ln(1 - luck))::bigint as amount_minor
            from (select i, random() as chance, random() as luck from generate_series(1, {PURCHASES}) i) drawn) made""",
    "create index ix_purchase_customer_id_occurred_at on purchase (customer_id, occurred_at)",
    """
        insert into purchase_return (
            return_id, purchase_id, customer_id, recorded_customer_id, occurred_at, amount_minor, cancellation)
        select purchase_id, purchase_id, customer_id, customer_id, occurred_at + interval '10 days', returned_minor,
               amount_minor % 10 = 0
        from purchase where returned_minor > 0""",
    "vacuum analyze",
)

# By hand, for Postgres and DuckDB; where their words differ, the word is filled in.
_METRICS = f"""
    with back as (
        select purchase_id, sum(amount_minor)::bigint as amount_minor from purchase_return
        where occurred_at < timestamptz '{AS_OF}' and purchase_id is not null group by purchase_id),
    dated as (
        select p.customer_id, p.occurred_at, p.amount_minor, p.amount_minor - coalesce(b.amount_minor, 0) as left_minor,
               case when p.amount_minor > coalesce(b.amount_minor, 0)
                    then (p.occurred_at at time zone '{TIME_ZONE}')::date end as day
        from purchase p left join back b using (purchase_id) where p.occurred_at < timestamptz '{AS_OF}'),
    spaced as (
        select *, (day - lag(day) over (partition by customer_id order by day))::bigint as gap from dated),
    bought as (
        select customer_id, min(occurred_at) filter (where day is not null) as first_purchase_at,
               max(occurred_at) filter (where day is not null) as last_purchase_at,
               count(day) as purchase_count,
               sum(left_minor) filter (where day is not null) as counted_minor, sum(amount_minor) as gross_minor,
               max(occurred_at) as last_bought_at,
               count(*) filter (where day is not null and coalesce(gap, 1) > 0) as occasions,
               min(day) as first_day, max(day) as last_day, sum(gap * gap) as gap_square_sum,
               count(day) filter (where recent(30)) as count_30, sum(amount_minor) filter (where recent(30)) as bought_30,
               count(day) filter (where recent(90)) as count_90, sum(amount_minor) filter (where recent(90)) as bought_90,
               count(day) filter (where recent(365)) as count_365,
               sum(amount_minor) filter (where recent(365)) as bought_365
        from spaced group by customer_id),
    returned as (
        select customer_id, sum(amount_minor) filter (where not cancellation) as returned_minor,
               sum(amount_minor) filter (where cancellation) as cancelled_minor, max(occurred_at) as last_returned_at,
               sum(amount_minor) filter (where recent(30)) as returned_30,
               sum(amount_minor) filter (where recent(90)) as returned_90,
               sum(amount_minor) filter (where recent(365)) as returned_365
        from purchase_return where occurred_at < timestamptz '{AS_OF}' group by customer_id)
    select customer_id, first_purchase_at, last_purchase_at, coalesce(purchase_count, 0) as purchase_count,
           coalesce(counted_minor, 0)::bigint as counted_minor, coalesce(gross_minor, 0)::bigint as gross_minor,
           coalesce(returned_minor, 0)::bigint as returned_minor, coalesce(cancelled_minor, 0)::bigint as cancelled_minor,
           greatest(last_bought_at, last_returned_at) as last_fact_at, coalesce(occasions, 0) as occasions, first_day,
           last_day, coalesce(gap_square_sum, 0)::bigint as gap_square_sum,
           coalesce(count_30, 0) as count_30, (coalesce(bought_30, 0) - coalesce(returned_30, 0))::bigint as net_30,
           coalesce(count_90, 0) as count_90, (coalesce(bought_90, 0) - coalesce(returned_90, 0))::bigint as net_90,
           coalesce(count_365, 0) as count_365, (coalesce(bought_365, 0) - coalesce(returned_365, 0))::bigint as net_365
    from customer left join bought using (customer_id) left join returned using (customer_id)
    where state = 'active' and (last_bought_at is not null or last_returned_at is not null)
"""

_SCORES = """
    with counted as (
        select customer_id, {whole_days} as recency_days, purchase_count as frequency,
               gross_minor - returned_minor - cancelled_minor as monetary_minor
        from hand_metrics where purchase_count > 0),
    placed as (
        select *, (select count(*) from counted) as counted,
               rank() over (order by recency_days desc) - 1 as recency_worse,
               rank() over (order by frequency) - 1 as frequency_worse,
               rank() over (order by monetary_minor) - 1 as monetary_worse
        from counted),
    weighed as (select *, 20 * recency_worse + 40 * frequency_worse + 40 * monetary_worse as numerator from placed),
    ranked as (select *, rank() over (order by numerator) - 1 as score_worse from weighed),
    banded as (
        select *, case when counted >= 100 then 1 + 5 * recency_worse {divided_by} counted
                       when recency_days <= 30 then 5 when recency_days <= 90 then 4 when recency_days <= 180 then 3
                       when recency_days <= 365 then 2 else 1 end as r,
               case when counted >= 100 then 1 + 5 * frequency_worse {divided_by} counted
                    when frequency >= 10 then 5 when frequency >= 5 then 4 when frequency >= 3 then 3
                    when frequency >= 2 then 2 else 1 end as f,
               case when counted >= 100 then 1 + 5 * monetary_worse {divided_by} counted
                    when monetary_minor >= 1000000 then 5 when monetary_minor >= 200000 then 4
                    when monetary_minor >= 50000 then 3 when monetary_minor >= 10000 then 2 else 1 end as m
        from ranked)
    select *, (array[{segments}])[(r - 1) * 5 + (f + m + 1) {divided_by} 2] as segment,
           case when counted >= 100 then
                    case when 100 * score_worse >= 80 * counted then 'high'
                         when 100 * score_worse >= 50 * counted then 'medium' else 'low' end
                when monetary_minor >= 200000 then 'high' when monetary_minor >= 50000 then 'medium' else 'low'
           end as value_class,
           case when counted >= 100 then
                    case when 100 * score_worse >= 95 * counted then 'platinum'
                         when 100 * score_worse >= 80 * counted then 'gold'
                         when 100 * score_worse >= 50 * counted then 'silver' else 'standard' end
                when monetary_minor >= 1000000 then 'platinum' when monetary_minor >= 200000 then 'gold'
                when monetary_minor >= 50000 then 'silver' else 'standard'
           end as deserved_tier
    from banded
"""


def by_hand(policy: Policy, *, whole_days: str, divided_by: str) -> tuple[str, str]:
    """The two queries, in the words of an engine."""
    metrics = _METRICS
    for days in (30, 90, 365):
        since = f"occurred_at >= timestamptz '{AS_OF}' - interval '{days * 24} hours'"
        metrics = metrics.replace(f"recent({days})", since)
    segments = ", ".join(f"'{segment}'" for row in policy.segments for segment in row)
    return metrics, _SCORES.format(whole_days=whole_days, divided_by=divided_by, segments=segments)


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="regulars-") as folder:
        Path(folder).chmod(0o755)
        # Room for the write-ahead log of the filling; everything else as Postgres comes.
        with postgres.Postgres(Path(folder) / "postgres", max_wal_size="4GB") as server:
            migrate.upgrade(server.url, migrate.chains("scoring", SERVICE.migrations))
            with psycopg.connect(server.url, autocommit=True) as connection:
                fill(connection)
                policy = parse(*connection.execute("select version, content from policy").fetchone())  # type: ignore[misc]
                figures = on_postgres(connection, policy, server.cluster.pid)
                figures.append(exported(connection, Path(folder) / "facts"))
        return [*figures, over_parquet(Path(folder), policy)]


def fill(connection: psycopg.Connection[Any]) -> None:
    began = time.monotonic()
    for statement in _FILL:
        connection.execute(statement.encode())
    note(f"{PURCHASES:,} purchases after {time.monotonic() - began:.0f} s")


def on_postgres(connection: psycopg.Connection[Any], policy: Policy, postmaster: int) -> list[Figure]:
    engine = Postgres(connection)
    metrics, scores = by_hand(
        policy,
        whole_days=f"extract(day from timestamptz '{AS_OF}' - last_purchase_at)::bigint",
        divided_by="/",
    )

    def hand() -> None:
        engine.run("hand_metrics", metrics)
        engine.run("hand_score", scores)

    with Memory(postmaster) as memory:
        populate(engine, AS_OF, policy, TIME_ZONE, 100)
    ours, theirs = in_turns(postmaster, lambda: populate(engine, AS_OF, policy, TIME_ZONE, 100), hand)
    for mine, other in (("population_metrics", "hand_metrics"), ("population_score", "hand_score")):
        differing = connection.execute(
            f"select count(*) from ((table {mine} except all table {other}) union all"
            f" (table {other} except all table {mine})) differing".encode()
        ).fetchone()
        assert differing == (0,), (mine, differing)
    return [
        Figure(
            f"metrics, RFM and tiers of {CUSTOMERS:,} customers from {PURCHASES:,} purchases, in Postgres",
            "< 60 s",
            str(ours),
            ours.seconds < 60,
        ),
        Figure(
            "the same against SQL written by hand",
            "≤ 1.2",
            f"{ours.seconds / theirs.seconds:.2f} ({theirs}; CPU alone {ours.cpu / theirs.cpu:.2f})",
            ours.seconds <= 1.2 * theirs.seconds,
        ),
        Figure(
            "memory of Postgres and of the process meanwhile (PSS)",
            "< 2 GB",
            f"{memory.server / 1e6:,.0f} + {memory.own / 1e6:,.0f} MB",
            memory.server + memory.own < 2e9,
        ),
    ]


def exported(connection: psycopg.Connection[Any], facts: Path) -> Figure:
    with Memory(os.getpid()) as memory:
        began = time.monotonic()
        export(connection, facts, TIME_ZONE, "CNY")
        taken = time.monotonic() - began
    size = sum(file.stat().st_size for file in facts.iterdir())
    return Figure(
        f"{PURCHASES:,} purchases exported as Parquet: memory of the process (PSS)",
        "< 500 MB",
        f"{memory.own / 1e6:,.0f} MB, {taken:.1f} s, {size / 1e6:,.0f} MB of files",
        memory.own < 500e6,
    )


def over_parquet(folder: Path, policy: Policy) -> Figure:
    metrics, scores = by_hand(
        policy,
        whole_days=f"date_sub('day', last_purchase_at, timestamptz '{AS_OF}')",
        divided_by="//",
    )
    runs = iter(range(1_000))

    def open_engine() -> DuckDB:
        engine = DuckDB(folder / "facts", folder / f"out{next(runs)}")
        engine.open()
        return engine

    def ours() -> None:
        populate(open_engine(), AS_OF, policy, TIME_ZONE, 100)

    def hand() -> None:
        engine = open_engine()
        engine.run("hand_metrics", metrics)
        engine.run("hand_score", scores)

    mine, other = in_turns(os.getpid(), ours, hand)
    for name in ("metrics", "score"):
        one, two = (
            f"from read_parquet('{folder}/{run}/{result}_{name}.parquet')"
            for run, result in (("out0", "population"), ("out1", "hand"))
        )
        differing = duckdb.sql(
            f"select count(*) from ((({one}) except all ({two})) union all (({two}) except all ({one})))"
        ).fetchall()
        assert differing == [(0,)], (name, differing)
    return Figure(
        "the same by DuckDB over Parquet, against SQL written by hand",
        "≤ 2",
        f"{mine.seconds / other.seconds:.2f} ({mine} against {other})",
        mine.seconds <= 2 * other.seconds,
    )


@dataclass(frozen=True)
class Best:
    """Of several runs, each the least: seconds on the clock, and of CPU."""

    seconds: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s, CPU {self.cpu:.1f} s"


def in_turns(pid: int, ours: Callable[[], None], hand: Callable[[], None]) -> tuple[Best, Best]:
    """Run both several times; ``pid`` is the process whose CPU time, with that of its children, they take."""
    taken: tuple[list[Best], list[Best]] = ([], [])
    for _ in range(ROUNDS):
        for run, runs in zip((ours, hand), taken, strict=True):
            cpu, began = cpu_seconds(pid), time.monotonic()
            run()
            runs.append(Best(time.monotonic() - began, cpu_seconds(pid) - cpu))
    for who, runs in zip(("compiled", "by hand"), taken, strict=True):
        note(f"{who}: {'; '.join(str(each) for each in runs)}")
    one, other = (Best(min(each.seconds for each in runs), min(each.cpu for each in runs)) for runs in taken)
    return one, other


def cpu_seconds(pid: int) -> float:
    """Of a process, of its children and of those that have ended."""
    process = psutil.Process(pid)
    ended = process.cpu_times()
    total = ended.user + ended.system + ended.children_user + ended.children_system
    for child in process.children():
        with contextlib.suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            total += times.user + times.system
    return float(total)


class Memory:
    """The most that the processes of a server, and this one, take together while the context is open, in bytes."""

    def __init__(self, server: int) -> None:
        self.process = psutil.Process(server)
        self.server = self.own = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._sample)

    def _sample(self) -> None:
        while not self.over.wait(0.1):
            own = proportional_set_size(os.getpid())
            server = 0
            if self.process.pid != os.getpid():
                for each in (self.process, *self.process.children()):
                    try:
                        server += proportional_set_size(each.pid)
                    except (ProcessLookupError, FileNotFoundError):
                        continue  # a worker that is done
            if server + own > self.server + self.own:
                self.server, self.own = server, own

    def __enter__(self) -> "Memory":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
