"""The calibration in force, and how a new one is made: count everybody, draw the boundaries, put them in force.

Two rules keep reactions and a calibration from missing each other. Whoever changes a customer enters the gate first (shared;
a calibration takes effect behind it, alone), then locks the customers, and only then reads which calibration is in force. So
a change is either committed before a calibration takes effect, and the re-banding that follows sees it, or it is made with
the new one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from services.scoring.domain.facts import books
from services.scoring.rules.policy import Basis, Policy, parse
from shared import money
from shared.errors import NotFound
from shared.events.scoring import CalibrationFinished
from shared.messaging.outbox import announce

GATE = 7_348_207_201
_FIRST = UUID(int=0)

_ENTER = text(
    # Plans are made for the tables as they are: a statement prepared while they were empty would scan them for ever.
    "select pg_advisory_xact_lock_shared(:gate), set_config('plan_cache_mode', 'force_custom_plan', true)"
)

_CURRENT = text("""
    select c.calibration_id, c.as_of, c.pinned, c.counted, c.initial, c.effective_at, c.reason, c.policy_version, p.content,
           a.currency, (
               select jsonb_object_agg(m.kind, jsonb_build_object(
                   'reasons', m.reasons, 'parameters', m.parameters, 'quality', m.quality))
               from model m where m.calibration_id = c.calibration_id) as models
    from calibration c join policy p on p.version = c.policy_version left join accounting a on true
    where c.state = 'current'
""")


@dataclass(frozen=True)
class Calibration:
    """``counted`` customers had a purchase that counts before ``as_of``; ``minor_per_unit`` of the accounting currency;
    ``models`` by kind, as they are stored (domain/models.py); ``reason`` is calibration, or policy where one was published."""

    id: UUID
    as_of: datetime
    pinned: bool
    initial: bool
    counted: int
    policy: Policy
    minor_per_unit: int
    models: Mapping[str, Mapping[str, Any]]
    reason: str = "calibration"

    @property
    def basis(self) -> Basis:
        return self.policy.basis(self.counted)

    @property
    def usual_gap_days(self) -> float:
        """The population's between two occasions, or the policy's where too few have come back to know it."""
        rhythm = self.models.get("rhythm")
        if rhythm is None or rhythm["reasons"]:
            return self.policy.forecast.usual_gap_days
        return max(1.0, float(rhythm["parameters"]["usual_gap_days"]))


def enter(session: Session) -> None:
    """The first statement of everything that changes a customer's facts, metrics, score or tier."""
    session.execute(_ENTER, {"gate": GATE})


def enter_alone(session: Session) -> None:
    """Wait for those who are inside, and let nobody in until the commit: keep it short."""
    session.execute(text("select pg_advisory_xact_lock(:gate)"), {"gate": GATE})


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
        models=row.models or {},
        reason=row.reason,
    )


def minor_per_unit(currency: str | None) -> int:
    """100 where the currency is not known (yet)."""
    try:
        return int(10 ** (money.exponent(currency) if currency else 2))
    except money.UnknownCurrency:
        return 100


def begin(
    session: Session,
    calibration_id: UUID,
    as_of: datetime | None,
    *,
    follow_pin: bool = False,
    reason: str = "calibration",
) -> int:
    """A new calibration as of ``as_of`` – pinned, if it is given – else as of now; gives how many customers to count.

    ``follow_pin`` (the nightly run) keeps the as_of of the last calibration if that one is pinned. Repeating it changes
    nothing.
    """
    session.execute(
        text(f"""
            insert into calibration (calibration_id, as_of, pinned, policy_version, state, reason)
            select :id, coalesce(cast(:as_of as timestamptz), pin.as_of, now()),
                   cast(:as_of as timestamptz) is not null or pin.as_of is not null,
                   (select max(version) from policy), 'counting', :reason
            from (select 1) one left join lateral (select as_of from ({_PIN}) pin where :follow_pin) pin on true
            on conflict (calibration_id) do nothing
        """),
        {"id": calibration_id, "as_of": as_of, "follow_pin": follow_pin, "reason": reason},
    )
    session.execute(_SPLIT, {"id": calibration_id, "zone": books(session).time_zone})
    return session.scalar(text("select count(*) from metrics")) or 0


