"""Many react processes at once, each with keys of its own, while customers are merged and unmerged: nothing is lost,
nothing waits in a circle, and everybody has their own in the end."""

import random
import threading
import zlib
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from services.campaigns.app import SERVICE as CAMPAIGNS
from services.feedback.app import SERVICE as FEEDBACK
from services.scoring.app import SERVICE as SCORING
from shared.events.profile import CustomersMerged, CustomersUnmerged, PurchaseRecorded
from shared.messaging import consumer
from tests.interleaving import START, numbered

PROCESSES = 4
STEPS = 250


def history(seed):
    """Purchases of twelve customers whose trees grow and fall apart; in the end all stand alone. Gives the events and
    what each customer bought."""
    chance = random.Random(seed)
    people = [UUID(int=chance.getrandbits(128), version=4) for _ in range(12)]
    parents, events, bought = {}, [], dict.fromkeys(people, 0)

    def root(person):
        while person in parents:
            person = parents[person]
        return person

    def tell(kind, winner, loser, at):
        both = {"winner_id": winner, "loser_id": loser, "effective_at": at}
        events.extend(kind(customer_id=each, **both) for each in (winner, loser))

    for step in range(STEPS):
        at, who, other = START + timedelta(seconds=step), chance.choice(people), chance.choice(people)
        dice = chance.random()
        if dice < 0.15 and root(who) != root(other):
            winner, loser = root(who), root(other)
            parents[loser] = winner
            tell(CustomersMerged, winner, loser, at)
        elif dice < 0.27 and who in parents:
            tell(CustomersUnmerged, parents.pop(who), who, at)
        else:
            amount = chance.randrange(100, 10_000, 100)
            bought[who] += amount
            events.append(purchase(who, root(who), amount, at))
    for loser, winner in parents.items():
        tell(CustomersUnmerged, winner, loser, START + timedelta(hours=1))
    return events, bought


def purchase(recorded, owner, amount, at):
    purchase_id = uuid4()
    return PurchaseRecorded(
        customer_id=owner,
        recorded_customer_id=recorded,
        purchase_id=purchase_id,
        source="shop",
        external_id=str(purchase_id),
        occurred_at=at,
        recorded_at=at,
        historical=False,
        currency="CNY",
        total_minor=amount,
        accounting_total_minor=amount,
        lines=(),
    )


HAVE = {
    "scoring": "select customer_id, net from (select customer_id, gross_minor as net from metrics) m",
    "campaigns": "select customer_id, balance * 100 as net from points_account",
    "feedback": "select recorded_customer_id as customer_id, 0 as net from invitation where false",
}


@pytest.mark.parametrize("kept", [SCORING, CAMPAIGNS, FEEDBACK], ids=lambda each: each.name)
def test_react_processes_at_once_end_with_everybody_having_their_own(kept, service):
    under_test = service(kept, committing=True)
    if kept is FEEDBACK:
        reply = under_test.client.post("/v1/surveys", json={"name": "After a purchase", "throttle_days": 0})
        assert reply.status_code == 201, reply.text
    events, bought = history(seed=20261122)
    records = numbered(events)
    shares = [[] for _ in range(PROCESSES)]
    for event in events:  # a key has one partition, and a partition one process
        shares[zlib.crc32(event.key.encode()) % PROCESSES].append(records[event.id])
    faults = []

    def follow(share, size):
        start = 0
        while start < len(share) and len(faults) < 20:
            try:
                told = consumer.apply(under_test.sessions, kept.consumers[0], share[start : start + size])
                assert told.parked == 0
                start += size
            except Exception as fault:
                if not consumer.is_the_databases(
                    fault
                ):  # a lock waited for too long on a busy machine: again
                    faults.append(fault)
                    return

    threads = [threading.Thread(target=follow, args=(share, 5 + n)) for n, share in enumerate(shares)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    with under_test.sessions() as session:
        have = {row.customer_id: int(row.net) for row in session.execute(text(HAVE[kept.name]))}
        broken = [
            name
            for name, query in kept.invariants.items()
            if session.connection().exec_driver_sql(query.replace("%", "%%"), ()).scalar() is not True
        ]
        deadlocks = session.scalar(
            text("select deadlocks from pg_stat_database where datname = current_database()")
        )
    assert broken == []
    assert deadlocks == 0
    if kept is not FEEDBACK:
        assert {each: net for each, net in have.items() if net} == {k: v for k, v in bought.items() if v}
