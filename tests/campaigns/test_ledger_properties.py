"""The books do not depend on who was slow: any interleaving of the topics ends in the same state."""

from collections import defaultdict
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from services.campaigns.app import SERVICE
from services.campaigns.rules import earning
from services.campaigns.settings import CampaignsSettings
from tests.campaigns.conftest import NOON, Programme, bought, cancelled, minutes, registered, returned, tier

CUSTOMERS = (UUID(int=1), UUID(int=2))
MULTIPLIERS = CampaignsSettings.model_fields["multipliers"].default


@st.composite
def histories(draw):
    """What happened, minute by minute, to two customers: profile's events in order, and scoring's tier changes."""
    profile, scoring, open_purchases = [], [], []
    for minute in range(draw(st.integers(1, 14))):
        at, customer_id = minutes(minute), draw(st.sampled_from(CUSTOMERS))
        kind = draw(st.sampled_from(("buy", "buy", "return", "stray", "cancel", "tier", "tier")))
        ours = [pair for pair in open_purchases if pair[0].customer_id == customer_id]
        if kind == "buy":
            purchase = bought(customer_id, draw(st.integers(0, 50_000)), at, external_id=f"o{minute}")
            profile.append(purchase)
            open_purchases.append([purchase, purchase.total_minor])
        elif kind == "return" and ours:
            pair = draw(st.sampled_from(ours))
            pair[1] = draw(st.integers(0, pair[1]))
            profile.append(returned(pair[0], pair[1], at, external_id=f"r{minute}"))
        elif kind == "cancel" and ours:
            pair = draw(st.sampled_from(ours))
            pair[1] = 0
            open_purchases.remove(pair)
            profile.append(cancelled(pair[0], at))
        elif kind == "stray":
            value = bought(customer_id, draw(st.integers(0, 20_000)))
            nothing = {"purchase_id": None, "net_left_minor": None, "accounting_net_left_minor": None}
            profile.append(returned(value, 0, at, external_id=f"s{minute}", **nothing))
        elif kind == "tier":
            # In force from a fact's own moment, or from between two.
            moment = minutes(minute + draw(st.sampled_from((0, 0.5))))
            scoring.append(
                tier(customer_id, draw(st.sampled_from(tuple(MULTIPLIERS))), moment, historical=True)
            )
    return profile, scoring


def interleaved(draw, *topics):
    """The events of each topic and key in order, everything else in any order."""
    queues = defaultdict(list)
    for events in topics:
        for event in events:
            queues[event.topic, event.key].append(event)
    waiting = [queues[name] for name in sorted(queues)]
    order = []
    while waiting:
        queue = draw(st.sampled_from(waiting))
        order.append(queue.pop(0))
        waiting = [each for each in waiting if each]
    return order


def batches(draw, events):
    """The events in the batches of a consumer."""
    while events:
        size = draw(st.integers(1, len(events)))
        yield events[:size]
        events = events[size:]


def expected(profile, scoring):
    """Points per customer, from the definition: net value left × the multiplier in force just before."""
    points = dict.fromkeys(CUSTOMERS, 0)
    left, purchases = {}, {}
    for event in profile:
        if hasattr(event, "lines") and hasattr(event, "total_minor"):
            purchases[event.purchase_id] = event
            left[event.purchase_id] = event.total_minor
        elif event.purchase_id is None:
            points[event.customer_id] -= event.accounting_amount_minor // 100
        else:
            left[event.purchase_id] = getattr(event, "accounting_net_left_minor", 0)
    for purchase_id, event in purchases.items():
        before = [
            (change.effective_at, place, change.tier)
            for place, change in enumerate(scoring)
            if change.customer_id == event.customer_id and change.effective_at < event.recorded_at
        ]
        percent = MULTIPLIERS[max(before)[2]] if before else 100
        points[event.customer_id] += left[purchase_id] // 100 * percent // 100
    return points


@pytest.fixture
def ledger(service) -> Programme:
    return Programme(service(SERVICE))


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_interleaving_of_the_topics_ends_in_the_same_books(ledger, data):
    profile, scoring = data.draw(histories())
    told = expected(profile, scoring)
    states = []
    for _ in range(2):
        with ledger.service.sessions() as session:
            outer = session.begin_nested()
            _empty(session)
            names = [registered(customer_id, f"c{customer_id.int}") for customer_id in CUSTOMERS]
            ledger.hear(*names)
            for batch in batches(data.draw, interleaved(data.draw, profile, scoring)):
                ledger.hear(*batch)
            with ledger.service.sessions() as reading:
                rows = reading.execute(text("select customer_id, balance from points_account")).all()
            balances = dict.fromkeys(CUSTOMERS, 0) | {row.customer_id: row.balance for row in rows}
            assert balances == told
            assert ledger.broken_invariants() == []
            states.append(ledger.state())
            outer.rollback()
    assert states[0] == states[1]


def _empty(session):
    session.execute(
        text(
            "truncate customer, points_account, movement, posting, purchase, unmatched_return, tier_change, held_back"
        )
    )
    session.flush()


def test_points_before_the_first_tier_count_once():
    assert earning.percent_of(None, MULTIPLIERS) == 100
    assert minutes(0) == NOON


@given(st.integers(-(10**9), 10**9), st.sampled_from((1, 100, 1000)), st.sampled_from((100, 125, 150, 200)))
def test_points_never_come_from_nothing_and_never_exceed_the_multiplier(net, unit, percent):
    points = earning.points_for(net, unit, 1, percent)
    assert 0 <= points <= max(net, 0) / unit * percent / 100


@given(
    st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**7), st.sampled_from((100, 125, 150, 200))
)
def test_what_is_due_equals_earning_everything_and_reversing_each_return(total, first, second, percent):
    left_first = min(total, first)
    left_last = min(left_first, second)
    earned = earning.points_for(total, 100, 1, percent)
    reversed_once = earned - earning.points_for(left_first, 100, 1, percent)
    reversed_twice = earned - earning.points_for(left_last, 100, 1, percent) - reversed_once
    assert earned - reversed_once - reversed_twice == earning.due(total, left_last, 100, 1, percent)
