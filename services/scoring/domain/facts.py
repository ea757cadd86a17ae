"""Purchases and what was taken back, and the metrics that follow from them.

Each statement inserts the facts of a run and moves the metrics of its customers by exactly what the new facts change, so
that a customer with thousands of purchases costs no more than one with two: nothing is summed again. Only where a purchase
comes late or stops counting is its customer's rhythm made again, from the purchases that the index finds. That the metrics
equal a recomputation from nothing is an invariant (`METRICS_FROM_FACTS`) and a property test.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session


@dataclass(frozen=True)
class Purchase:
    id: UUID
    customer_id: UUID
    recorded_customer_id: UUID
    occurred_at: datetime
    amount_minor: int
    channel: str | None = None
    store: str | None = None
    campaign_id: str | None = None
    coupon_count: int = 0


@dataclass(frozen=True)
class Return:
    """Something taken back, or (``cancellation``) a purchase called off; ``amount_minor`` is positive."""

    id: UUID
    purchase_id: UUID | None
    customer_id: UUID
    recorded_customer_id: UUID
    occurred_at: datetime
    amount_minor: int
    cancellation: bool = False


@dataclass(frozen=True)
class Books:
    """``currency`` is the accounting one, null while every purchase had an exchange rate; calendar days are those of
    ``time_zone``."""

    currency: str | None
    time_zone: str


# These statements speak psycopg's own language for its %(name)b: an array of 1,000 ids goes over in binary in a sixth of the
# time that it takes as text.

# The facts of a run, in order, and the metrics moved by those that are new. `fresh` names them for what follows.
RECORD_PURCHASES = """
    with event as (
        select * from unnest(
            cast(%(ids)b as uuid[]), cast(%(customers)b as uuid[]), cast(%(recorded)b as uuid[]),
            cast(%(occurred)b as timestamptz[]), cast(%(amounts)b as bigint[]), cast(%(channels)s as text[]),
            cast(%(stores)s as text[]), cast(%(campaigns)s as text[]), cast(%(coupons)b as smallint[]))
            with ordinality as e (purchase_id, customer_id, recorded_customer_id, occurred_at, amount_minor, channel,
                                  store, campaign_id, coupon_count, ord)),
    fresh as (
        insert into purchase (
            purchase_id, customer_id, recorded_customer_id, occurred_at, amount_minor, returned_minor, channel, store,
            campaign_id, coupon_count)
        select purchase_id, customer_id, recorded_customer_id, occurred_at, amount_minor, coalesce((
                   select sum(r.amount_minor) from purchase_return r where r.purchase_id = event.purchase_id), 0),
               channel, store, campaign_id, coupon_count
        from event
        on conflict (purchase_id) do nothing
        returning purchase_id, customer_id, occurred_at, amount_minor, returned_minor,
                  amount_minor > returned_minor as counts),
    fresh_day as materialized (
        select distinct customer_id, (occurred_at at time zone cast(%(days_of)s as text))::date as day
        from fresh where counts),
    known as materialized (
        select customer_id, m.occasions, m.gap_square_sum, m.recent_days, min(d.day) < m.recent_days[1] as late
        from fresh_day d join metrics m using (customer_id)
        where m.occasions > 0
        group by customer_id, m.occasions, m.gap_square_sum, m.recent_days),
    occasion as (
        select customer_id, day, (day - lag(day) over (partition by customer_id order by day))::bigint as gap
        from (
            select customer_id, day from fresh_day
            union select customer_id, unnest(recent_days) from known where not late
            union select customer_id, (p.occurred_at at time zone cast(%(days_of)s as text))::date
                  from known join purchase p using (customer_id) where late and p.amount_minor > p.returned_minor) day),
    -- On top of what is known where nothing came late: only the days after the last known one are new.
    rhythm as (
        select o.customer_id, coalesce(min(k.occasions), 0) + count(*) filter (where is_new) as occasions,
               coalesce(min(k.gap_square_sum), 0) + coalesce(sum(o.gap * o.gap) filter (where is_new), 0)
                   as gap_square_sum,
               (array_agg(o.day order by o.day desc))[1:3] as recent_days
        from occasion o left join known k on k.customer_id = o.customer_id and not k.late
        cross join lateral (select k.customer_id is null or o.day > k.recent_days[1] as is_new) news
        group by o.customer_id),
    moved as (
        insert into metrics as m (
            customer_id, first_purchase_at, last_purchase_at, purchase_count, counted_minor, occasions, gap_square_sum,
            recent_days, gross_minor, returned_minor, cancelled_minor, last_fact_at)
        select customer_id, min(occurred_at) filter (where counts), max(occurred_at) filter (where counts),
               count(*) filter (where counts), coalesce(sum(amount_minor - returned_minor) filter (where counts), 0),
               coalesce(r.occasions, 0), coalesce(r.gap_square_sum, 0), coalesce(r.recent_days, '{}'),
               sum(amount_minor), 0, 0, max(occurred_at)
        from fresh left join rhythm r using (customer_id)
        group by customer_id, r.occasions, r.gap_square_sum, r.recent_days
        on conflict (customer_id) do update set
            first_purchase_at = least(m.first_purchase_at, excluded.first_purchase_at),
            last_purchase_at = greatest(m.last_purchase_at, excluded.last_purchase_at),
            purchase_count = m.purchase_count + excluded.purchase_count,
            counted_minor = m.counted_minor + excluded.counted_minor,
            -- none of what is fresh counts: the rhythm stays
            occasions = coalesce(nullif(excluded.occasions, 0), m.occasions),
            gap_square_sum = case excluded.occasions when 0 then m.gap_square_sum else excluded.gap_square_sum end,
            recent_days = case excluded.occasions when 0 then m.recent_days else excluded.recent_days end,
            gross_minor = m.gross_minor + excluded.gross_minor,
            last_fact_at = greatest(m.last_fact_at, excluded.last_fact_at))
