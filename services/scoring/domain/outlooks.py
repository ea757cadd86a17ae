"""Outlooks and stages of customers, kept current: from their metrics and the models of the calibration in force.

SQL brings what is known of each customer as integers, rules/outlook and rules/stages say what follows, and one statement
writes it. The same function serves one customer of an event and the thousands of a re-banding, so that both agree. What is
announced is the difference to what stood there before, once for all facts that were heard together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isnan
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.scoring.domain.calibrations import Calibration
from services.scoring.domain.causes import Cause
from services.scoring.domain.facts import books
from services.scoring.rules.codes import STAGES, TRENDS
from shared.events.envelope import Event
from shared.events.scoring import ChurnRiskChanged, LifecycleStageChanged
from shared.messaging.outbox import announce

# Everything as bigint (days as proleptic ordinals, codes as positions) or double precision, nothing null, in the order of the
# ids that are asked for. What a customer's first occasion was worth is not in their mean: it says less about those to come
# (Fader & Hardie 2013).
_KNOWN = """
    select a.ord, m.occasions, m.gap_square_sum, coalesce(first.day - date '0001-01-01' + 1, 0)::bigint,
           coalesce(m.recent_days[1] - date '0001-01-01' + 1, 0)::bigint,
           coalesce(m.recent_days[2] - date '0001-01-01' + 1, 0)::bigint,
           coalesce(m.recent_days[3] - date '0001-01-01' + 1, 0)::bigint,
           ((v.as_of at time zone %(zone)s)::date - date '0001-01-01' + 1)::bigint, m.counted_minor,
           coalesce(opening.worth_minor, 0)::bigint, m.gross_minor - m.returned_minor - m.cancelled_minor,
           coalesce(w.recent_minor, 0)::bigint, coalesce(w.before_minor, 0)::bigint,
           coalesce(w.square_sum, 0)::double precision,
           coalesce(array_position(cast(%(stages)s as text[]), o.stage) - 1, -1)::bigint,
           coalesce(array_position(cast(%(bands)s as text[]), o.churn_band) - 1, -1)::bigint
    from unnest(cast(%(customers)s as uuid[])) with ordinality as a (customer_id, ord)
    join score s using (customer_id)
    join metrics m using (customer_id)
    left join outlook o using (customer_id)
    cross join lateral (select greatest(s.as_of, cast(%(as_of)s as timestamptz)) as as_of) v
    cross join lateral (select (m.first_purchase_at at time zone %(zone)s)::date as day) first
    left join lateral (
        select sum(amount_minor - returned_minor) as worth_minor from purchase p
        where m.occasions > 1 and p.customer_id = m.customer_id and p.amount_minor > p.returned_minor
            and p.occurred_at < (first.day + 1)::timestamp at time zone %(zone)s) opening on true
    left join lateral (
        select sum(worth) filter (where occurred_at >= v.as_of - cast(%(window)s as interval)) as recent_minor,
               sum(worth) filter (where occurred_at < v.as_of - cast(%(window)s as interval)) as before_minor,
               sum(cast(worth as double precision) * worth) as square_sum
        from (
            select occurred_at, amount_minor - returned_minor as worth from purchase p
            where p.customer_id = m.customer_id and p.occurred_at < v.as_of
                and p.occurred_at >= v.as_of - 2 * cast(%(window)s as interval)
                and p.amount_minor > p.returned_minor) spent) w on true
    order by a.ord
