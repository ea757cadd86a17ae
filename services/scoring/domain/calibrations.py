"""The calibration in force, and how a new one is made: count everybody, draw the boundaries, put them in force.

Two rules keep reactions and a calibration from missing each other. Whoever changes a customer enters the gate first (shared;
a calibration takes effect behind it, alone), then locks the customers, and only then reads which calibration is in force. So
a change is either committed before a calibration takes effect, and the re-banding that follows sees it, or it is made with
the new one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from services.scoring.rules.policy import Basis, Policy, parse
from shared import money

GATE = 7_348_207_201
_FIRST = UUID(int=0)

_ENTER = text(
    # Plans are made for the tables as they are: a statement prepared while they were empty would scan them for ever.
    "select pg_advisory_xact_lock_shared(:gate), set_config('plan_cache_mode', 'force_custom_plan', true)"
)

_CURRENT = text("""
    select c.calibration_id, c.as_of, c.pinned, c.counted, c.initial, c.effective_at, c.policy_version, p.content,
           a.currency
    from calibration c join policy p on p.version = c.policy_version left join accounting a on true
    where c.state = 'current'
""")


@dataclass(frozen=True)
class Calibration:
    """``counted`` customers had a purchase that counts before ``as_of``; ``minor_per_unit`` of the accounting currency."""

    id: UUID
    as_of: datetime
    pinned: bool
    initial: bool
    counted: int
    policy: Policy
    minor_per_unit: int

    @property
    def basis(self) -> Basis:
        return self.policy.basis(self.counted)


def enter(session: Session) -> None:
    """The first statement of everything that changes a customer's facts, metrics, score or tier."""
    session.execute(_ENTER, {"gate": GATE})


def current(session: Session) -> Calibration | None:
    row = session.execute(_CURRENT).one_or_none()
    if row is None:
        return None
    return Calibration(
        id=row.calibration_id,
        as_of=row.as_of,
        pinned=row.pinned,
        initial=row.initial,
        counted=row.counted,
        policy=parse(row.policy_version, row.content),
        minor_per_unit=minor_per_unit(session.info["settings"].currency or row.currency),
    )


def minor_per_unit(currency: str | None) -> int:
    """Of the accounting currency; 100 as long as nothing is known of it."""
    try:
        return int(10 ** money.exponent(currency)) if currency else 100
    except money.UnknownCurrency:
        return 100


def begin(session: Session, calibration_id: UUID, as_of: datetime | None, *, follow_pin: bool = False) -> int:
    """A new calibration as of ``as_of`` – pinned, if it is given – else as of now; gives how many customers to count.

    ``follow_pin`` (the nightly run) keeps the as_of of the last calibration if that one is pinned. Repeating it changes
    nothing.
    """
    session.execute(
        text("""
            insert into calibration (calibration_id, as_of, pinned, policy_version, state)
            select :id, coalesce(cast(:as_of as timestamptz), pin.as_of, now()),
                   cast(:as_of as timestamptz) is not null or pin.as_of is not null,
                   (select max(version) from policy), 'counting'
            from (select 1) one left join lateral (
                select as_of from (
                    select as_of, pinned from calibration
                    where state in ('counting', 'current') and calibration_id < :id
                    order by calibration_id desc limit 1) last
                where pinned and :follow_pin) pin on true
            on conflict (calibration_id) do nothing
        """),
        {"id": calibration_id, "as_of": as_of, "follow_pin": follow_pin},
    )
    return session.scalar(text("select count(*) from metrics")) or 0


# Whoever had no fact since as_of is counted by the metrics; the others from their facts before it.
_COUNT = text("""
    with calibrated as (select as_of from calibration where calibration_id = :id),
    chunk as materialized (
        select m.*, c.state = 'active' as active from metrics m join customer c using (customer_id)
        where m.customer_id > cast(:after as uuid)
        order by m.customer_id limit :size),
    late as materialized (
        select customer_id from chunk, calibrated where last_fact_at >= as_of and active),
    bought as (
        select p.customer_id, count(*) filter (where p.amount_minor > b.amount_minor) as purchase_count,
               max(p.occurred_at) filter (where p.amount_minor > b.amount_minor) as last_purchase_at,
               sum(p.amount_minor) as gross_minor
        from late cross join calibrated join purchase p using (customer_id) cross join lateral (
            select case when p.returned_minor = 0 then 0 else (
                select coalesce(sum(r.amount_minor), 0) from purchase_return r
                where r.purchase_id = p.purchase_id and r.occurred_at < as_of) end as amount_minor) b
        where p.occurred_at < as_of
        group by p.customer_id),
    returned as (
        select r.customer_id, sum(r.amount_minor) as amount_minor
        from late cross join calibrated join purchase_return r using (customer_id)
        where r.occurred_at < as_of
        group by r.customer_id),
    counted as (
        select customer_id, last_purchase_at, purchase_count,
               gross_minor - returned_minor - cancelled_minor as monetary_minor
        from chunk, calibrated where last_fact_at < as_of and active
        union all
        select customer_id, b.last_purchase_at, b.purchase_count, b.gross_minor - coalesce(r.amount_minor, 0)
        from bought b left join returned r using (customer_id)),
    kept as (
        insert into calibration_input (calibration_id, customer_id, recency_days, frequency, monetary_minor)
        select :id, customer_id, extract(day from as_of - last_purchase_at), purchase_count, monetary_minor
        from counted, calibrated where purchase_count > 0
        on conflict do nothing)
    select count(*) as customers, (select customer_id from chunk order by customer_id desc limit 1) as last from chunk
""")


