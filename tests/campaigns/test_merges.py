"""Points and messages follow the customer, and every side has its own back after an unmerge."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from services.campaigns.app import SERVICE
from shared.events.envelope import Event
from shared.events.feedback import CaseOpened, CaseResolved, SurveyInvited
from shared.events.profile import CustomerErased, CustomersMerged, CustomersUnmerged
from shared.ids import uuid7
from tests.campaigns.conftest import (
    NOON,
    Programme,
    bought,
    cancelled,
    felt,
    minutes,
    registered,
    returned,
    tier,
)
from tests.interleaving import (
    SLOW,
    Step,
    deliver,
    histories,
    interleaved,
    merge_events,
    numbered,
    rolled_back,
    stream_of,
)

PEOPLE = tuple(UUID(int=number) for number in range(1, 5))
CONSUMER = SERVICE.consumers[0]


def merge(loser: UUID, winner: UUID, at: Any = NOON, kind: Any = CustomersMerged) -> list[Event]:
    ids = {"winner_id": winner, "loser_id": loser, "effective_at": at}
    return [kind(customer_id=each, **ids) for each in (winner, loser)]


def unmerge(loser: UUID, winner: UUID, at: Any = NOON) -> list[Event]:
    return merge(loser, winner, at, CustomersUnmerged)


def parted(programme: Programme) -> list[dict[str, Any]]:
    return list(programme.service.client.get("/v1/reports/parted-points").json()["items"])


def test_a_merge_hands_the_losers_points_to_the_winner_and_an_unmerge_hands_them_back(programme):
    winner, loser = programme.customer(points=100), programme.customer(points=40)
    programme.hear(*merge(loser, winner))
    assert programme.balance(winner) == programme.balance(loser) == 140, "the alias answers as its winner"
    assert programme.entries(winner) == [("earned", 100), ("transferred", 40)]
    told = {each["direction"]: each for each in programme.announced("points_transferred")}
    assert (told["out"]["customer_id"], told["out"]["points"], told["out"]["balance"]) == (str(loser), 40, 0)
    assert (told["in"]["customer_id"], told["in"]["points"], told["in"]["balance"]) == (str(winner), 40, 140)
    assert programme.broken_invariants() == []
    programme.hear(*unmerge(loser, winner))
    assert (programme.balance(winner), programme.balance(loser)) == (100, 40)
    assert programme.broken_invariants() == []


def test_what_is_earned_and_returned_while_merged_goes_back_with_the_loser(programme):
    winner, loser = programme.customer(points=100), programme.customer()
    before = bought(loser, 5_000)
    programme.hear(before, *merge(loser, winner))
    programme.hear(bought(winner, 3_000, recorded_customer_id=loser), returned(before, 2_000))
    assert programme.balance(winner) == 100 + 20 + 30
    earned = programme.announced("points_earned")[-1]
    assert (earned["customer_id"], earned["recorded_customer_id"]) == (str(winner), str(loser))
    programme.hear(*unmerge(loser, winner))
    assert (programme.balance(winner), programme.balance(loser)) == (100, 50)
    assert programme.broken_invariants() == []


def test_what_the_winner_spent_while_merged_stays_spent_and_is_reported(programme):
    winner, loser = programme.customer(points=100), programme.customer(points=300)
    programme.hear(*merge(loser, winner, minutes(-10_000_000)))
    reply = programme.redeem(loser, programme.reward(price=250))
    assert (reply.status_code, reply.json()["customer_id"]) == (201, str(winner))
    programme.hear(*unmerge(loser, winner))
    assert (programme.balance(winner), programme.balance(loser)) == (-150, 300)
    (report,) = parted(programme)
    assert report["customer_id"] == str(winner)
    assert report["loser_id"] == str(loser)
    assert (report["returned_points"], report["spent_points"], report["balance_left"]) == (300, 250, -150)
    assert programme.redeem(winner, programme.reward(price=1)).json()["code"] == "insufficient_points"
    assert programme.broken_invariants() == []


def test_while_merged_the_winners_tier_counts_for_both_and_afterwards_each_has_its_own(programme):
    winner, loser = programme.customer(), programme.customer()
    programme.hear(tier(winner, "platinum", minutes(1), historical=True))
    programme.hear(bought(loser, 10_000, minutes(2)))
    merged = bought(loser, 10_000, minutes(4))
    programme.hear(merged)  # heard before the merge that was made before it
    assert programme.balance(loser) == 200
    programme.hear(*merge(loser, winner, minutes(3)))
    assert programme.balance(winner) == 100 + 200
    programme.hear(bought(loser, 10_000, minutes(5)))
    assert programme.balance(winner) == 100 + 200 + 200
    programme.hear(*unmerge(loser, winner, minutes(6)))
    assert (programme.balance(winner), programme.balance(loser)) == (0, 300)
    assert programme.broken_invariants() == []


def test_offers_and_messages_follow_and_return(programme):
    winner, loser = programme.customer(), programme.customer()
    programme.hear(tier(loser, "gold"))
    programme.hear(*merge(loser, winner))
    assert len(programme.offers(winner)) == len(programme.messages(winner)) == 1
    programme.hear(
        SurveyInvited(
            customer_id=winner,
            recorded_customer_id=loser,
            invitation_id=uuid7(),
            survey_id=uuid7(),
            channel="email",
            effective_at=NOON,
        )
    )
    assert len(programme.messages(winner)) == 2
    programme.hear(*unmerge(loser, winner))
    assert programme.messages(winner) == programme.offers(winner) == []
    assert len(programme.messages(loser)) == 2
    assert programme.broken_invariants() == []


def test_the_winner_is_left_in_peace_as_long_as_one_of_both_has_an_open_case(programme):
    winner, loser = programme.customer(), programme.customer()
    case = {"case_id": uuid4(), "category": "complaint", "severity": "high", "channel": "survey"}
    programme.hear(felt(loser, "detractor"), CaseOpened(customer_id=loser, effective_at=NOON, **case))
    programme.hear(felt(winner, "promoter"), *merge(loser, winner), tier(winner, "gold"))
    assert paused(programme, winner)
    programme.hear(CaseResolved(customer_id=winner, recorded_customer_id=loser, effective_at=NOON, **case))
    assert not paused(programme, winner)


def paused(programme: Programme, customer_id: UUID) -> bool:
    with programme.service.sessions() as session:
        question = "select exists (select from promotion_pause where customer_id = :id and paused)"
        return bool(session.scalar(text(question), {"id": customer_id}))


def test_an_erased_customers_points_stay_in_the_books_and_nothing_is_sent_any_more(programme):
    customer_id, other = programme.customer(points=70), programme.customer(points=30)
    programme.hear(tier(customer_id, "gold"), felt(customer_id, "detractor"))
    programme.hear(CustomerErased(customer_id=customer_id, erased_at=NOON))
    for path in ("points", "points/entries", "offers", "messages", "redemptions"):
        reply = programme.service.client.get(f"/v1/customers/{customer_id}/{path}")
        assert (reply.status_code, reply.json()["code"]) == (410, "customer_erased")
    assert programme.redeem(customer_id, programme.reward()).status_code == 410
    assert programme.service.client.get("/v1/reports/points").json()["outstanding"] == 100
    assert [each["reason"] for each in programme.announced("message_skipped")] == ["erased"]
    assert [each["customer_id"] for each in programme.announced("erasure_completed")] == [str(customer_id)]
    assert programme.state()["balances"] == sorted(["-|70", f"shop:{other}|30"])
    assert programme.broken_invariants() == []


# Any interleaving of the keys.


def events_of(steps: Sequence[Step], amounts: dict[int, int]) -> list[Event]:
    events: list[Event] = [registered(each, f"c{each.int}") for each in PEOPLE]
    purchases: list[Any] = []
    for step in steps:
        who, owner = PEOPLE[step.who], PEOPLE[step.owner]
        whose = {"recorded_customer_id": who if who != owner else None}
        mine = [each for each in purchases if (each.recorded_customer_id or each.customer_id) == who]
        if step.kind in ("merge", "unmerge"):
            events += merge_events(step, PEOPLE)
        elif step.kind == "buy":
            purchases.append(
                bought(owner, amounts[step.minute], step.at, external_id=f"o{step.minute}", **whose)
            )
            events.append(purchases[-1])
        elif step.kind == "return" and mine:
            left = mine[0].total_minor // 3
            values = {"external_id": f"r{step.minute}", "customer_id": owner, **whose}
            events.append(returned(mine[0], left, step.at, **values))
        elif step.kind == "cancel" and mine:
            purchases.remove(mine[-1])
            called_off = cancelled(mine[-1], step.at)
            events.append(called_off.model_copy(update={"customer_id": owner, **whose}))
        elif step.kind == "tier":
            name = ("standard", "silver", "gold", "platinum")[amounts[step.minute] % 4]
            events.append(tier(who, name, step.at, historical=True))
    return events


def heard(programme: Programme, data: Any, events: Sequence[Event], *aside: Any) -> dict[str, list[str]]:
    records = numbered(events)
    streams = [(stream_of(event), records[event.id]) for event in events]
    order = interleaved(data.draw, [*streams, *((uuid4(), each) for each in aside)])
    deliver(data.draw, programme.service.sessions, CONSUMER, order)
    assert programme.broken_invariants() == []
    return programme.state()


def balances(programme: Programme) -> dict[UUID, int]:
    with programme.service.sessions() as session:
        rows = session.execute(text("select customer_id, balance from points_account where balance <> 0"))
        return {row.customer_id: row.balance for row in rows}


KINDS = ("buy", "buy", "buy", "return", "cancel", "tier")
amounts_of = st.integers(1, 50_000)


@pytest.fixture
def ledger(service) -> Programme:
    return Programme(service(SERVICE))


@settings(**SLOW, max_examples=25)
@given(data=st.data())
def test_any_interleaving_of_keys_ends_in_the_same_books_and_a_replay_changes_nothing(ledger, data):
    steps = data.draw(histories(len(PEOPLE), KINDS))
    events = events_of(steps, {step.minute: data.draw(amounts_of) for step in steps})
    ends = []
    for _ in range(2):
        with rolled_back(ledger.service.sessions):
            end = heard(ledger, data, events)
            deliver(data.draw, ledger.service.sessions, CONSUMER, list(numbered(events).values()))
            assert ledger.state() == end, "a replay changes nothing"
            ends.append(end)
    assert ends[0] == ends[1]


@settings(**SLOW, max_examples=25)
@given(data=st.data())
def test_after_all_unmerges_points_are_as_if_never_merged_but_for_what_was_spent(ledger, data):
    steps = data.draw(histories(len(PEOPLE), KINDS, apart=True))
    events = events_of(steps, {step.minute: data.draw(amounts_of) for step in steps})
    spenders = data.draw(st.lists(st.sampled_from(PEOPLE), max_size=3))
    never = [event for event in events if not isinstance(event, CustomersMerged | CustomersUnmerged)]
    with rolled_back(ledger.service.sessions):
        alone_state = heard(ledger, data, never)
        alone = balances(ledger)
    with rolled_back(ledger.service.sessions):
        reward = ledger.reward(price=50)
        merged_state = heard(
            ledger, data, events, *(lambda who=who: ledger.redeem(who, reward) for who in spenders)
        )
        with ledger.service.sessions() as session:
            spent = session.execute(text("select customer_id, sum(points)::int from redemption group by 1"))
            for customer_id, points in spent:
                alone[customer_id] = alone.get(customer_id, 0) - points
        assert balances(ledger) == {each: points for each, points in alone.items() if points}
    for part in ("purchase_points", "unmatched_returns", "offers"):
        assert merged_state[part] == alone_state[part]