"""

_RECORD_RETURNS = """
    with event as (
        select * from unnest(
            cast(%(ids)b as uuid[]), cast(%(purchases)b as uuid[]), cast(%(customers)b as uuid[]), cast(%(recorded)b as uuid[]),
            cast(%(occurred)b as timestamptz[]), cast(%(amounts)b as bigint[]), cast(%(cancellations)b as boolean[]))
            as e (return_id, purchase_id, customer_id, recorded_customer_id, occurred_at, amount_minor, cancellation)),
    fresh as (
        insert into purchase_return (
            return_id, purchase_id, customer_id, recorded_customer_id, occurred_at, amount_minor, cancellation)
        select return_id, coalesce(p.counts_with, event.purchase_id), event.customer_id, event.recorded_customer_id,
               event.occurred_at, event.amount_minor, cancellation
        from event left join purchase p using (purchase_id)
        on conflict (return_id) do nothing
        returning *),
    back as (
        select purchase_id, sum(amount_minor) as amount_minor from fresh where purchase_id is not null
        group by purchase_id),
    touched as (
        update purchase p set returned_minor = p.returned_minor + back.amount_minor
        from back where p.purchase_id = back.purchase_id
        returning p.customer_id, p.occurred_at, p.amount_minor - p.returned_minor as left_minor,
                  p.amount_minor - p.returned_minor + back.amount_minor as left_before_minor),
    change as (
        select customer_id, 0 as purchase_count, 0 as counted_minor,
               case when cancellation then 0 else amount_minor end as returned_minor,
               case when cancellation then amount_minor else 0 end as cancelled_minor, occurred_at as last_fact_at
        from fresh
        union all
        select customer_id, (left_minor > 0)::int - (left_before_minor > 0)::int,
               greatest(left_minor, 0) - greatest(left_before_minor, 0), 0, 0, occurred_at
        from touched),
    moved as (
        insert into metrics as m (
            customer_id, purchase_count, counted_minor, occasions, gap_square_sum, recent_days, gross_minor,
            returned_minor, cancelled_minor, last_fact_at)
        select customer_id, sum(purchase_count), sum(counted_minor), 0, 0, '{}', 0, sum(returned_minor),
               sum(cancelled_minor), max(last_fact_at)
        from change group by customer_id
        on conflict (customer_id) do update set
            purchase_count = m.purchase_count + excluded.purchase_count,
            counted_minor = m.counted_minor + excluded.counted_minor,
            returned_minor = m.returned_minor + excluded.returned_minor,
            cancelled_minor = m.cancelled_minor + excluded.cancelled_minor,
            last_fact_at = greatest(m.last_fact_at, excluded.last_fact_at))
    select customer_id from touched where left_minor <= 0 and left_before_minor > 0
