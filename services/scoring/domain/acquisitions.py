"""By which channel customers were acquired, what each channel cost, and what its customers are worth.

A customer is acquired when they become known: registered, or with the first purchase that counts where that was before (an
import knows purchases of years ago). Of records that were merged the earliest says when and by which channel.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.scoring.domain.calibrations import current
from services.scoring.domain.facts import books
from services.scoring.rules.acquisition import each, paid_back_in, ratio
from services.scoring.tables import acquisition_cost as cost
from shared.errors import Conflict, Fault, Invalid, NotFound

UNKNOWN = "unknown"
# Years of customers take longer than other requests may.
LONGEST = "60s"


def keep(session: Session, known: Sequence[tuple[UUID, UUID, str | None, datetime]]) -> None:
    """Keep (recorded customer, owner, channel, registered at), as it was told last."""
    if not known:
        return
    recorded, owners, channels, times = zip(*known, strict=True)
    session.execute(
        text("""
            insert into acquisition as a (recorded_customer_id, customer_id, channel, registered_at)
            select * from unnest(cast(:recorded as uuid[]), cast(:owners as uuid[]), cast(:channels as text[]),
                                 cast(:times as timestamptz[]))
            on conflict (recorded_customer_id) do update set channel = excluded.channel,
                registered_at = excluded.registered_at
            where (a.channel, a.registered_at) is distinct from (excluded.channel, excluded.registered_at)
        """),
        {
            "recorded": list(recorded),
            "owners": list(owners),
            "channels": list(channels),
            "times": list(times),
        },
    )


# What was spent.


def enter_cost(
    session: Session,
    channel: str,
    month: date,
    *,
    amount_minor: int,
    currency: str,
    note: str | None,
    now: datetime,
    before_change: Callable[[int], None],
) -> tuple[Row[Any], bool]:
    """Enter what a channel cost in a month, or correct it; and whether it is new.

    ``before_change`` is called with the version that would be changed, and may refuse. Raises Conflict
    ``accounting_currency_unknown`` before the first purchase, Invalid ``another_currency``.
    """
    accounting = books(session).currency
    if accounting is None:
        raise Conflict(
            "accounting_currency_unknown", "the first purchase decides the currency of the accounts"
        )
    if currency != accounting:
        raise Invalid(
            "another_currency",
            f"costs are in {accounting}",
            faults=[Fault("/currency", "another_currency", f"the accounts are in {accounting}")],
        )
    values = {"amount_minor": amount_minor, "currency": currency, "note": note}
    made = session.execute(
        insert(cost)
        .values(channel=channel, month=month, **values, updated_at=now)
        .on_conflict_do_nothing()
        .returning(cost)
    ).one_or_none()
    if made is not None:
        return made, True
    row = _found(session, channel, month, lock=True)
    if all(getattr(row, name) == value for name, value in values.items()):
        return row, False
    before_change(row.version)
    corrected = session.execute(
        update(cost)
        .where(cost.c.channel == channel, cost.c.month == month)
        .values(**values, version=cost.c.version + 1, updated_at=now)
        .returning(cost)
    ).one()
    return corrected, False


def get_cost(session: Session, channel: str, month: date) -> Row[Any]:
    """Raises NotFound ``acquisition_cost_not_found``."""
    return _found(session, channel, month)


def delete_cost(session: Session, channel: str, month: date) -> None:
    """Raises NotFound ``acquisition_cost_not_found``."""
    _found(session, channel, month, lock=True)
    session.execute(cost.delete().where(cost.c.channel == channel, cost.c.month == month))


def costs(
    session: Session,
    channels: Sequence[str] | None,
    since: date | None,
    until: date | None,
    after: tuple[date, str] | None,
    size: int,
) -> Sequence[Row[Any]]:
    """Of these channels and of months in [since, until), the latest month first."""
    wanted = select(cost).order_by(cost.c.month.desc(), cost.c.channel.desc()).limit(size)
    if channels:
        wanted = wanted.where(cost.c.channel.in_(channels))
    if since is not None:
        wanted = wanted.where(cost.c.month >= since)
    if until is not None:
        wanted = wanted.where(cost.c.month < until)
    if after is not None:
        wanted = wanted.where(tuple_(cost.c.month, cost.c.channel) < after)
    return session.execute(wanted).all()


def _found(session: Session, channel: str, month: date, *, lock: bool = False) -> Row[Any]:
    wanted = select(cost).where(cost.c.channel == channel, cost.c.month == month)
    row = session.execute(wanted.with_for_update() if lock else wanted).one_or_none()
    if row is None:
        raise NotFound("acquisition_cost_not_found", f"no cost is known of this channel in {month:%Y-%m}")
    return row


# What it brought in.

_COHORT = f"""
    with known as (
        select distinct on (customer_id) customer_id, coalesce(channel, '{UNKNOWN}') as channel, registered_at
        from acquisition order by customer_id, registered_at, recorded_customer_id),
    cohort as materialized (
        select k.customer_id, k.channel, day.acquired_on, date_trunc('month', day.acquired_on)::date as month,
               (m.first_purchase_at at time zone :zone)::date - day.acquired_on as days_to_first, o.clv_minor
        from known k join customer c using (customer_id)
        left join metrics m using (customer_id) left join outlook o using (customer_id)
        cross join lateral (
            select (least(k.registered_at, m.first_purchase_at) at time zone :zone)::date as acquired_on) day
        where c.state = 'active' and day.acquired_on >= :since and day.acquired_on < :until)