"""

_KNOWN_COLUMNS = (
    "occasions", "gap_square_sum", "first_day", "last_day", "second_day", "third_day", "as_of_day", "counted_minor",
    "first_minor", "net_minor", "recent_minor", "before_minor", "square_sum",
)  # fmt: skip

_DAY = "date '0001-01-01' - 1 + nullif({}, -1)::integer"
_CODE = "(cast(%({})s as text[]))[1 + {}]"
_NUMBER = "nullif({}, 'NaN')"

# Columns of `outlook`: in what form each is sent, and how it is read there.
_COLUMNS = {
    "stage": ("bigint", _CODE.format("stages", "{}")),
    "churn_band": ("bigint", _CODE.format("bands", "{}")),
    "churn_probability": ("double precision", _NUMBER),
    "purchases": ("double precision", _NUMBER),
    "purchases_low": ("double precision", _NUMBER),
    "purchases_high": ("double precision", _NUMBER),
    "spend_minor": ("double precision", _NUMBER),
    "clv_minor": ("double precision", _NUMBER),
    "clv_low_minor": ("double precision", _NUMBER),
    "clv_high_minor": ("double precision", _NUMBER),
    "confidence": ("double precision", _NUMBER),
    "usual_gap_days": ("double precision", _NUMBER),
    "gap_spread_days": ("double precision", _NUMBER),
    "next_on": ("bigint", _DAY),
    "next_from": ("bigint", _DAY),
    "next_until": ("bigint", _DAY),
    "trend": ("bigint", _CODE.format("trends", "{}")),
    "trend_deviation": ("double precision", _NUMBER),
    "recent_minor": ("bigint", "{}"),
    "before_minor": ("bigint", "{}"),
    "moves_on": ("bigint", _DAY),
}

_KEEP = f"""
    insert into outlook as o (customer_id, calibration_id, as_of, stage_since, {", ".join(_COLUMNS)})
    select a.customer_id, %(calibration_id)s, greatest(s.as_of, cast(%(as_of)s as timestamptz)),
           (cast(%(sinces)b as timestamptz[]))[a.ord],
           {", ".join(read.format(f"a.{name}") for name, (_, read) in _COLUMNS.items())}
    from unnest(cast(%(customers)b as uuid[]), {
    ", ".join(f"cast(%({name})b as {kind}[])" for name, (kind, _) in _COLUMNS.items())
}) with ordinality as a (customer_id, {", ".join(_COLUMNS)}, ord) join score s using (customer_id)
    on conflict (customer_id) do update set calibration_id = excluded.calibration_id, as_of = excluded.as_of,
        {", ".join(f"{name} = excluded.{name}" for name in _COLUMNS)},
        stage_since = case when o.stage = excluded.stage then o.stage_since else excluded.stage_since end
"""

_KEEP_CHANGES = text("""
    insert into stage_change (customer_id, stage, previous_stage, effective_at, reason, initial, historical, as_of)
    select customer_id, stage, previous, effective_at, reason, initial, historical, as_of from unnest(
        cast(:customers as uuid[]), cast(:stages as text[]), cast(:previous as text[]), cast(:effective as timestamptz[]),
        cast(:reasons as text[]), cast(:initial as boolean[]), cast(:historical as boolean[]),
        cast(:as_of as timestamptz[]))
        with ordinality as t (customer_id, stage, previous, effective_at, reason, initial, historical, as_of, ord)
    order by ord
