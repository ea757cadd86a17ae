"""Purchases and what was taken back, and the metrics that follow from them.

Each statement inserts the facts of a run and moves the metrics of its customers by exactly what the new facts change, so
that a customer with thousands of purchases costs no more than one with two: nothing is summed again. Only when a purchase
stops counting are its customer's first and last purchase looked up, by index. That the metrics equal a recomputation from
nothing is an invariant (`METRICS_FROM_FACTS`) and a property test.
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


# These statements speak psycopg's own language for its %(name)b: an array of 1,000 ids goes over in binary in a sixth of the
# time that it takes as text.

# The facts of a run, in order, and the metrics moved by those that are new. `fresh` names them for what follows.
RECORD_PURCHASES = """
    with event as (
        select * from unnest(
            cast(%(ids)b as uuid[]), cast(%(customers)b as uuid[]), cast(%(recorded)b as uuid[]),
            cast(%(occurred)b as timestamptz[]), cast(%(amounts)b as bigint[]))
            with ordinality as e (purchase_id, customer_id, recorded_customer_id, occurred_at, amount_minor, ord)),
    fresh as (
        insert into purchase (
            purchase_id, customer_id, recorded_customer_id, occurred_at, amount_minor, returned_minor)
        select purchase_id, customer_id, recorded_customer_id, occurred_at, amount_minor, coalesce((
            select sum(r.amount_minor) from purchase_return r where r.purchase_id = event.purchase_id), 0)
        from event
        on conflict (purchase_id) do nothing
        returning purchase_id, customer_id, occurred_at, amount_minor, returned_minor,
                  amount_minor > returned_minor as counts),
    moved as (
        insert into metrics as m (
            customer_id, first_purchase_at, last_purchase_at, purchase_count, counted_minor, gross_minor,
            returned_minor, cancelled_minor, last_fact_at)
        select customer_id, min(occurred_at) filter (where counts), max(occurred_at) filter (where counts),
               count(*) filter (where counts), coalesce(sum(amount_minor - returned_minor) filter (where counts), 0),
               sum(amount_minor), 0, 0, max(occurred_at)
        from fresh group by customer_id
        on conflict (customer_id) do update set
            first_purchase_at = least(m.first_purchase_at, excluded.first_purchase_at),
            last_purchase_at = greatest(m.last_purchase_at, excluded.last_purchase_at),
            purchase_count = m.purchase_count + excluded.purchase_count,
            counted_minor = m.counted_minor + excluded.counted_minor,
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
            customer_id, purchase_count, counted_minor, gross_minor, returned_minor, cancelled_minor, last_fact_at)
        select customer_id, sum(purchase_count), sum(counted_minor), 0, sum(returned_minor), sum(cancelled_minor),
               max(last_fact_at)
        from change group by customer_id
        on conflict (customer_id) do update set
            purchase_count = m.purchase_count + excluded.purchase_count,
            counted_minor = m.counted_minor + excluded.counted_minor,
            returned_minor = m.returned_minor + excluded.returned_minor,
            cancelled_minor = m.cancelled_minor + excluded.cancelled_minor,
            last_fact_at = greatest(m.last_fact_at, excluded.last_fact_at))
    select customer_id from touched where left_minor <= 0 and left_before_minor > 0
"""

_FIND_FIRST_AND_LAST = """
    update metrics m set
        first_purchase_at = (
            select p.occurred_at from purchase p
            where p.customer_id = m.customer_id and p.amount_minor > p.returned_minor
            order by p.occurred_at limit 1),
        last_purchase_at = (
            select p.occurred_at from purchase p
            where p.customer_id = m.customer_id and p.amount_minor > p.returned_minor
            order by p.occurred_at desc limit 1)
    where m.customer_id = any(cast(%(customers)b as uuid[]))
"""

# What the metrics must be, from nothing but the facts.
METRICS_FROM_FACTS = """
    select customer_id, min(occurred_at) filter (where counts) as first_purchase_at,
           max(occurred_at) filter (where counts) as last_purchase_at, count(*) filter (where counts) as purchase_count,
           coalesce(sum(left_minor) filter (where counts), 0) as counted_minor, sum(bought) as gross_minor,
           sum(returned) as returned_minor, sum(cancelled) as cancelled_minor, max(occurred_at) as last_fact_at
    from (
        select p.customer_id, p.occurred_at, p.amount_minor as bought, 0 as returned, 0 as cancelled,
               p.amount_minor > coalesce(b.amount_minor, 0) as counts,
               p.amount_minor - coalesce(b.amount_minor, 0) as left_minor
        from purchase p left join (
            select purchase_id, sum(amount_minor) as amount_minor from purchase_return group by purchase_id
        ) b using (purchase_id)
        union all
        select customer_id, occurred_at, 0, case when cancellation then 0 else amount_minor end,
               case when cancellation then amount_minor else 0 end, false, 0
        from purchase_return) fact
    group by customer_id
"""

# The same for some customers, from the rows that their indexes find; purchase.returned_minor is the sum of the returns.
_DERIVE = """
    insert into metrics as m (
        customer_id, first_purchase_at, last_purchase_at, purchase_count, counted_minor, gross_minor,
        returned_minor, cancelled_minor, last_fact_at)
    select customer_id, min(occurred_at) filter (where left_minor > 0), max(occurred_at) filter (where left_minor > 0),
           count(*) filter (where left_minor > 0), coalesce(sum(left_minor) filter (where left_minor > 0), 0),
           sum(bought), sum(returned), sum(cancelled), max(occurred_at)
    from (
        select customer_id, occurred_at, amount_minor as bought, 0 as returned, 0 as cancelled,
               amount_minor - returned_minor as left_minor
        from purchase where customer_id = any(cast(%(customers)b as uuid[]))
        union all
        select customer_id, occurred_at, 0, case when cancellation then 0 else amount_minor end,
               case when cancellation then amount_minor else 0 end, 0
        from purchase_return where customer_id = any(cast(%(customers)b as uuid[]))) fact
    group by customer_id
"""


def derive(session: Session, customer_ids: Sequence[UUID]) -> None:
    """Make the metrics of these (locked) customers again, from nothing but the facts that are theirs now."""
    connection = session.connection()
    customers = {"customers": list(customer_ids)}
    connection.exec_driver_sql(
        "delete from metrics where customer_id = any(cast(%(customers)b as uuid[]))", customers
    )
    connection.exec_driver_sql(_DERIVE, customers)


def purchase_parameters(purchases: Sequence[Purchase]) -> dict[str, object]:
    return {
        "ids": [each.id for each in purchases],
        "customers": [each.customer_id for each in purchases],
        "recorded": [each.recorded_customer_id for each in purchases],
        "occurred": [each.occurred_at for each in purchases],
        "amounts": [each.amount_minor for each in purchases],
    }


def record_returns(session: Session, returns: Sequence[Return]) -> None:
    """Record what was taken back, before or after its purchase came; repeating it changes nothing."""
    lost = (
        session.connection()
        .exec_driver_sql(
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
        session.connection().exec_driver_sql(_FIND_FIRST_AND_LAST, {"customers": sorted(set(lost))})


def note_currency(session: Session, currency: str) -> None:
    """The accounting currency is that of the first purchase that needed no exchange rate."""
    session.execute(
        text("insert into accounting (currency) values (:currency) on conflict do nothing"),
        {"currency": currency},
    )
