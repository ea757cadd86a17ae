"""Who is asked after a purchase, and who is not."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text

from services.feedback.domain import invitations
from services.feedback.reactions import CONSUMER
from shared.messaging import consumer


def held_back(world):
    report = world.client.get("/v1/reports/held-back").json()["items"]
    return {(item["trigger"], item["reason"]): item["count"] for item in report}


def test_a_purchase_invites_its_customer_and_the_invitation_is_announced_because_of_it(world):
    survey = world.survey()
    customer_id = world.customer()
    world.told(purchase := world.purchase(customer_id))

    (invitation,) = world.invitations(customer_id)
    assert invitation["survey_id"] == survey["id"]
    assert invitation["purchase_id"] == str(purchase.purchase_id)
    assert invitation["answer_url"].startswith("http://127.0.0.1:8080/feedback/s/")
    assert invitation["answered_at"] is None

    (event,) = world.announced("survey_invited")
    assert event.key == str(customer_id)
    assert event.causation_id == purchase.id
    assert event.data["invitation_id"] == invitation["id"]
    assert datetime.fromisoformat(event.data["effective_at"]) == purchase.recorded_at
    assert invitation["answer_url"].rsplit("/", 1)[1] not in str(event.data)


def test_without_a_survey_nobody_is_asked(world):
    customer_id = world.customer()
    world.told(world.purchase(customer_id))
    assert world.invitations(customer_id) == []


def test_within_ninety_days_a_customer_is_asked_once(world):
    world.survey()
    customer_id = world.customer()
    days = [0, 1, 89, 91, 100, 182]
    world.told(*(world.purchase(customer_id, after=timedelta(days=day)) for day in days[:3]))
    world.told(*(world.purchase(customer_id, after=timedelta(days=day)) for day in days[3:]))

    assert len(world.invitations(customer_id)) == 3  # days 0, 91 and 182
    assert len(world.announced("survey_invited")) == 3
    assert held_back(world) == {("purchase", "throttled"): 3}


def test_the_throttle_is_the_surveys_own(world):
    world.survey(name="Often", throttle_days=0)
    world.survey(name="Seldom")
    customer_id = world.customer()
    world.told(world.purchase(customer_id), world.purchase(customer_id))

    assert sorted(i["survey_name"] for i in world.invitations(customer_id)) == ["Often", "Often", "Seldom"]


def test_old_purchases_ask_nobody_and_are_counted(world):
    world.survey()
    customer_id = world.customer()
    world.told(*(world.purchase(customer_id, historical=True) for _ in range(5)))

    assert world.invitations(customer_id) == []
    assert world.announced("survey_invited") == []
    assert held_back(world) == {("purchase", "historical"): 5}


def test_an_anonymous_purchase_asks_nobody(world):
    world.survey()
    world.told(world.purchase(None), world.purchase(None, historical=True))
    assert world.announced() == []
    assert held_back(world) == {}


def test_an_erased_customer_is_not_asked(world):
    world.survey()
    customer_id = world.customer()
    world.erased(customer_id)
    world.told(world.purchase(customer_id))
    assert world.client.get(f"/v1/customers/{customer_id}/invitations").status_code == 410
    with world.sessions() as session:
        assert session.scalar(text("select count(*) from invitation")) == 0


def test_a_customer_of_whom_nothing_was_heard_yet_is_asked_all_the_same(world):
    world.survey()
    customer_id = uuid4()
    world.told(world.purchase(customer_id))
    assert len(world.invitations(customer_id)) == 1


def test_a_paused_survey_asks_nobody_and_then_only_those_who_buy_afterwards(world):
    survey = world.survey(state="paused")
    customer_id = world.customer()
    before = world.purchase(customer_id, after=timedelta(hours=-1))
    world.told(world.purchase(customer_id))
    world.client.patch(f"/v1/surveys/{survey['id']}", json={"state": "active"}, headers={"If-Match": '"1"'})
    world.told(before)
    assert world.invitations(customer_id) == []

    world.told(world.purchase(customer_id))
    assert len(world.invitations(customer_id)) == 1


def test_a_delayed_invitation_is_announced_when_it_is_due(world):
    world.survey(delay_minutes=60)
    customer_id = world.customer()
    world.told(world.purchase(customer_id))
    assert world.announced("survey_invited") == []

    def announce_due():
        with world.sessions.begin() as session:
            return invitations.announce_due(session)

    assert announce_due() == 0
    world.execute("update invitation set due_at = now() - interval '1 second'")
    assert announce_due() == 1
    assert announce_due() == 0
    assert len(world.announced("survey_invited")) == 1


def test_two_purchases_at_once_make_one_invitation(committing_world):
    world = committing_world
    world.survey()
    customers = [world.customer() for _ in range(20)]
    # Under another key each, so that two consumers may have them at the same time: those of merged customers.
    purchases = []
    for customer_id in customers:
        for _ in range(4):
            alias = world.customer()
            world.merged(alias, customer_id)
            purchases.append(world.purchase(customer_id).model_copy(update={"recorded_customer_id": alias}))
    batches = [[world.record(purchase) for purchase in purchases[start::4]] for start in range(4)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda batch: consumer.apply(world.sessions, CONSUMER, batch), batches))

    assert sum(result.applied for result in results) == 80
    assert [len(world.invitations(customer_id)) for customer_id in customers] == [1] * 20
    assert held_back(world) == {("purchase", "throttled"): 60}


def test_hearing_everything_again_changes_nothing(world):
    world.survey(throttle_days=0)
    registered = world.registered()
    records = [world.record(e) for e in (registered, world.purchase(registered.customer_id))]
    for _ in range(3):
        consumer.apply(world.sessions, CONSUMER, records)
    assert len(world.invitations(registered.customer_id)) == 1
    assert len(world.announced()) == 1


def test_campaigns_is_given_the_links_that_can_still_be_answered(world):
    world.survey()
    (_, answered), (_, expired), (erased_id, _) = (world.invited() for _ in range(3))
    customer_id, _ = world.invited(language="en-GB")
    world.answer(answered, 10)
    world.execute(
        "update invitation set expires_at = now() - interval '1 minute' where invitation_id ="
        " (select invitation_id from invitation order by invitation_id offset 1 limit 1)"
    )
    world.erased(erased_id)
    ids = [str(row.invitation_id) for row in world.execute("select invitation_id from invitation")]

    reply = world.client.post("/v1/invitation-links/lookup", json={"invitation_ids": [*ids, str(uuid4())]})

    (invitation,) = world.invitations(customer_id)
    assert reply.json()["items"] == [
        {"invitation_id": invitation["id"], "url": invitation["answer_url"], "language": "en"}
    ]
    assert expired


@pytest.mark.parametrize("ids", [[], ["x"], [str(uuid4())] * 1_001])
def test_a_lookup_takes_one_to_a_thousand_ids(world, ids):
    assert world.client.post("/v1/invitation-links/lookup", json={"invitation_ids": ids}).status_code == 422


def test_a_customers_invitations_come_in_pages_newest_first(world):
    world.survey(throttle_days=0)
    customer_id = world.customer()
    world.told(*(world.purchase(customer_id, after=timedelta(minutes=n)) for n in range(5)))

    seen, cursor = [], None
    while True:
        query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = world.client.get(f"/v1/customers/{customer_id}/invitations", params=query).json()
        seen += [item["invited_at"] for item in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == 5


def test_times_are_told_in_utc(world):
    world.survey()
    customer_id, _ = world.invited()
    (invitation,) = world.invitations(customer_id)
    assert invitation["invited_at"].endswith("Z")
    assert datetime.fromisoformat(invitation["expires_at"]) > datetime.now(UTC) + timedelta(days=29)
