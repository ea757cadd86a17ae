"""The scoring service: what it consists of."""

import json
import secrets
import sys
from pathlib import Path

import psycopg
from sqlalchemy.engine import make_url

from services.scoring import jobs, reactions
from services.scoring.domain.facts import METRICS_FROM_FACTS
from services.scoring.domain.merges import FACTS
from services.scoring.domain.policies import AUDITED_ROWS
from services.scoring.tables import metadata
from shared import migrate, verification
from shared.database import open_engine, open_sessions
from shared.merges import everything_is_with_its_owner
from shared.messaging import outbox
from shared.messaging.bus import Bus, open_bus
from shared.messaging.consumer import Applied, apply
from shared.sealing import Keyring
from shared.service import Service
from shared.settings import Settings

_WHOSE = "join customer c using (customer_id)"
# Tiers are a path, not a sum: of those who ever took part in a merge, whose parts are heard of in any order, they stay out.
_NEVER_MERGED = f"{_WHOSE} where not c.merged_ever"

# As-of dates, effective times and ids stay out: they differ between two deployments that were told the same.
STATE = {
    "customers": (
        "select concat(natural_key, '|', kind, '|', country, '|', language, '|', time_zone, '|', state) as row"
        " from customer where registered_at is not null or state <> 'active'"
    ),
    "metrics": (
        "select concat(c.natural_key, '|', extract(epoch from m.first_purchase_at), '|',"
        " extract(epoch from m.last_purchase_at), '|', m.purchase_count, '|', m.counted_minor, '|', m.occasions, '|',"
        " m.gap_square_sum, '|', m.recent_days, '|', m.gross_minor, '|', m.returned_minor, '|', m.cancelled_minor, '|', extract(epoch from m.last_fact_at)) as row"
        f" from metrics m {_WHOSE}"
    ),
    "scores": (
        "select concat(c.natural_key, '|', s.r, '|', s.f, '|', s.m, '|', s.segment, '|', s.numerator, '|', s.score_worse,"
        f" '|', s.value_class) as row from score s {_WHOSE}"
    ),
    "outlooks": (
        "select concat(c.natural_key, '|', o.stage, '|', o.churn_band, '|', o.trend, '|', o.clv_minor, '|', o.moves_on) as row"
        f" from outlook o {_WHOSE}"
    ),
    "tiers": f"select concat(c.natural_key, '|', t.tier, '|', t.downgrade_due_at is not null) as row from tier t {_NEVER_MERGED}",
    "tier_changes": (
        "select concat(c.natural_key, '|', t.previous_tier, '|', t.tier, '|', t.reason, '|', t.initial) as row"
        f" from tier_change t {_NEVER_MERGED}"
    ),
    "satisfaction": (
        "select concat(c.natural_key, '|', s.satisfaction, '|', s.measure) as row"
        " from satisfaction s join customer c on c.customer_id = s.recorded_customer_id"
    ),
    "acquisitions": (
        "select concat(c.natural_key, '|', a.channel) as row"
        " from acquisition a join customer c on c.customer_id = a.recorded_customer_id"
    ),
    "traits": (
        "select concat(c.natural_key, '|', t.region, '|', t.acquisition_channel, '|', t.tags) as row"
        f" from trait t {_WHOSE}"
    ),
}