"""

# The occasions of customers and the gaps between them; {days} are their distinct (customer_id, day).
_RHYTHM = """
    select customer_id, count(*) as occasions, coalesce(sum(gap * gap), 0) as gap_square_sum,
           (array_agg(day order by day desc))[1:3] as recent_days
    from (
        select customer_id, day, (day - lag(day) over (partition by customer_id order by day))::bigint as gap
        from ({days}) day) gap
    group by customer_id
"""

_RHYTHM_OF_CUSTOMERS = _RHYTHM.format(
    days="""
        select distinct customer_id, (occurred_at at time zone cast(%(days_of)s as text))::date as day from purchase
        where amount_minor > returned_minor and customer_id = any(cast(%(customers)b as uuid[]))"""
)

_FIND_RHYTHM = f"""
    update metrics m set
        first_purchase_at = found.first_purchase_at, last_purchase_at = found.last_purchase_at,
        occasions = coalesce(found.occasions, 0), gap_square_sum = coalesce(found.gap_square_sum, 0),
        recent_days = coalesce(found.recent_days, '{{}}')
    from (
        select customer_id, first_purchase_at, last_purchase_at, occasions, gap_square_sum, recent_days
        from unnest(cast(%(customers)b as uuid[])) as c (customer_id)
        left join (
            select customer_id, min(occurred_at) as first_purchase_at, max(occurred_at) as last_purchase_at
            from purchase
            where amount_minor > returned_minor and customer_id = any(cast(%(customers)b as uuid[]))
            group by customer_id) f using (customer_id)
        left join ({_RHYTHM_OF_CUSTOMERS}) r using (customer_id)) found
    where m.customer_id = found.customer_id
"""

# What the metrics must be, from nothing but the facts.
_METRICS_FROM_FACTS = """
    select customer_id, min(occurred_at) filter (where counts) as first_purchase_at,
           max(occurred_at) filter (where counts) as last_purchase_at, count(*) filter (where counts) as purchase_count,
           coalesce(sum(left_minor) filter (where counts), 0) as counted_minor,
           coalesce(r.occasions, 0) as occasions, coalesce(r.gap_square_sum, 0) as gap_square_sum,
           coalesce(r.recent_days, '{{}}') as recent_days, sum(bought) as gross_minor, sum(returned) as returned_minor, sum(cancelled) as cancelled_minor,
           max(occurred_at) as last_fact_at
    from ({facts}) fact left join ({rhythm}) r using (customer_id)
    group by customer_id, r.occasions, r.gap_square_sum, r.recent_days
"""

METRICS_FROM_FACTS = _METRICS_FROM_FACTS.format(
    facts="""
        select p.customer_id, p.occurred_at, p.amount_minor as bought, 0 as returned, 0 as cancelled,
               p.amount_minor > coalesce(b.amount_minor, 0) as counts,
               p.amount_minor - coalesce(b.amount_minor, 0) as left_minor
        from purchase p left join (
            select purchase_id, sum(amount_minor) as amount_minor from purchase_return group by purchase_id
        ) b using (purchase_id)
        union all
        select customer_id, occurred_at, 0, case when cancellation then 0 else amount_minor end,
               case when cancellation then amount_minor else 0 end, false, 0
        from purchase_return""",
    rhythm=_RHYTHM.format(
        days="""
            select distinct customer_id, (occurred_at at time zone (select time_zone from accounting))::date as day
            from purchase p left join (
                select purchase_id, sum(amount_minor) as amount_minor from purchase_return group by purchase_id
            ) b using (purchase_id)
            where p.amount_minor > coalesce(b.amount_minor, 0)"""
    ),
)

# The same for some customers, from the rows that their indexes find; purchase.returned_minor is the sum of the returns.
_DERIVE = """
    insert into metrics (
        customer_id, first_purchase_at, last_purchase_at, purchase_count, counted_minor, occasions, gap_square_sum,
        recent_days, gross_minor, returned_minor, cancelled_minor, last_fact_at)