""")


class Moved(NamedTuple):
    """A customer who entered another stage or, ``risk_moved``, another band of the churn risk."""

    customer_id: UUID
    stage: str
    previous_stage: str | None
    band: str | None
    previous_band: str | None
    risk_moved: bool
    probability: float | None


@dataclass
class Moves:
    """How many customers moved into another stage and another band of the churn risk."""

    stages: int = 0
    risks: int = 0


def refresh(
    session: Session, calibration: Calibration, causes: Mapping[UUID, Cause], as_of: datetime | None = None
) -> Moves:
    """See anew where these customers (locked) are heading, as far as they have a score, and announce who moved.

    As of the score's as_of, or of ``as_of`` where that is later: time alone has passed.
    """
    from services.scoring.domain import forecasts
    from services.scoring.domain.arrays import arrays, execute
    from services.scoring.rules.outlook import CHURN_BANDS

    as_of = as_of or calibration.as_of
    asked = list(causes)
    found = arrays(
        session,
        _KNOWN,
        {
            "customers": asked,
            "zone": books(session).time_zone,
            "window": timedelta(days=calibration.policy.forecast.trend_days),
            "as_of": as_of,
            "stages": list(STAGES),
            "bands": list(CHURN_BANDS),
        },
        {
            "ord": "bigint",
            **dict.fromkeys(_KNOWN_COLUMNS, "bigint"),
            "square_sum": "double precision",
            "stage": "bigint",
            "churn_band": "bigint",
        },
    )
    customers = [asked[place - 1] for place in found["ord"].tolist()]
    if not customers:
        return Moves()
    seen = forecasts.of(calibration, forecasts.Known(**{name: found[name] for name in _KNOWN_COLUMNS}))
    execute(
        session,
        _KEEP,
        {
            "calibration_id": calibration.id,
            "as_of": as_of,
            "customers": customers,
            "sinces": [causes[each].effective_at for each in customers],
            "stages": list(STAGES),
            "bands": list(CHURN_BANDS),
            "trends": list(TRENDS),
            **{name: getattr(seen, name) for name in _COLUMNS},
        },
    )
    # That nothing is to be feared of somebody new is no news.
    risks = (found["churn_band"] != seen.churn_band) & ((found["stage"] >= 0) | (seen.churn_band != 0))
    moved = (found["stage"] != seen.stage) | risks
    return _tell(
        session,
        [
            Moved(
                customers[i],
                STAGES[seen.stage[i]],
                None if found["stage"][i] < 0 else STAGES[found["stage"][i]],
                None if seen.churn_band[i] < 0 else CHURN_BANDS[seen.churn_band[i]],
                None if found["churn_band"][i] < 0 else CHURN_BANDS[found["churn_band"][i]],
                bool(risks[i]),
                None if isnan(seen.churn_probability[i]) else float(seen.churn_probability[i]),
            )
            for i in moved.nonzero()[0].tolist()
        ],
        causes,
    )


def due(session: Session, as_of: datetime, size: int) -> Sequence[UUID]:
    """Customers whom time alone has moved by ``as_of``, by the index of those who are still to move; nobody who was seen as of
    then already."""
    return session.scalars(
        text("""
            select customer_id from outlook
            where moves_on <= (cast(:as_of as timestamptz) at time zone :zone)::date and as_of < :as_of
            order by moves_on, customer_id limit :size
        """),
        {"as_of": as_of, "zone": books(session).time_zone, "size": size},
    ).all()


def forget_unscored(session: Session, customer_ids: Sequence[UUID]) -> None:
    """Nothing is to be seen any more of those of these customers who have no score."""
    session.execute(
        text("""
            delete from outlook where customer_id = any(cast(:ids as uuid[]))
                and not exists (select from score s where s.customer_id = outlook.customer_id)
        """),
        {"ids": list(customer_ids)},
    )


def _tell(session: Session, moved: Sequence[Moved], causes: Mapping[UUID, Cause]) -> Moves:
    if not moved:
        return Moves()
    rows = session.execute(
        text("select customer_id, as_of from outlook where customer_id = any(cast(:ids as uuid[]))"),
        {"ids": [each.customer_id for each in moved]},
    )
    as_of = {row.customer_id: row.as_of for row in rows}
    changes = [each for each in moved if each.stage != each.previous_stage]
    events: list[Event] = []
    for each in moved:
        cause = causes[each.customer_id]
        why = {
            "customer_id": each.customer_id,
            "effective_at": cause.effective_at,
            "reason": cause.reason,
            "initial": cause.initial,
            "historical": cause.historical,
            "as_of": as_of[each.customer_id],
        }
        if each.stage != each.previous_stage:
            events.append(
                cause.led_to(
                    LifecycleStageChanged(stage=each.stage, previous_stage=each.previous_stage, **why)
                )
            )
        if each.risk_moved:
            events.append(
                cause.led_to(
                    ChurnRiskChanged(
                        band=each.band,
                        previous_band=each.previous_band,
                        churn_probability=each.probability,
                        **why,
                    )
                )
            )
    if changes:
        because = [causes[each.customer_id] for each in changes]
        session.execute(
            _KEEP_CHANGES,
            {
                "customers": [each.customer_id for each in changes],
                "stages": [each.stage for each in changes],
                "previous": [each.previous_stage for each in changes],
                "effective": [cause.effective_at for cause in because],
                "reasons": [cause.reason for cause in because],
                "initial": [cause.initial for cause in because],
                "historical": [cause.historical for cause in because],
                "as_of": [as_of[each.customer_id] for each in changes],
            },
        )
    announce(session, *events)
    return Moves(stages=len(changes), risks=sum(each.risk_moved for each in moved))
