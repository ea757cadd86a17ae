"""Outlooks and stages of customers, kept current: from their metrics and the models of the calibration in force.

SQL brings what is known of each customer as integers, rules/outlook and rules/stages say what follows, and one statement
writes it. The same function serves one customer of an event and the thousands of a re-banding, so that both agree. What is
announced is the difference to what stood there before, once for all facts that were heard together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from services.scoring.domain.calibrations import Calibration
from services.scoring.domain.causes import Cause
from services.scoring.domain.facts import books
from services.scoring.rules.stages import Rhythm, Stage, stage_at
from services.scoring.rules.trend import deviation, trend
from shared.events.envelope import Event
from shared.events.scoring import ChurnRiskChanged, LifecycleStageChanged
from shared.messaging.outbox import announce

# What a customer's first occasion was worth is not in their mean: it says less about those to come (Fader & Hardie 2013).
_KNOWN = """
    select m.customer_id, m.occasions, m.gap_square_sum, m.recent_days, m.counted_minor,
           m.gross_minor - m.returned_minor - m.cancelled_minor as net_minor, first.day as first_on,
           coalesce(opening.worth_minor, 0)::bigint as first_minor, s.as_of, (s.as_of at time zone %(zone)s)::date as as_of_on,
           coalesce(w.recent_minor, 0)::bigint as recent_minor, coalesce(w.before_minor, 0)::bigint as before_minor,
           coalesce(w.square_sum, 0) as square_sum, o.stage, o.churn_band
    from (
        select customer_id, greatest(as_of, cast(%(as_of)s as timestamptz)) as as_of from score
        where customer_id = any(cast(%(customers)b as uuid[]))) s
    join metrics m using (customer_id)
    left join outlook o using (customer_id)
    cross join lateral (select (m.first_purchase_at at time zone %(zone)s)::date as day) first
    left join lateral (
        select sum(amount_minor - returned_minor) as worth_minor from purchase p
        where m.occasions > 1 and p.customer_id = m.customer_id and p.amount_minor > p.returned_minor
            and p.occurred_at < (first.day + 1)::timestamp at time zone %(zone)s) opening on true
    left join lateral (
        select sum(worth) filter (where occurred_at >= s.as_of - cast(%(window)s as interval)) as recent_minor,
               sum(worth) filter (where occurred_at < s.as_of - cast(%(window)s as interval)) as before_minor,
               sum(cast(worth as double precision) * worth) as square_sum
        from (
            select occurred_at, amount_minor - returned_minor as worth from purchase p
            where p.customer_id = m.customer_id and p.occurred_at < s.as_of
                and p.occurred_at >= s.as_of - 2 * cast(%(window)s as interval)
                and p.amount_minor > p.returned_minor) spent) w on true
    order by m.customer_id
"""

_COLUMNS = {
    "customer_id": "uuid",
    "as_of": "timestamptz",
    "stage": "text",
    "stage_since": "timestamptz",
    "churn_band": "text",
    "churn_probability": "double precision",
    "purchases": "double precision",
    "purchases_low": "double precision",
    "purchases_high": "double precision",
    "spend_minor": "bigint",
    "clv_minor": "bigint",
    "clv_low_minor": "bigint",
    "clv_high_minor": "bigint",
    "confidence": "double precision",
    "usual_gap_days": "double precision",
    "gap_spread_days": "double precision",
    "next_on": "date",
    "next_from": "date",
    "next_until": "date",
    "trend": "text",
    "trend_deviation": "double precision",
    "recent_minor": "bigint",
    "before_minor": "bigint",
    "moves_on": "date",
}

_KEEP = f"""
    insert into outlook as o (calibration_id, {", ".join(_COLUMNS)})
    select %(calibration_id)s, * from unnest({
    ", ".join(
        f"cast(%({name}){'s' if kind == 'text' else 'b'} as {kind}[])" for name, kind in _COLUMNS.items()
    )
})
    on conflict (customer_id) do update set calibration_id = excluded.calibration_id,
        {
    ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name not in ("customer_id", "stage_since"))
},
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

Outlook = dict[str, Any]


@dataclass
class Moves:
    """How many customers moved into another stage and another band of the churn risk."""

    stages: int = 0
    risks: int = 0