# The as_of that is pinned, before :id.
_PIN = """
    select as_of from (
        select as_of, pinned from calibration where state in ('counting', 'current') and calibration_id < :id
        order by calibration_id desc limit 1) last
    where pinned
"""


def as_of_next(session: Session, job_id: UUID) -> datetime:
    """As of when the nightly calibration would count: what is pinned, else now."""
    as_of: datetime = session.scalars(text(f"select coalesce(({_PIN}), now())"), {"id": job_id}).one()
    return as_of


# A third of the history, at most 90 days, shows how well the models foretell (rules/holdout.py).
_SPLIT = text("""
    update calibration c set split_on = as_of_on - least(90, greatest(0, as_of_on - began_on) / 3)
    from (
        select calibration_id, (as_of at time zone :zone)::date as as_of_on,
               (select (min(first_purchase_at) at time zone :zone)::date from metrics) as began_on
        from calibration) of
    where c.calibration_id = :id and of.calibration_id = c.calibration_id
""")


# Everything from the facts before as_of, for one chunk of customers: their purchases are read once, by their index.
_COUNT = text("""
    with calibrated as (
        select as_of, (as_of at time zone :zone)::date as as_of_on, cast(:split_on as date) as split_on,
               case when cast(:window_days as integer) is null then '-infinity'
                   else as_of - interval '24 hours' * cast(:window_days as integer) end as since
        from (select cast(:as_of as timestamptz) as as_of) given),
    chunk as materialized (
        select m.customer_id, c.state = 'active' as active from metrics m join customer c using (customer_id)
        where m.customer_id > cast(:after as uuid)
        order by m.customer_id limit :size),
    bought as materialized (
        select p.customer_id, p.occurred_at, (p.occurred_at at time zone :zone)::date as day, p.amount_minor,
               p.amount_minor - case when p.returned_minor = 0 then 0 else (
                   select coalesce(sum(r.amount_minor), 0) from purchase_return r
                   where r.purchase_id = p.purchase_id and r.occurred_at < as_of) end as left_minor
        from chunk join purchase p using (customer_id) cross join calibrated
        where active and p.occurred_at < as_of),
    counted as (
        select customer_id, bool_or(left_minor > 0) as counts,
               count(*) filter (where left_minor > 0 and occurred_at >= since) as purchase_count,
               max(occurred_at) filter (where left_minor > 0) as last_purchase_at,
               sum(amount_minor) filter (where occurred_at >= since) as gross_minor
        from bought cross join calibrated group by customer_id),
    returned as (
        select r.customer_id, sum(r.amount_minor) as amount_minor
        from chunk join purchase_return r using (customer_id) cross join calibrated
        where active and r.occurred_at < as_of and r.occurred_at >= since
        group by r.customer_id),
    occasion as (
        select customer_id, day, sum(left_minor) as worth_minor from bought cross join calibrated
        where left_minor > 0 and day < as_of_on
        group by customer_id, day),
    rhythm as (
        select customer_id, count(*) as occasions, min(day) as first_on, max(day) as last_on,
               sum(worth_minor) - (array_agg(worth_minor order by day))[1] as repeat_minor,
               count(*) filter (where day < split_on) as early_occasions,
               max(day) filter (where day < split_on) as early_last_on
        from occasion cross join calibrated group by customer_id),
    kept as (
        insert into calibration_input (
            calibration_id, customer_id, recency_days, frequency, monetary_minor, occasions, first_on, last_on,
            repeat_minor, early_occasions, early_last_on)
        select :id, c.customer_id, extract(day from as_of - c.last_purchase_at), c.purchase_count,
               coalesce(c.gross_minor, 0) - coalesce(r.amount_minor, 0), coalesce(h.occasions, 0), h.first_on, h.last_on,
               coalesce(h.repeat_minor, 0), coalesce(h.early_occasions, 0), h.early_last_on
        from counted c cross join calibrated left join returned r using (customer_id) left join rhythm h using (customer_id)
        where c.counts
        on conflict do nothing)
    select count(*) as customers, (select customer_id from chunk order by customer_id desc limit 1) as last from chunk
""")


def count(session: Session, calibration_id: UUID, after: UUID | None, size: int) -> tuple[int, UUID | None]:
    """Count the next ``size`` customers after ``after`` as they were at as_of; gives how many there were and the last."""
    row = _followed(session, calibration_id)
    policy = parse(row.version, row.content)
    return count_as_of(session, calibration_id, row.as_of, policy, after, size, split_on=row.split_on)


