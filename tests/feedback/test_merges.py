"""What was asked, said and promised follows the customer, and comes back to each side after an unmerge."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.feedback.app import SERVICE
from services.feedback.domain import answers
from services.feedback.reactions import CONSUMER
from shared.events.profile import CustomerRegistered, CustomersMerged, CustomersUnmerged, ExternalId
from tests.feedback.conftest import World
from tests.interleaving import (
    SLOW,
    deliver,
    histories,
    interleaved,
    merge_events,
    numbered,
    rolled_back,
    stream_of,
)

PEOPLE = tuple(UUID(int=number) for number in range(1, 5))


def merge(world: World, loser: UUID, winner: UUID, kind: Any = CustomersMerged) -> None:
    world.merged(loser, winner, kind)


def unmerge(world: World, loser: UUID, winner: UUID) -> None:
    merge(world, loser, winner, CustomersUnmerged)


def cases(world: World, customer_id: UUID) -> list[dict[str, Any]]:
    reply = world.client.get("/v1/cases", params={"customer_id": str(customer_id)})
    assert reply.status_code == 200, reply.text
    return list(reply.json()["items"])


def satisfaction(world: World, customer_id: UUID) -> str:
    return str(world.client.get(f"/v1/customers/{customer_id}/satisfaction").json()["satisfaction"])


def long_ago(world: World) -> None:
    """A test's transaction has one time: what was said so far is moved back."""
    world.execute("update satisfaction set since = since - interval '1 day'")


def broken(world: World) -> list[str]:
    return [name for name, query in SERVICE.invariants.items() if world.execute(query)[0][0] is not True]


def state(world: World) -> dict[str, list[str]]:
    return {name: sorted(row[0] for row in world.execute(query)) for name, query in SERVICE.state.items()}


def test_invitations_answers_and_cases_are_the_winners_while_merged(world):
    world.survey()
    winner, (loser, path) = world.customer(), world.invited(tier="platinum")
    merge(world, loser, winner)
    assert world.invitations(winner) == world.invitations(loser) != []
    world.answer(path, 2, "Broken.")
    (case,) = cases(world, winner)
    assert cases(world, loser) == [case]
    assert case["customer_id"] == str(winner)
    assert case["tier"] is None, "promised by the winner's tier, which is nobody's"
    assert satisfaction(world, winner) == satisfaction(world, loser) == "detractor"
    opened = world.announced("case_opened")[0]
    assert (opened.key, opened.data["customer_id"]) == (str(loser), str(winner))

    unmerge(world, loser, winner)
    (back,) = cases(world, loser)
    promised = ("number", "first_response_due_at", "subject", "tier")
    assert [back[name] for name in promised] == [case[name] for name in promised]
    assert cases(world, winner) == world.invitations(winner) == []
    assert (satisfaction(world, winner), satisfaction(world, loser)) == ("unknown", "detractor")
    assert broken(world) == []


def test_whoever_was_asked_lately_under_one_name_is_not_asked_under_the_other(world):
    world.survey()
    winner, (loser, _) = world.customer(), world.invited()
    merge(world, loser, winner)
    world.told(world.purchase(winner))
    assert len(world.invitations(winner)) == 1


def test_a_case_for_the_loser_is_opened_for_the_winner_and_stays_there(world):
    winner, loser = world.customer(), world.customer()
    merge(world, loser, winner)
    body = {"customer_id": str(loser), "subject": "Where is it?"}
    assert world.client.post("/v1/cases", json=body).json()["customer_id"] == str(winner)
    unmerge(world, loser, winner)
    assert len(cases(world, winner)) == 1
    assert cases(world, loser) == []


def test_the_latest_change_of_mind_counts_for_both(world):
    world.survey(throttle_days=0)
    (winner, first), (loser, second) = world.invited(), world.invited()
    world.answer(first, 9)
    long_ago(world)
    world.answer(second, 3)
    long_ago(world)
    merge(world, loser, winner)
    assert satisfaction(world, winner) == "detractor"
    world.told(world.purchase(winner))
    world.answer(world.path(world.invitations(winner)[0]), 10)
    assert satisfaction(world, winner) == "promoter"
    told = world.announced("satisfaction_changed")[-1]
    assert (told.key, told.data["from"], told.data["to"]) == (str(winner), "detractor", "promoter")
    unmerge(world, loser, winner)
    assert (satisfaction(world, winner), satisfaction(world, loser)) == ("promoter", "detractor")