def refresh(
    session: Session, calibration: Calibration, causes: Mapping[UUID, Cause], as_of: datetime | None = None
) -> Moves:
    """See anew where these customers (locked, with a score) are heading, and announce who moved.

    As of the score's as_of, or of ``as_of`` where that is later: time alone has passed.
    """
    zone = books(session).time_zone
    known = (
        session.connection()
        .exec_driver_sql(
            _KNOWN,
            {
                "customers": list(causes),
                "zone": zone,
                "window": timedelta(days=calibration.policy.forecast.trend_days),
                "as_of": as_of or calibration.as_of,
            },
        )
        .all()
    )
    if not known:
        return Moves()
    seen = [
        {
            "customer_id": row.customer_id,
            "as_of": row.as_of,
            "stage_since": causes[row.customer_id].effective_at,
        }
        | each
        for row, each in zip(known, _seen(calibration, known), strict=True)
    ]
    _keep(session, calibration, seen)
    return _tell(session, known, seen, causes)


def due(session: Session, as_of: datetime, size: int) -> Sequence[UUID]:
    """Customers whom time alone has moved by ``as_of``, by the index of those who are still to move."""
    return session.scalars(
        text("""
            select customer_id from outlook where moves_on <= (cast(:as_of as timestamptz) at time zone :zone)::date
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


def _seen(calibration: Calibration, known: Sequence[Row[Any]]) -> list[Outlook]:
    from services.scoring.domain import forecasts

    forecast = iter(forecasts.of(calibration, [row for row in known if row.occasions]))
    seen = []
    for row in known:
        outlook = next(forecast) if row.occasions else dict.fromkeys(forecasts.FIELDS)
        stage, changes_on = _stage(row, calibration)
        z = deviation(row.recent_minor, row.before_minor, row.square_sum)
        seen.append(
            outlook
            | {
                "stage": stage,
                "moves_on": min(filter(None, (changes_on, outlook["moves_on"])), default=None),
                "trend": trend(z) if row.occasions else None,
                "trend_deviation": z if row.occasions else None,
                "recent_minor": row.recent_minor,
                "before_minor": row.before_minor,
            }
        )
    return seen


def _stage(row: Row[Any], calibration: Calibration) -> tuple[Stage, date | None]:
    days = row.recent_days
    if not days:
        return "prospect", None
    gaps = [(after - before).days for after, before in pairwise(days)]
    rhythm = Rhythm(
        row.occasions,
        (days[0] - row.first_on).days,
        row.gap_square_sum,
        gaps[0] if gaps else None,
        gaps[1] if len(gaps) > 1 else None,
    )
    # The last whole day before as_of has been silent.
    silence = (row.as_of_on - days[0]).days - 1
    stage, changes_after = stage_at(rhythm, silence, calibration.usual_gap_days, calibration.policy.stages)
    if changes_after is None or changes_after > (date.max - days[0]).days - 1:
        return stage, None
    return stage, days[0] + timedelta(days=changes_after + 1)


def _keep(session: Session, calibration: Calibration, seen: Sequence[Outlook]) -> None:
    columns: dict[str, Any] = {name: [each[name] for each in seen] for name in _COLUMNS}
    session.connection().exec_driver_sql(_KEEP, columns | {"calibration_id": calibration.id})


def _tell(
    session: Session, known: Sequence[Row[Any]], seen: Sequence[Outlook], causes: Mapping[UUID, Cause]
) -> Moves:
    moves = Moves()
    moved: list[tuple[Row[Any], Outlook, Cause]] = []
    events: list[Event] = []
    for row, outlook in zip(known, seen, strict=True):
        cause = causes[row.customer_id]
        why = {
            "customer_id": row.customer_id,
            "effective_at": cause.effective_at,
            "reason": cause.reason,
            "initial": cause.initial,
            "historical": cause.historical,
            "as_of": row.as_of,
        }
        if outlook["stage"] != row.stage:
            moved.append((row, outlook, cause))
            events.append(
                cause.led_to(LifecycleStageChanged(stage=outlook["stage"], previous_stage=row.stage, **why))
            )
        # That nothing is to be feared of somebody new is no news.
        if outlook["churn_band"] != row.churn_band and (row.stage or outlook["churn_band"] != "low"):
            moves.risks += 1
            events.append(
                cause.led_to(
                    ChurnRiskChanged(
                        band=outlook["churn_band"],
                        previous_band=row.churn_band,
                        churn_probability=outlook["churn_probability"],
                        **why,
                    )
                )
            )
    moves.stages = len(moved)
    if moved:
        session.execute(
            _KEEP_CHANGES,
            {
                "customers": [row.customer_id for row, _, _ in moved],
                "stages": [outlook["stage"] for _, outlook, _ in moved],
                "previous": [row.stage for row, _, _ in moved],
                "effective": [cause.effective_at for _, _, cause in moved],
                "reasons": [cause.reason for _, _, cause in moved],
                "initial": [cause.initial for _, _, cause in moved],
                "historical": [cause.historical for _, _, cause in moved],
                "as_of": [row.as_of for row, _, _ in moved],
            },
        )
    announce(session, *events)
    return moves
