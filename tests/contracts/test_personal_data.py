"""Whoever asks what is held about them is told everything, by every service that keeps something of its own."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from sqlalchemy import text

from services.campaigns.app import SERVICE as CAMPAIGNS
from services.feedback.app import SERVICE as FEEDBACK
from services.scoring.app import SERVICE as SCORING
from shared.events.profile import CustomersMerged

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(params=[SCORING, CAMPAIGNS, FEEDBACK], ids=lambda each: each.name)
def holder(request, service):
    return service(request.param)


def told(holder, *events):
    reactions = holder.service.consumers[0].reactions
    with holder.sessions.begin() as session:
        for event in events:
            reactions[type(event)](session, [event])


def test_every_table_that_names_a_customer_or_hangs_on_such_a_one_is_a_section(holder):
    customer_id = uuid4()
    with holder.sessions.begin() as session:
        session.execute(text("insert into customer (customer_id) values (:id)"), {"id": customer_id})
        tables = session.scalars(
            text(
                "select distinct table_name from information_schema.columns where table_schema = 'public'"
                " and (column_name like '%customer_id' or column_name in ('loser_id', 'winner_id'))"
            )
        ).all()
    reply = holder.client.get(f"/v1/customers/{customer_id}/personal-data")
    assert reply.status_code == 200, reply.text
    hanging = {name for name, table in holder.service.metadata.tables.items() if "hangs_on" in table.info}
    assert set(reply.json()["sections"]) == set(tables) | hanging
    assert len(tables) > 5


def test_a_merged_customer_is_one_person_with_the_winner(holder):
    winner, loser, stranger = uuid4(), uuid4(), uuid4()
    ids = {"winner_id": winner, "loser_id": loser, "effective_at": NOW}
    told(holder, *(CustomersMerged(customer_id=each, **ids) for each in (winner, loser)))
    asked = [holder.client.get(f"/v1/customers/{each}/personal-data").json() for each in (winner, loser)]
    assert asked[0] == asked[1]
    rows = asked[0]["sections"]["customer"]
    assert {row["customer_id"] for row in rows} == {str(winner), str(loser)}
    assert asked[0]["customer_id"] == str(winner)
    unknown = holder.client.get(f"/v1/customers/{stranger}/personal-data")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "customer_not_found")
