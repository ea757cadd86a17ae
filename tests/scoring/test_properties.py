"""The same result in whatever order the events arrive and however they are cut into batches; SQL counts as Python does."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from services.scoring.domain import calibrations
from services.scoring.rules import rfm, tiers
from services.scoring.rules.policy import Policy
from shared.events.envelope import Event
from shared.events.profile import PurchaseCancelled, PurchaseRecorded, PurchaseReturned
from tests.scoring.world import MIDNIGHT, NOON, World, days

SLOW = {"max_examples": 60, "deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


@dataclass(frozen=True)
class Bought:
    customer: int
    amount: int
    day: float
    parts_returned: tuple[int, ...]  # per cent of the amount, each a return of its own
    cancelled: bool


histories = st.lists(
    st.builds(
        Bought,
        customer=st.integers(0, 3),
        amount=st.integers(0, 30),
        day=st.integers(0, 80).map(
            lambda half: half / 2
        ),  # noon or midnight: two on one calendar day now and then
        parts_returned=st.lists(st.sampled_from([10, 30, 50, 100]), max_size=2).map(tuple),
        cancelled=st.booleans(),
    ),
    max_size=14,
)
unmatched = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 30), st.integers(0, 40)), max_size=3)


@contextmanager
def undone(world: World) -> Iterator[World]:
    """Each example in a savepoint of its own."""
    with world.scoring.sessions() as session:
        session.execute(text("savepoint example"))
        fresh = World(world.scoring)
        try:
            yield fresh
        finally:
            for table in (
                "purchase",
                "purchase_return",
                "metrics",
                "customer",
                "score",
                "outlook",
                "stage_change",
                "tier",
                "tier_change",
            ):
                session.execute(text(f"delete from {table}"))
            for table in ("calibration", "distribution", "model", "shared.outbox_pending", "shared.outbox"):
                session.execute(text(f"delete from {table}"))
            session.commit()


def events_of(
    world: World, history: Sequence[Bought], returns: Sequence[tuple[int, int, int]]
) -> list[Event]:
    events: list[Event] = [world.registered(f"c{i}") for i in range(4)]
    for number, each in enumerate(history):
        name, at = f"c{each.customer}", NOON - days(each.day)
        events.append(world.purchase(name, f"P{number}", each.amount, at))
        left = each.amount
        for part in each.parts_returned:
            amount = min(left, each.amount * part // 100)
            left -= amount
            if amount:
                events.append(world.returned(name, f"P{number}", amount, at + days(1)))
        if each.cancelled and left:
            events.append(world.cancelled(name, f"P{number}", left, at + days(2)))
    events += [world.returned(f"c{who}", None, amount, NOON - days(day)) for who, amount, day in returns]
    return events


def expected(world: World, events: Sequence[Event]) -> list[tuple[Any, ...]]:
    """Metrics from nothing, in plain Python."""
    rows = []
    for name in sorted(world.customers):
        mine = [event for event in events if getattr(event, "customer_id", None) == world.customer(name)]
        bought = [event for event in mine if isinstance(event, PurchaseRecorded)]
        back = [event for event in mine if isinstance(event, PurchaseReturned | PurchaseCancelled)]
        if not bought and not back:
            continue
        counted = []
        for purchase in bought:
            left = purchase.accounting_total_minor - sum(
                each.accounting_amount_minor for each in back if each.purchase_id == purchase.purchase_id
            )
            if left > 0:
                counted.append((purchase.occurred_at, left))
        rows.append(
            (
                name,
                min((at for at, _ in counted), default=None),
                max((at for at, _ in counted), default=None),
                len(counted),
                sum(left for _, left in counted),
                *rhythm({at.astimezone(world.zone).date() for at, _ in counted}),
                sum(each.accounting_total_minor for each in bought),
                sum(each.accounting_amount_minor for each in back if isinstance(each, PurchaseReturned)),
                sum(each.accounting_amount_minor for each in back if isinstance(each, PurchaseCancelled)),
                max(each.occurred_at for each in mine if each in bought or each in back),
            )
        )
    return rows


def rhythm(occasions: set[date]) -> tuple[int, int, list[date]]:
    gaps = [(after - before).days for before, after in pairwise(sorted(occasions))]
    return len(occasions), sum(gap * gap for gap in gaps), sorted(occasions, reverse=True)[:3]


def stored(world: World) -> list[tuple[Any, ...]]:
    with world.scoring.sessions() as session:
        return [
            tuple(row)
            for row in session.execute(
                text("""
                    select substr(c.natural_key, 6), first_purchase_at, last_purchase_at, purchase_count, counted_minor,
                           occasions, gap_square_sum, recent_days, gross_minor, returned_minor, cancelled_minor, last_fact_at
                    from metrics join customer c using (customer_id) order by c.natural_key
                """)
            )
        ]


@settings(**SLOW)
@given(histories, unmatched, st.randoms(use_true_random=False), st.integers(1, 8))
def test_metrics_in_any_order_and_any_batches_equal_a_recomputation(
    world: World,
    history: list[Bought],
    returns: list[tuple[int, int, int]],
    shuffle: random.Random,
    cuts: int,
) -> None:
    with undone(world) as fresh:
        events = events_of(fresh, history, returns)
        arrived = list(events)
        shuffle.shuffle(arrived)
        edges = sorted(shuffle.randint(0, len(arrived)) for _ in range(cuts))
        for start, end in zip([0, *edges], [*edges, len(arrived)], strict=True):
            if start < end:
                fresh.happens(*arrived[start:end])
        assert stored(fresh) == expected(fresh, events)
        fresh.assert_sound()


# Python's own banding of the same customers, from rules/.


def banded(policy: Policy, people: Sequence[tuple[int, int, int]]) -> list[tuple[Any, ...]]:
    """(r, f, m, segment, value class, tier, numerator) of people given as (recency days, frequency, monetary)."""
    n = len(people)
    population = policy.basis(n) == "population"
    columns = [[-days for days, _, _ in people], [f for _, f, _ in people], [m for _, _, m in people]]
    weights = (policy.recency_weight, policy.frequency_weight, policy.monetary_weight)
    worse = [
        tuple(rfm.worse(column, column[i]) for column in columns) for i in range(n)
    ]  # fmt: skip
    numerators = [tiers.value_numerator(weights, each) for each in worse]
    rows = []
    for (recency, frequency, monetary), counts, numerator in zip(people, worse, numerators, strict=True):
        if population:
            r, f, m = (rfm.band(count, n) for count in counts)
            lower = rfm.worse(numerators, numerator)
            tier = tiers.level_by_score(policy.tiers, lower, n)
            value = tiers.level_by_score(policy.value_classes, lower, n)
        else:
            r = rfm.fixed_recency_band(recency, policy.fixed_recency_days)
            f = rfm.fixed_band(frequency, policy.fixed_frequency)
            m = rfm.fixed_band(monetary, [each * 100 for each in policy.fixed_monetary])
            tier = tiers.level_by_revenue(policy.tiers, monetary, 100)
            value = tiers.level_by_revenue(policy.value_classes, monetary, 100)
        rows.append(
            (
                r,
                f,
                m,
                rfm.segment(policy.segments, r, f, m),
                policy.value_classes[value].code,
                policy.tiers[tier].code,
                numerator,
            )
        )
    return rows


@settings(**SLOW | {"max_examples": 12})
@given(
    # Few distinct values, so that ties are everywhere; counts on both sides of the small base.
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, 29, 30, 31, 90, 180, 365, 366]),
            st.sampled_from([1, 2, 3, 5, 10]),
            st.sampled_from([1, 9_999, 10_000, 49_999, 50_000, 200_000, 1_000_000, 2_000_000]),
        ),
        min_size=1,
        max_size=40,
    ),
    st.sampled_from([1, 4]),
)
def test_sql_bands_as_the_rules_do(world: World, people: list[tuple[int, int, int]], times: int) -> None:
    people = [each for each in people for _ in range(times)]
    with undone(world) as fresh:
        names = [f"c{i:03}" for i in range(len(people))]
        fresh.happens(*(fresh.registered(name) for name in names))
        fresh.happens(
            *(
                fresh.purchase(
                    name, f"{name}-{k}", monetary - (frequency - 1) if k == 0 else 1, NOON - days(recency)
                )
                for name, (recency, frequency, monetary) in zip(names, people, strict=True)
                for k in range(frequency)
            )
        )
        fresh.calibrated(MIDNIGHT)
        with fresh.scoring.sessions() as session:
            policy = calibrations.current(session).policy
            rows = session.execute(
                text("""
                    select s.r, s.f, s.m, s.segment, s.value_class, t.tier, s.numerator
                    from score s join tier t using (customer_id) join customer c using (customer_id)
                    order by c.natural_key
                """)
            ).all()
        sums = [
            (recency, frequency if monetary - frequency + 1 > 0 else frequency - 1, monetary)
            for recency, frequency, monetary in people
        ]
        assert [tuple(row) for row in rows] == banded(policy, sums)


def test_recency_is_whole_days_of_24_hours() -> None:
    as_of = datetime.fromisoformat("2011-12-10T00:00:00+00:00")
    assert rfm.whole_days(datetime.fromisoformat("2011-12-09T12:50:00+00:00"), as_of) == 0
    assert rfm.whole_days(datetime.fromisoformat("2011-12-09T00:00:00+00:00"), as_of) == 1
    assert Decimal(rfm.band(0, 1)) == 1