INVARIANTS = {
    "metrics_equal_facts": f"""
        select count(*) = 0
            from ({METRICS_FROM_FACTS}) f full join metrics m using (customer_id)
            where (m.first_purchase_at, m.last_purchase_at, m.purchase_count, m.counted_minor, m.occasions,
                   m.gap_square_sum, m.recent_days, m.gross_minor, m.returned_minor, m.cancelled_minor, m.last_fact_at)
               is distinct from
                  (f.first_purchase_at, f.last_purchase_at, f.purchase_count, f.counted_minor, f.occasions,
                   f.gap_square_sum, f.recent_days, f.gross_minor, f.returned_minor, f.cancelled_minor, f.last_fact_at)""",
    # Counted, not "not exists": for a first row the planner would compare every purchase with every return.
    "returns_stand_on_their_purchases": """
        select count(*) = 0 from purchase p
        left join (select purchase_id, sum(amount_minor) as amount_minor from purchase_return group by purchase_id) r
            using (purchase_id)
        where p.returned_minor <> coalesce(r.amount_minor, 0)""",
    "bands_in_range": """
        select not exists (
            select from score where num_nulls(r, f, m, segment, value_class) not in (0, 5)
                or not (coalesce(r, 1) between 1 and 5 and coalesce(f, 1) between 1 and 5
                        and coalesce(m, 1) between 1 and 5))""",
    "whoever_has_a_score_has_an_outlook": """
        select not exists (
            select from score s full join outlook o using (customer_id)
            where s.customer_id is null or o.customer_id is null)""",
    "stages_are_their_last_change": """
        select count(*) = 0 from outlook o left join (
                select distinct on (customer_id) customer_id, stage from stage_change
                order by customer_id, stage_change_id desc) last using (customer_id)
            where o.stage is distinct from last.stage""",
    "tiers_are_their_last_change": """
        select count(*) = 0 from tier t full join (
                select distinct on (customer_id) customer_id, tier from tier_change
                order by customer_id, tier_change_id desc) last using (customer_id)
            join customer c using (customer_id)
            where c.merged_into is null and t.tier is distinct from last.tier""",
    # The tiers of those who are merged rest, and nobody rests who stands alone.
    "merged_tiers_rest": """
        select not exists (
                select from tier join customer c using (customer_id) where c.merged_into is not null)
            and not exists (
                select from tier_resting join customer c using (customer_id) where c.merged_into is null
                    and not exists (select from customer loser where loser.merged_into = c.customer_id))""",
    # Of those who stand for themselves: who is marked holds exactly what was given, and nobody else is marked.
    "manual_tiers_are_held": """
        select not exists (
            select from tier t full join manual_tier m using (customer_id) join customer c using (customer_id)
            where c.merged_into is null and (coalesce(t.manual, false) <> (m.customer_id is not null)
                or t.manual and t.tier <> m.tier))""",
    "facts_are_with_their_owners": everything_is_with_its_owner("customer", FACTS),
    "clusters_are_of_those_who_are_there": """
        select not exists (
            select from customer_cluster join customer c using (customer_id) where c.state <> 'active')""",
    "recommendations_are_whole": """
        select count(*) = 0
        from recommendation_set s full join (
            select set_id, count(*) filter (where is_related) as related_count
            from (select set_id, true as is_related from related_product
                  union all select set_id, false from bestseller) row group by set_id) r using (set_id)
        where s.state is null or s.state = 'current' and s.related_count <> coalesce(r.related_count, 0)""",
    "tiers_only_after_a_calibration": (
        "select not exists (select from tier) or exists (select from calibration where effective_at is not null)"
    ),
}


def rebuild(settings: Settings, *rest: str) -> int:
    """metrics from the topics into a fresh database, without a relay; prints metrics_hash, as verify does"""
    server = make_url(settings.database_url).set(drivername="postgresql")
    name = f"scoring_rebuild_{secrets.token_hex(4)}"
    bus = open_bus(settings.bus)
    with psycopg.connect(server.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute(f'create database "{name}"')
        try:
            applied, metrics_hash = _rebuild_into(
                server.set(database=name).render_as_string(hide_password=False), settings, bus
            )
        finally:
            bus.close()
            connection.execute(f'drop database "{name}" with (force)')
    print(json.dumps({"metrics_hash": metrics_hash, "events_applied": applied.applied}))
    if applied.parked:
        print(f"{applied.parked} events could not be applied; the hash is without them", file=sys.stderr)
        return 1
    return 0


def _rebuild_into(url: str, settings: Settings, bus: Bus) -> tuple[Applied, str]:
    migrate.upgrade(url, migrate.chains(SERVICE.name, SERVICE.migrations))
    engine = open_engine(url, pool_size=2, statement_timeout="0", name="scoring rebuild")
    try:
        sessions = open_sessions(engine, settings=settings, keyring=Keyring(settings.sealing_keys))
        outbox.install(sessions)
        total = Applied()
        for records in bus.read_from_start(reactions.CONSUMER.topics):
            done = apply(sessions, reactions.CONSUMER, records)
            total = Applied(*(one + other for one, other in zip(total, done, strict=True)))
        return total, verification.hash_of(SERVICE, engine, "metrics_hash")
    finally:
        engine.dispose()


def export_facts(settings: Settings, *rest: str) -> int:
    """facts and policy as Parquet into a directory, for population work on DuckDB or Spark"""
    if len(rest) != 1:
        print("usage: python -m services.scoring export-facts DIR", file=sys.stderr)
        return 2
    try:
        # Here, because a process that answers requests needs neither ibis nor pyarrow.
        from services.scoring.population.export import export

        with psycopg.connect(_driver_url(settings)) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            export(connection, Path(rest[0]), settings.time_zone, settings.currency)
    except ModuleNotFoundError as error:
        print(f"{error}: pip install 'regulars[population]'", file=sys.stderr)
        return 2
    return 0


def _driver_url(settings: Settings) -> str:
    url = make_url(settings.database_url).set(drivername="postgresql")
    return url.render_as_string(hide_password=False)


SERVICE = Service(
    name="scoring",
    metadata=metadata,
    migrations=Path(__file__).parent / "migrations",
    api="services.scoring.api",
    consumers=(reactions.CONSUMER,),
    jobs=jobs.JOBS,
    schedule=jobs.SCHEDULE,
    audited_rows=AUDITED_ROWS,
    state=STATE,
    invariants=INVARIANTS,
    hashes={"metrics_hash": ("metrics",)},
    commands={"rebuild": rebuild, "export-facts": export_facts},
)