def count_as_of(
    session: Session,
    calibration_id: UUID,
    as_of: datetime,
    policy: Policy,
    after: UUID | None,
    size: int,
    *,
    split_on: date | None = None,
) -> tuple[int, UUID | None]:
    """The same for what is counted by ``policy`` under any id."""
    row = session.execute(
        _COUNT,
        {
            "id": calibration_id,
            "as_of": as_of,
            "split_on": split_on,
            "window_days": policy.window_days,
            "after": after or _FIRST,
            "size": size,
            "zone": books(session).time_zone,
        },
    ).one()
    return row.customers, row.last


def _followed(session: Session, calibration_id: UUID) -> Row[Any]:
    """A calibration with the policy that it follows."""
    return session.execute(
        text("""
            select c.as_of, c.split_on, p.version, p.content
            from calibration c join policy p on p.version = c.policy_version where c.calibration_id = :id
        """),
        {"id": calibration_id},
    ).one()


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
    row = _followed(session, calibration_id)
    counted = draw_distributions(session, calibration_id, parse(row.version, row.content))
    session.execute(
        text("update calibration set counted = :counted where calibration_id = :id"),
        {"id": calibration_id, "counted": counted},
    )
    return counted


def draw_distributions(session: Session, calibration_id: UUID, policy: Policy) -> int:
    """The same for what was counted by ``policy`` under any id."""
    session.execute(
        _DISTRIBUTIONS,
        {
            "id": calibration_id,
            "recency_weight": policy.recency_weight,
            "frequency_weight": policy.frequency_weight,
            "monetary_weight": policy.monetary_weight,
        },
    )
    counted: int = session.scalars(
        text("select count(*) from calibration_input where calibration_id = :id"), {"id": calibration_id}
    ).one()
    return counted


def forget_input(session: Session, calibration_id: UUID) -> None:
    """What was counted is in the distributions and in the models."""
    session.execute(text("delete from calibration_input where calibration_id = :id"), {"id": calibration_id})


def take_effect(session: Session, calibration_id: UUID) -> bool:
    """From the commit on everything is banded by this calibration; False if a later one already is in force.

    Waits for the reactions under way (see the module's first lines) and lets none in meanwhile: keep it short.
    """
    enter_alone(session)
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
    """Forget the distributions that nobody is banded by any more, and what a calibration counted that came too late."""
    for table in ("distribution", "calibration_input"):
        session.execute(
            text(f"""
                delete from {table} where calibration_id in (
                    select calibration_id from calibration where state in ('past', 'superseded'))
            """)
        )


def announce_finished(session: Session, calibration: Calibration, report: Mapping[str, Any]) -> None:
    """Everybody is re-banded: tell it, with what the job's ``report`` says has moved."""
    moment = session.execute(
        text("select effective_at, now() as finished_at from calibration where calibration_id = :id"),
        {"id": calibration.id},
    ).one()
    announce(
        session,
        CalibrationFinished(
            calibration_id=calibration.id,
            as_of=calibration.as_of,
            pinned=calibration.pinned,
            initial=calibration.initial,
            counted=calibration.counted,
            basis=calibration.basis,
            policy_version=calibration.policy.version,
            scores_moved=report.get("scores_moved", 0),
            stages_moved=report.get("stages_moved", 0),
            risks_moved=report.get("risks_moved", 0),
            tiers=report.get("tiers", {}),
            models={kind: tuple(each["reasons"]) for kind, each in sorted(calibration.models.items())},
            effective_at=moment.effective_at,
            finished_at=moment.finished_at,
        ),
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


def models(session: Session, calibration_id: UUID) -> Sequence[Row[Any]]:
    """What a calibration learnt, by kind. Raises NotFound ``calibration_not_found``."""
    found = {"id": calibration_id}
    if not session.scalar(text("select exists (select from calibration where calibration_id = :id)"), found):
        raise NotFound("calibration_not_found", "no such calibration")
    return session.execute(
        text(
            "select kind, reasons, parameters, quality, created_at from model where calibration_id = :id order by kind"
        ),
        found,
    ).all()
