"""The watch over the company: daily series from the facts, the alerts in them, and the customers behind.

Every run replays the past day by day (rules/watch.py) and tells what it has not told yet, so that facts that came late are
judged like those that came in time. A day is a calendar day of the company's time zone; the last one that is judged is the
last whole day before as_of. This module brings numpy: it is the job's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from services.scoring.domain.alerts import unit
from services.scoring.domain.calibrations import current
from services.scoring.domain.facts import books
from services.scoring.rules import watch
from services.scoring.rules.watch import Bools, Floats, Kind
from services.scoring.tables import customer
from shared.customers import lock_owners
from shared.events.scoring import AlertRaised
from shared.ids import uuid7
from shared.messaging.outbox import announce

REPLAYED_DAYS = 600
# Of a company's first days nothing is told: nobody knows yet what is usual. Where older facts are left out, the replay says the
# same wherever it began only after level, weekday and spread have each looked back in full.
WARM_UP_DAYS = 70
SETTLED_DAYS = 200
# An amount is made up by many purchases where there are so many on an average open day.
MANY_A_DAY = 10
# Facts may come so late and still be judged. Nothing older is news, as when a product becomes one of the largest.
LATE_DAYS = 30
USUAL_DAYS = 56  # before an alert: what its customers usually do

_DAY = "({moment} at time zone :zone)::date"
_WITHIN = (
    "{moment} >= cast(:first as date)::timestamp at time zone :zone"
    " and {moment} < (cast(:last as date) + 1)::timestamp at time zone :zone"
)


def _of(moment: str) -> tuple[str, str]:
    return _DAY.format(moment=moment), _WITHIN.format(moment=moment)


_ON, _BETWEEN = _of("occurred_at")
_AS_OF_DAY, _AS_OF_BETWEEN = _of("as_of")
_SAID_ON, _SAID_BETWEEN = _of("effective_at")

# Money in and out per customer and day; `times` is how many purchases or returns it was.
_MONEY = f"""
    select customer_id, day, sum(bought) as bought, sum(net_minor) as net_minor, sum(back) as back,
           sum(back_minor) as back_minor
    from (
        select customer_id, {_ON} as day, (amount_minor > 0)::integer as bought, amount_minor as net_minor, 0 as back,
               0 as back_minor
        from purchase where {_BETWEEN}
        union all
        select customer_id, {_ON}, 0, -amount_minor, 1, amount_minor from purchase_return where {_BETWEEN}) fact
    group by customer_id, day"""


@dataclass(frozen=True)
class Family:
    """Series of one kind, the ``most`` largest of them. ``contributions`` is what each customer adds on each day: name,
    customer_id, day, value and how many ``times`` it happened."""

    contributions: str
    most: int


FAMILIES: Mapping[str, Family] = {
    "company": Family(
        f"""
        select name, customer_id, day, value, times from ({_MONEY}) money cross join lateral (values
            ('purchases', bought, bought), ('active_customers', least(bought, 1), bought),
            ('net_revenue', net_minor, bought), ('taken_back', back_minor, back)) series (name, value, times)""",
        4,
    ),
    # By the tier that the customer held then: as_of is the time that a change of tier speaks of.
    "tier": Family(
        f"""
        select tier as name, p.customer_id, {_ON} as day, 1 as value, 1 as times
        from purchase p join (
            select customer_id, tier, as_of as since,
                   lead(as_of, 1, 'infinity') over (partition by customer_id order by as_of, tier_change_id) as until
            from tier_change) held
            on held.customer_id = p.customer_id and p.occurred_at >= held.since and p.occurred_at < held.until
        where amount_minor > 0 and {_BETWEEN}""",
        20,
    ),
    "country": Family(
        f"""
        select country as name, customer_id, day, net_minor as value, bought as times
        from ({_MONEY}) money join customer using (customer_id) where country is not null""",
        10,
    ),
    "channel": Family(
        f"""
        select channel as name, customer_id, {_ON} as day, 1 as value, 1 as times
        from purchase where amount_minor > 0 and channel is not null and {_BETWEEN}""",
        20,
    ),
    "product": Family(
        f"""
        select sku as name, customer_id, {_ON} as day, quantity as value, 1 as times
        from purchase_line join purchase using (purchase_id) where quantity > 0 and {_BETWEEN}""",
        200,
    ),
    # Moved by their own facts or by time alone, not by new boundaries.
    "churn": Family(
        f"""
        select 'fell_silent' as name, customer_id, {_AS_OF_DAY} as day, 1 as value, 1 as times
        from stage_change
        where stage in ('dormant', 'lost') and coalesce(previous_stage, '') not in ('dormant', 'lost')
            and reason not in ('calibration', 'merge') and not historical and {_AS_OF_BETWEEN}""",
        1,
    ),
    # Of each customer the last word is kept: a share of those whose last word is of that day.
    "satisfaction": Family(
        f"""
        select 'detractors' as name, customer_id, {_SAID_ON} as day, (satisfaction = 'detractor')::integer as value,
               1 as times
        from satisfaction where satisfaction <> 'unknown' and {_SAID_BETWEEN}""",
        1,
    ),
}

_SERIES = """
    with series as materialized (
        select name, day, sum(value)::double precision as value, sum(times)::bigint as times
        from ({contributions}) contribution group by name, day),
    largest as materialized (select name from series group by name order by sum(value) desc, name limit :most)
    select name, day, value, times from series join largest using (name) order by name, day