"""

_CUSTOMERS = text(f"""{_COHORT}
    select case grouping(channel) when 0 then channel end as channel, case grouping(month) when 0 then month end as month,
           count(*) as customers, count(days_to_first) as buyers,
           percentile_cont(0.5) within group (order by days_to_first) as days_to_first, sum(clv_minor)::bigint as clv_minor,
           max(acquired_on) + 365 <= (now() at time zone :zone)::date as first_year_complete
    from cohort group by grouping sets ((channel, month), (channel), ())
""")

_REVENUE = text(f"""{_COHORT}
    select channel, month, date_trunc('month', day)::date as paid_on, sum(net_minor)::bigint as net_minor,
           coalesce(sum(net_minor) filter (where day < acquired_on + 365), 0)::bigint as first_year_minor
    from (
        select channel, month, acquired_on, (occurred_at at time zone :zone)::date as day, f.net_minor
        from cohort join (
            select customer_id, occurred_at, amount_minor as net_minor from purchase
            union all select customer_id, occurred_at, -amount_minor from purchase_return) f using (customer_id)) paid
    group by channel, month, paid_on
""")

Key = tuple[str | None, date | None]


class _Sums(NamedTuple):
    """What the facts and the costs add up to, per channel and month, per channel (month None), and in all (both None)."""

    net: dict[Key, Counter[date]]
    first_year: Counter[Key]
    cost: Counter[Key]


def report(session: Session, since: date, until: date, *, by_month: bool) -> dict[str, Any]:
    """Customers acquired in the months [since, until) by channel, all of them first, with what they cost and brought in."""
    period = {"since": since, "until": until, "zone": books(session).time_zone}
    session.execute(text("select set_config('statement_timeout', :longest, true)"), {"longest": LONGEST})
    customers = {(row.channel, row.month): row for row in session.execute(_CUSTOMERS, period)}
    sums = _sums(session, period)
    keys = {key for key in (*customers, *sums.cost, (None, None)) if by_month or key[1] is None}
    calibration = current(session)
    return {
        "from_": since,
        "to": until,
        "currency": books(session).currency,
        "predicted_as_of": None if calibration is None else calibration.as_of,
        "rows": [
            _figures(key, customers.get(key), sums)
            for key in sorted(keys, key=lambda key: (key[0] or "", key[1] or date.min))
        ],
    }


def _sums(session: Session, period: dict[str, Any]) -> _Sums:
    sums = _Sums(defaultdict(Counter), Counter(), Counter())
    for row in session.execute(_REVENUE, period):
        for key in ((row.channel, row.month), (row.channel, None), (None, None)):
            sums.net[key][row.paid_on] += row.net_minor
            sums.first_year[key] += row.first_year_minor
    for row in costs(session, None, period["since"], period["until"], None, 1_000_000):
        for key in ((row.channel, row.month), (row.channel, None), (None, None)):
            sums.cost[key] += row.amount_minor
    return sums


def _figures(key: Key, row: Row[Any] | None, sums: _Sums) -> dict[str, Any]:
    customers = row.customers if row else 0
    spent = sums.cost.get(key)
    net, first_year = sums.net[key].total(), sums.first_year[key]
    predicted = row.clv_minor if row else None
    lifetime = None if predicted is None else net + predicted
    return {
        "channel": key[0],
        "month": key[1],
        "customers": customers,
        "buyers": row.buyers if row else 0,
        "days_to_first_purchase": row.days_to_first if row else None,
        "net_revenue_minor": net,
        "first_year_minor": first_year,
        "first_year_complete": bool(row and row.first_year_complete),
        "first_year_minor_each": each(first_year, customers),
        "predicted_clv_minor_each": each(predicted, customers),
        "clv_minor_each": each(lifetime, customers),
        "cost_minor": spent,
        "cost_minor_each": each(spent, customers),
        "payback_years": ratio(spent, first_year),
        "paid_back_in": None if spent is None else paid_back_in(spent, sums.net[key]),
        "clv_to_cost": ratio(lifetime, spent),
    }