def count(session: Session, calibration_id: UUID, after: UUID | None, size: int) -> tuple[int, UUID | None]:
    """Count the next ``size`` customers after ``after`` as they were at as_of; gives how many there were and the last."""
    row = session.execute(_COUNT, {"id": calibration_id, "after": after or _FIRST, "size": size}).one()
    return row.customers, row.last


# rank() - 1 is the number of rows strictly before: those who are worse, with equals alike.
_DISTRIBUTIONS = text("""
    with weighed as materialized (
        select -recency_days as r, frequency as f, monetary_minor as m,
               rank() over (order by recency_days desc) - 1 as r_worse,
               rank() over (order by frequency) - 1 as f_worse,
               rank() over (order by monetary_minor) - 1 as m_worse
        from calibration_input where calibration_id = :id),
    scored as materialized (
        select :recency_weight * r_worse + :frequency_weight * f_worse + :monetary_weight * m_worse as s from weighed)
    insert into distribution (calibration_id, measure, value, worse_count)
    select :id, 'r', r, min(r_worse) from weighed group by r
    union all select :id, 'f', f, min(f_worse) from weighed group by f
    union all select :id, 'm', m, min(m_worse) from weighed group by m
    union all select :id, 's', s, sum(count(*)) over (order by s) - count(*) from scored group by s
    on conflict do nothing
""")


def draw_boundaries(session: Session, calibration_id: UUID) -> int:
    """Store the distributions of what was counted; gives the number of counted customers."""
    row = session.execute(
        text(
            "select p.version, p.content from calibration c join policy p on p.version = c.policy_version"
            " where c.calibration_id = :id"
        ),
        {"id": calibration_id},
    ).one()
    policy = parse(row.version, row.content)
    session.execute(
        _DISTRIBUTIONS,
        {
            "id": calibration_id,
            "recency_weight": policy.recency_weight,
            "frequency_weight": policy.frequency_weight,
            "monetary_weight": policy.monetary_weight,
        },
    )
    session.execute(
        text("""
            update calibration set counted = (
                select count(*) from calibration_input where calibration_id = :id)
            where calibration_id = :id
        """),
        {"id": calibration_id},
    )
    session.execute(text("delete from calibration_input where calibration_id = :id"), {"id": calibration_id})
    return (
        session.scalar(
            text("select counted from calibration where calibration_id = :id"), {"id": calibration_id}
        )
        or 0
    )


def take_effect(session: Session, calibration_id: UUID) -> bool:
    """From the commit on everything is banded by this calibration; False if a later one already is in force.

    Waits for the reactions under way (see the module's first lines) and lets none in meanwhile: keep it short.
    """
    session.execute(text("select pg_advisory_xact_lock(:gate)"), {"gate": GATE})
    mine = session.execute(
        text("""
            select state, exists (select from calibration where state = 'current' and calibration_id > :id) as late,
                   not exists (select from calibration where effective_at is not null) as initial
            from calibration where calibration_id = :id
        """),
        {"id": calibration_id},
    ).one()
    if mine.state != "counting":
        return bool(mine.state == "current")
    if mine.late:
        session.execute(
            text("update calibration set state = 'superseded' where calibration_id = :id"),
            {"id": calibration_id},
        )
        return False
    session.execute(text("update calibration set state = 'past' where state = 'current'"))
    session.execute(
        text("""
            update calibration set state = 'current', effective_at = now(), initial = :initial
            where calibration_id = :id
        """),
        {"id": calibration_id, "initial": mine.initial},
    )
    return True


def sweep(session: Session) -> None:
    """Forget the distributions that nobody is banded by any more."""
    session.execute(
        text("""
            delete from distribution where calibration_id in (
                select calibration_id from calibration where state in ('past', 'superseded'))
        """)
    )


def latest(session: Session, before: UUID | None, size: int) -> Sequence[Row[Any]]:
    """Calibrations, the latest first."""
    return session.execute(
        text("""
            select calibration_id as id, as_of, pinned, state, initial, counted, policy_version, created_at, effective_at
            from calibration where calibration_id < coalesce(cast(:before as uuid), cast(:last as uuid))
            order by calibration_id desc limit :size
        """),
        {"before": before, "last": UUID(int=2**128 - 1), "size": size},
    ).all()
