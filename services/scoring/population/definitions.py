"""What is computed of everybody, as expressions that each engine compiles to its own SQL.

The rules are those of ``rules/rfm`` and ``rules/tiers``. Everything is integers, times and dates, compared and added up, so
that no two engines can round differently; sessions are in UTC.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.operations as ops

from services.scoring.population.facts import Expression, customer, purchase, purchase_return
from services.scoring.rules.policy import Level, Policy
from services.scoring.rules.rfm import BANDS, mean_band

# Whole days before as_of of the rolling windows.
WINDOWS = (30, 90, 365)
METRICS, SCORES = "population_metrics", "population_score"
_MICROSECONDS = 86_400_000_000  # of a day


# Words of Postgres that ibis lacks; the other engines are taught those that they do not know (``engines``).


@ibis.udf.scalar.builtin  # type: ignore[untyped-decorator]
def timezone(zone: str, moment: dt.Timestamp(timezone="UTC")) -> dt.timestamp:  # type: ignore[valid-type]
    """What the clock of a zone shows at a moment. (Casting a moment to a zone looks like it in ibis, and does nothing.)"""


@ibis.udf.scalar.builtin  # type: ignore[untyped-decorator]
def date_mi(day: dt.date, before: dt.date) -> dt.int32:
    """Whole days from one date to a later one."""


def metrics(as_of: datetime, time_zone: str) -> Expression:
    """One row per active customer with a fact before ``as_of``: what the table ``metrics`` would have held then, and more.

    A purchase counts if it is worth more than nothing net of the returns that name it. ``occasions`` are the distinct
    calendar days of counted purchases in ``time_zone``, from ``first_day`` to ``last_day``; ``gap_square_sum`` is the sum of
    the squares of the whole days between one and the next, so that the mean and the spread of a customer's gaps follow.
    ``purchase_count_30d`` and ``net_revenue_30d_minor`` (90d, 365d) are the counted purchases of the 30 × 24 hours before
    ``as_of``, and what was bought minus what was taken back in them.
    """
    returns = purchase_return.filter(purchase_return.occurred_at < as_of)
    bought = _bought(_with_gaps(_purchases(returns, as_of, time_zone)), as_of)
    returned = _returned(returns, as_of)
    active = customer.filter(customer.state == "active")
    both = active.left_join(bought, "customer_id").left_join(
        returned, "customer_id", rname="{name}_of_returns"
    )
    last_fact_at = ibis.greatest(both.last_bought_at, both.last_returned_at)

    def count(column: str) -> Expression:
        return both[column].fill_null(0)

    rolling = {}
    for days in WINDOWS:
        rolling[f"purchase_count_{days}d"] = count(f"purchase_count_{days}d")
        rolling[f"net_revenue_{days}d_minor"] = count(f"bought_{days}d_minor") - count(
            f"returned_{days}d_minor"
        )
    return both.filter(last_fact_at.notnull()).select(
        "customer_id",
        "first_purchase_at",
        "last_purchase_at",
        purchase_count=count("purchase_count"),
        counted_minor=count("counted_minor"),
        gross_minor=count("gross_minor"),
        returned_minor=count("returned_minor"),
        cancelled_minor=count("cancelled_minor"),
        last_fact_at=last_fact_at,
        occasions=count("occasions"),
        first_day=both.first_day,
        last_day=both.last_day,
        gap_square_sum=count("gap_square_sum"),
        **rolling,
    )


def _purchases(returns: Expression, as_of: datetime, time_zone: str) -> Expression:
    """``left_minor`` is what is left of a purchase, ``day`` the calendar day of one that counts."""
    back = (
        returns.filter(returns.purchase_id.notnull())
        .group_by("purchase_id")
        .agg(back_minor=_total(returns.amount_minor))
    )
    both = purchase.filter(purchase.occurred_at < as_of).left_join(back, "purchase_id")
    left_minor = both.amount_minor - both.back_minor.fill_null(0)
    day = timezone(time_zone, both.occurred_at).date()
    return both.select(
        "customer_id",
        "occurred_at",
        "amount_minor",
        left_minor=left_minor,
        day=(left_minor > 0).ifelse(day, None),
    )


def _with_gaps(bought: Expression) -> Expression:
    """``gap``: days since the purchase before that counts, 0 for another of the same day, null for the first."""
    # By day, not by moment: where a clock is put back over midnight, a later moment may have the earlier date.
    run = ibis.window(group_by=bought.customer_id, order_by=bought.day.asc(nulls_first=False))
    return bought.mutate(gap=date_mi(bought.day, bought.day.lag().over(run)).cast("int64"))


def _bought(bought: Expression, as_of: datetime) -> Expression:
    counts = bought.day.notnull()
    rolling = {}
    for days in WINDOWS:
        inside = bought.occurred_at >= as_of - timedelta(days=days)
        rolling[f"purchase_count_{days}d"] = bought.count(where=counts & inside)
        rolling[f"bought_{days}d_minor"] = _total(bought.amount_minor, inside)
    return bought.group_by("customer_id").agg(
        first_purchase_at=bought.occurred_at.min(where=counts),
        last_purchase_at=bought.occurred_at.max(where=counts),
        purchase_count=bought.count(where=counts),
        counted_minor=_total(bought.left_minor, counts),
        gross_minor=_total(bought.amount_minor),
        last_bought_at=bought.occurred_at.max(),
        occasions=bought.count(where=counts & (bought.gap.isnull() | (bought.gap > 0))),
        first_day=bought.day.min(),
        last_day=bought.day.max(),
        gap_square_sum=_total(bought.gap * bought.gap),
        **rolling,
    )


def _returned(returns: Expression, as_of: datetime) -> Expression:
    amount = returns.amount_minor
    rolling = {
        f"returned_{days}d_minor": _total(amount, returns.occurred_at >= as_of - timedelta(days=days))
        for days in WINDOWS
    }
    return returns.group_by("customer_id").agg(
        returned_minor=_total(amount, ~returns.cancellation),
        cancelled_minor=_total(amount, returns.cancellation),
        last_returned_at=returns.occurred_at.max(),
        **rolling,
    )


def scores(metrics: Expression, as_of: datetime, policy: Policy, minor_per_unit: int) -> Expression:
    """One row per counted customer (one with a purchase that counts) of ``metrics``, by ``policy``.

    ``recency_worse``, ``frequency_worse`` and ``monetary_worse`` are how many counted customers are strictly worse;
    ``numerator`` is the value score × the number of them, ``score_worse`` how many have a lower one. The bands ``r``, ``f``,
    ``m``, ``value_class`` and ``deserved_tier`` follow from these or, in a small base, from fixed thresholds in whole units
    of the accounting currency, of ``minor_per_unit`` each.
    """
    counted = metrics.filter(metrics.purchase_count > 0)
    measured = counted.select(
        "customer_id",
        recency_days=_whole_days(counted.last_purchase_at, as_of),
        frequency=counted.purchase_count,
        monetary_minor=counted.gross_minor - counted.returned_minor - counted.cancelled_minor,
        counted=counted.count().as_scalar(),
    )
    placed = measured.mutate(
        recency_worse=_worse(measured.recency_days.desc()),
        frequency_worse=_worse(measured.frequency),
        monetary_worse=_worse(measured.monetary_minor),
    )
    weighed = placed.mutate(
        numerator=policy.recency_weight * placed.recency_worse
        + policy.frequency_weight * placed.frequency_worse
        + policy.monetary_weight * placed.monetary_worse
    )
    ranked = weighed.mutate(score_worse=_worse(weighed.numerator))
    return _named(_banded(ranked, policy, minor_per_unit), policy, minor_per_unit)


def _banded(ranked: Expression, policy: Policy, minor_per_unit: int) -> Expression:
    by_population = ranked.counted >= policy.small_base

    def band(worse: Expression, fixed: Iterable[Expression]) -> Expression:
        shares = (BANDS * worse >= reached * ranked.counted for reached in range(1, BANDS))
        return by_population.ifelse(1 + _how_many(shares), 1 + _how_many(fixed))

    return ranked.mutate(
        r=band(ranked.recency_worse, (ranked.recency_days <= days for days in policy.fixed_recency_days)),
        f=band(ranked.frequency_worse, (ranked.frequency >= count for count in policy.fixed_frequency)),
        m=band(
            ranked.monetary_worse,
            (ranked.monetary_minor >= units * minor_per_unit for units in policy.fixed_monetary),
        ),
    )


def _named(banded: Expression, policy: Policy, minor_per_unit: int) -> Expression:
    by_population = banded.counted >= policy.small_base

    def highest_of(levels: Sequence[Level]) -> Expression:
        reached = [
            (
                by_population.ifelse(
                    100 * banded.score_worse >= level.percentile * banded.counted,
                    banded.monetary_minor >= (level.net_revenue or 0) * minor_per_unit,
                ),
                level.code,
            )
            for level in reversed(levels[1:])
        ]
        return ibis.cases(*reached, else_=levels[0].code)

    f_and_m = banded.f + banded.m
    names = [
        (r, f_and_m.cases(*((both, row[mean_band(both, 0) - 1]) for both in range(2, 2 * BANDS + 1))))
        for r, row in enumerate(policy.segments, start=1)
    ]
    return banded.mutate(
        segment=banded.r.cases(*names),
        value_class=highest_of(policy.value_classes),
        deserved_tier=highest_of(policy.tiers),
    )


def _worse(order: Expression) -> Expression:
    """How many rows are strictly worse: ranks of ibis count from 0, with equals alike."""
    return ibis.rank().over(ibis.window(order_by=order))


def _how_many(conditions: Iterable[Expression]) -> Expression:
    return sum(each.ifelse(1, 0) for each in conditions)


def _total(amount: Expression, where: Expression = None) -> Expression:
    """A sum that stays a bigint, where Postgres would make numeric of it and DuckDB hugeint."""
    return _cast(amount.sum(where=where), dt.int64)


def _whole_days(since: Expression, until: datetime) -> Expression:
    passed = ibis.literal(until).delta(since, unit="microsecond")
    # ``//`` divides as floats: exact only without a remainder.
    return (passed - passed % _MICROSECONDS) // _MICROSECONDS


def _date(day: Expression) -> Expression:
    return _cast(ibis.date(1970, 1, 1) + day.as_interval("D"), dt.date)


def _cast(value: Expression, to: dt.DataType) -> Expression:
    """A cast that ibis does not leave out although it takes the value to be of that type already."""
    return ops.Cast(value, to).to_expr()