def test_an_erased_customers_texts_links_and_open_cases_are_gone_and_the_score_stays(world):
    survey = world.survey(throttle_days=0)
    customer_id, path = world.invited()
    world.answer(path, 1, "My name is 王芳.")
    world.told(world.purchase(customer_id))
    (unanswered,) = [each for each in world.invitations(customer_id) if each["answered_at"] is None]
    (case,) = cases(world, customer_id)
    world.erased(customer_id)
    for what in ("invitations", "satisfaction"):
        reply = world.client.get(f"/v1/customers/{customer_id}/{what}")
        assert (reply.status_code, reply.json()["code"]) == (410, "customer_erased")
    assert world.stranger.get(world.path(unanswered)).status_code == 410
    left = world.client.get(f"/v1/cases/{case['id']}").json()
    assert (left["state"], left["subject"]) == ("resolved", None)
    texts = [each["text"] for each in world.client.get(f"/v1/cases/{case['id']}/messages").json()["items"]]
    assert texts == [None]
    assert world.execute("select comment from answer") == [(None,)]
    assert world.client.get(f"/v1/surveys/{survey['id']}/results").json()["detractors"] == 1
    (receipt,) = world.announced("erasure_completed")
    assert receipt.key == str(customer_id)
    assert state(world)["answers"] == ["-|After a purchase|1"]
    world.told(*[])
    assert broken(world) == []


# Any interleaving of the keys.


class Local:
    """An answer on the page behind a purchase's invitation, once that has been heard of."""

    def __init__(self, world: World, purchase_id: UUID, score: int, at: datetime) -> None:
        self.world, self.purchase_id, self.score, self.at = world, purchase_id, score, at

    def __call__(self) -> None:
        (row,) = self.world.execute(
            "select invitation_id from invitation where purchase_id = :id", id=self.purchase_id
        )
        with self.world.sessions.begin() as session:
            answers.give(session, row[0], self.score, "", "en", self.at)


def told_of(world: World, steps: list[Any], scores: dict[int, int], start: datetime) -> list[tuple[Any, Any]]:
    """(stream, event or answer): an answer comes after its own purchase, which is all that is sure."""
    things: list[tuple[Any, Any]] = []
    for number, each in enumerate(PEOPLE):
        event = CustomerRegistered(
            customer_id=each,
            kind="person",
            external_ids=(ExternalId(source="shop", external_id=f"c{number}"),),
            registered_at=start,
        )
        things.append((stream_of(event), event))
    for step in steps:
        if step.kind in ("merge", "unmerge"):
            things += [(stream_of(event), event) for event in merge_events(step, PEOPLE)]
            continue
        event = world.purchase(PEOPLE[step.owner], timedelta(minutes=step.minute))
        # At one moment: of two at different ones the earlier asks nobody if it is heard later, which is the throttle's.
        event = event.model_copy(update={"recorded_customer_id": PEOPLE[step.who], "recorded_at": start})
        things.append((stream_of(event), event))
        if step.kind == "answered":
            at = start + timedelta(days=1, minutes=step.minute)
            things.append((stream_of(event), Local(world, event.purchase_id, scores[step.minute], at)))
    return things


def heard(world: World, data: Any, things: list[tuple[Any, Any]]) -> dict[str, list[str]]:
    records = numbered(each for _, each in things if not isinstance(each, Local))
    order = interleaved(
        data.draw,
        [(stream, each if isinstance(each, Local) else records[each.id]) for stream, each in things],
    )
    deliver(data.draw, world.sessions, CONSUMER, order)
    assert broken(world) == []
    before = state(world)
    deliver(data.draw, world.sessions, CONSUMER, list(records.values()))
    assert state(world) == before, "a replay changes nothing"
    return before


@settings(**SLOW, max_examples=12)
@given(data=st.data(), apart=st.booleans())
def test_any_interleaving_ends_in_the_same_state_and_apart_as_if_never_merged(asking, data, apart):
    steps = data.draw(histories(len(PEOPLE), ("answered", "answered", "bought"), most=12, apart=apart))
    scores = {step.minute: data.draw(st.integers(0, 10)) for step in steps}
    things = told_of(asking, steps, scores, datetime.now(UTC))
    never = [each for each in things if not isinstance(each[1], CustomersMerged | CustomersUnmerged)]
    ends = []
    for history in (things, things, never):
        with rolled_back(asking.sessions):
            ends.append(heard(asking, data, history))
    assert ends[0] == ends[1]
    for part in ("customers", "answers", "satisfaction", "cases") if apart else ():
        assert ends[0][part] == ends[2][part]


@pytest.fixture
def asking(world: World) -> World:
    world.survey(throttle_days=0)
    return world


def test_a_stranger_is_nobodys_customer_yet(world):
    assert satisfaction(world, uuid4()) == "unknown"


def test_whoever_asks_is_told_what_they_said_in_clear(world):
    world.survey()
    customer_id, path = world.invited()
    world.answer(path, 1, "My name is 王芳.")
    sections = world.client.get(f"/v1/customers/{customer_id}/personal-data").json()["sections"]
    assert sections["answer"][0]["comment"] == "My name is 王芳."
    assert sections["customer_case"][0]["number"].startswith("C-")
    assert "1" in sections["customer_case"][0]["subject"]
    assert sections["case_message"][0]["body"] == "My name is 王芳."
    world.erased(customer_id)
    reply = world.client.get(f"/v1/customers/{customer_id}/personal-data")
    assert (reply.status_code, reply.json()["code"]) == (410, "customer_erased")