""" + _METRICS_FROM_FACTS.format(
    facts="""
        select customer_id, occurred_at, amount_minor as bought, 0 as returned, 0 as cancelled,
               amount_minor > returned_minor as counts, amount_minor - returned_minor as left_minor
        from purchase where customer_id = any(cast(%(customers)b as uuid[]))
        union all
        select customer_id, occurred_at, 0, case when cancellation then 0 else amount_minor end,
               case when cancellation then amount_minor else 0 end, false, 0
        from purchase_return where customer_id = any(cast(%(customers)b as uuid[]))""",
    rhythm=_RHYTHM_OF_CUSTOMERS,
)

# Everybody's, when the company's days are those of another time zone from now on.
_FOLLOW_TIME_ZONE = f"""
    update metrics m set occasions = r.occasions, gap_square_sum = r.gap_square_sum, recent_days = r.recent_days
    from ({
    _RHYTHM.format(
        days="select distinct customer_id, (occurred_at at time zone cast(:zone as text))::date as day from purchase"
        " where amount_minor > returned_minor"
    )
}) r
    where r.customer_id = m.customer_id and (m.recent_days, m.gap_square_sum) <> (r.recent_days, r.gap_square_sum)
"""


def derive(session: Session, customer_ids: Sequence[UUID]) -> None:
    """Make the metrics of these (locked) customers again, from nothing but the facts that are theirs now."""
    connection = session.connection()
    customers = {"customers": list(customer_ids), "days_of": books(session).time_zone}
    connection.exec_driver_sql(
        "delete from metrics where customer_id = any(cast(%(customers)b as uuid[]))", customers
    )
    connection.exec_driver_sql(_DERIVE, customers)


def purchase_parameters(purchases: Sequence[Purchase], time_zone: str) -> dict[str, object]:
    return {
        "ids": [each.id for each in purchases],
        "customers": [each.customer_id for each in purchases],
        "recorded": [each.recorded_customer_id for each in purchases],
        "occurred": [each.occurred_at for each in purchases],
        "amounts": [each.amount_minor for each in purchases],
        "channels": [each.channel for each in purchases],
        "stores": [each.store for each in purchases],
        "campaigns": [each.campaign_id for each in purchases],
        "coupons": [each.coupon_count for each in purchases],
        "days_of": time_zone,
    }


def record_returns(session: Session, returns: Sequence[Return]) -> None:
    """Record what was taken back, before or after its purchase came; repeating it changes nothing."""
    connection = session.connection()
    lost = (
        connection.exec_driver_sql(
            _RECORD_RETURNS,
            {
                "ids": [each.id for each in returns],
                "purchases": [each.purchase_id for each in returns],
                "customers": [each.customer_id for each in returns],
                "recorded": [each.recorded_customer_id for each in returns],
                "occurred": [each.occurred_at for each in returns],
                "amounts": [each.amount_minor for each in returns],
                "cancellations": [each.cancellation for each in returns],
            },
        )
        .scalars()
        .all()
    )
    if lost:
        connection.exec_driver_sql(
            _FIND_RHYTHM, {"customers": sorted(set(lost)), "days_of": books(session).time_zone}
        )


def open_books(session: Session, currency: str | None) -> Books:
    """The books, opened by the first purchase; the accounting currency is that of the first one that needed no exchange
    rate."""
    opened = session.execute(text("select currency from accounting")).one_or_none()
    if opened is None:
        session.execute(
            text(
                "insert into accounting (currency, time_zone) values (:currency, :zone) on conflict do nothing"
            ),
            {"currency": currency, "zone": session.info["settings"].time_zone},
        )
    if currency is not None and (opened is None or opened.currency is None):
        session.execute(
            text("update accounting set currency = :currency where currency is null"), {"currency": currency}
        )
    return books(session)


def books(session: Session) -> Books:
    row = session.execute(text("select currency, time_zone from accounting")).one_or_none()
    settings = session.info["settings"]
    if row is None:
        return Books(settings.currency, settings.time_zone)
    return Books(settings.currency or row.currency, row.time_zone)


def follow_time_zone(session: Session) -> None:
    """Count occasions by the calendar days of the company's time zone, which is another one than before, from now on.

    Behind the gate, alone: nothing is recorded meanwhile.
    """
    zone = session.info["settings"].time_zone
    session.execute(text(_FOLLOW_TIME_ZONE), {"zone": zone})
    session.execute(text("update accounting set time_zone = :zone"), {"zone": zone})