"""

_OPEN_DAYS = text(f"""
    select distinct {_ON} from purchase where {_BETWEEN}
    union select distinct {_ON} from purchase_return where {_BETWEEN}
""")

_CONTRIBUTORS = """
    select customer_id, sum(case when day >= :since then value else 0 end)::double precision as observed,
           sum(case when day < :since then value else 0 end)::double precision as before
    from ({contributions}) contribution where name = :name group by customer_id
"""

_RAISE = text("""
    insert into alert (alert_id, kind, name, direction, since, day, observed, expected, score, score_limit)
    values (:alert_id, :kind, :name, :direction, :since, :day, :observed, :expected, :score, :limit)
""")


class Series(NamedTuple):
    """``values`` and ``times`` by calendar day."""

    family: str
    name: str
    values: Floats
    times: Floats


class Found(NamedTuple):
    """What a replay came to: its last day, how many series it judged, how many alerts are new."""

    until: date | None
    series: int
    alerts: int


def raise_alerts(session: Session, as_of: datetime | None) -> Found:
    """Replay the past up to the last whole day before ``as_of`` and store the alerts that were not told yet.

    Without ``as_of``: as of the calibration's, where that is pinned, else as of now. Two runs wait for each other.
    """
    settings = session.execute(
        text("select kinds, open_weekdays, judged_until from watching for update")
    ).one()
    last = _last_day(session, as_of)
    began = session.scalar(
        text("select (min(first_purchase_at) at time zone :zone)::date from metrics"),
        {"zone": books(session).time_zone},
    )
    if began is None or began > last:
        return Found(None, 0, 0)
    first = max(began, last - timedelta(days=REPLAYED_DAYS - 1))
    told_from = first + timedelta(days=WARM_UP_DAYS if first == began else SETTLED_DAYS)
    days = [first + timedelta(days=each) for each in range((last - first).days + 1)]
    is_open = np.isin(days, sorted(_open_days(session, first, last, settings.open_weekdays)))
    series = [each for kind in FAMILIES if kind in settings.kinds for each in _series(session, kind, days)]
    if settings.judged_until is not None and settings.judged_until <= last:
        told_from = max(told_from, settings.judged_until - timedelta(days=LATE_DAYS))
    if is_open.any():
        session.execute(
            text("update watching set judged_until = greatest(judged_until, :last)"), {"last": last}
        )
    alerts = _replay(days, is_open, series)
    told = _told(session, told_from)
    new = []
    for alert in sorted(alerts, key=lambda each: (each.day, each.series)):
        watched = series[alert.series]
        spans = told.setdefault((watched.family, watched.name, alert.direction), [])
        # The days of an event are told once, though late facts may have moved its first sign.
        if alert.day < told_from or any(
            alert.since <= until and alert.day >= since for since, until in spans
        ):
            continue
        spans.append((alert.since, alert.day))
        new.append(
            {
                "alert_id": uuid7(),
                "kind": watched.family,
                "name": watched.name,
                "direction": alert.direction,
                "since": alert.since,
                "day": alert.day,
                "observed": alert.observed,
                "expected": alert.expected,
                "score": alert.score,
                "limit": alert.limit,
            }
        )
    if new:
        session.execute(_RAISE, new)
    return Found(last, len(series), len(new))


def explain(session: Session, size: int) -> int:
    """Look up the customers behind the next ``size`` alerts that are not explained yet, the oldest first, and announce them;
    gives how many there were."""
    settings = session.execute(text("select open_weekdays from watching for update")).one()
    rows = session.execute(
        text("select * from alert where change is null order by day, alert_id limit :size"), {"size": size}
    ).all()
    for row in rows:
        behind = _behind(session, row, settings.open_weekdays)
        # Merges and erasures wait until this is committed, and take it with them.
        active = lock_owners(session, customer, {each.customer for each in behind.contributors}).active
        kept = [each for each in behind.contributors if each.customer in active]
        if kept:
            session.execute(
                text(
                    "insert into alert_customer (alert_id, recorded_customer_id, customer_id, change)"
                    " values (:alert_id, :recorded, :owner, :change)"
                ),
                [
                    {
                        "alert_id": row.alert_id,
                        "recorded": each.customer,
                        "owner": active[each.customer],
                        "change": each.change,
                    }
                    for each in kept
                ],
            )
        session.execute(
            text("update alert set change = :change where alert_id = :id"),
            {"change": behind.change, "id": row.alert_id},
        )
        announce(session, _raised(session, row, len(kept)))
    return len(rows)


def _last_day(session: Session, as_of: datetime | None) -> date:
    calibration = current(session)
    if as_of is None and calibration is not None and calibration.pinned:
        as_of = calibration.as_of
    day: date = session.scalars(
        text("select (coalesce(cast(:as_of as timestamptz), now()) at time zone :zone)::date - 1"),
        {"as_of": as_of, "zone": books(session).time_zone},
    ).one()
    return day


def _open_days(session: Session, first: date, last: date, weekdays: Sequence[int] | None) -> set[date]:
    if weekdays is not None:
        days = (first + timedelta(days=each) for each in range((last - first).days + 1))
        return {day for day in days if day.isoweekday() in weekdays}
    return set(session.scalars(_OPEN_DAYS, _range(session, first, last)))


def _range(session: Session, first: date, last: date) -> dict[str, Any]:
    return {"first": first, "last": last, "zone": books(session).time_zone}


def _series(session: Session, kind: str, days: Sequence[date]) -> list[Series]:
    family = FAMILIES[kind]
    rows = session.execute(
        text(_SERIES.format(contributions=family.contributions)),
        _range(session, days[0], days[-1]) | {"most": family.most},
    )
    found: dict[str, Series] = {}
    for row in rows:
        if row.name not in found:
            found[row.name] = Series(kind, row.name, np.zeros(len(days)), np.zeros(len(days)))
        at = (row.day - days[0]).days
        found[row.name].values[at], found[row.name].times[at] = row.value, row.times
    return list(found.values())


def _replay(days: Sequence[date], is_open: Bools, series: Sequence[Series]) -> list[watch.Alert]:
    if not series or not is_open.any():
        return []
    families = list(dict.fromkeys(each.family for each in series))
    return watch.replay(
        days,
        np.column_stack([each.values for each in series]),
        [_kind(each, is_open) for each in series],
        families=np.array([families.index(each.family) for each in series]),
        # A share of the answers; everything else as it is.
        exposure=np.column_stack(
            [each.times if each.family == "satisfaction" else np.ones(len(days)) for each in series]
        ),
        open_days=is_open,
    )


def _kind(series: Series, is_open: Bools) -> Kind:
    """One return can be a hundred times the usual one, however many there are, and so can one order of a product."""
    if series.family == "product" or series.name == "taken_back":
        return "amount"
    if unit(series.family, series.name) == "count":
        return "count"
    return "total" if series.times[is_open].mean() >= MANY_A_DAY else "amount"


def _told(session: Session, since: date) -> dict[tuple[str, str, str], list[tuple[date, date]]]:
    """The days of the alerts told so far, by series and direction."""
    told: dict[tuple[str, str, str], list[tuple[date, date]]] = {}
    rows = session.execute(
        text("select kind, name, direction, since, day from alert where day >= :since"), {"since": since}
    )
    for row in rows:
        told.setdefault((row.kind, row.name, row.direction), []).append((row.since, row.day))
    return told


def _behind(session: Session, alert: Row[Any], weekdays: Sequence[int] | None) -> watch.Behind[UUID]:
    """Who did what differently on the days of an alert than on the open days of the eight weeks before."""
    first = alert.since - timedelta(days=USUAL_DAYS)
    open_days = _open_days(session, first, alert.day, weekdays)
    before = sum(day < alert.since for day in open_days)
    part = (len(open_days) - before) / before if before else 0.0
    rows = session.execute(
        text(_CONTRIBUTORS.format(contributions=FAMILIES[alert.kind].contributions)),
        _range(session, first, alert.day) | {"since": alert.since, "name": alert.name},
    ).all()
    return watch.behind(
        {row.customer_id: row.observed for row in rows},
        {row.customer_id: row.before * part for row in rows},
    )


def _raised(session: Session, row: Row[Any], customers: int) -> AlertRaised:
    measured = unit(row.kind, row.name)
    open_books = books(session)
    today = session.scalars(
        text("select (now() at time zone :zone)::date"), {"zone": open_books.time_zone}
    ).one()
    return AlertRaised(
        alert_id=row.alert_id,
        kind=row.kind,
        name=row.name,
        direction=row.direction,
        since=row.since,
        day=row.day,
        observed=row.observed,
        expected=row.expected,
        score=row.score,
        unit=measured,
        currency=open_books.currency if measured == "minor" else None,
        customers=customers,
        historical=(today - row.day).days > session.info["settings"].historical_after_days,
    )
