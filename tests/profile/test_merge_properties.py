"""Whatever is bought, brought back, agreed to, merged and taken apart: after the last unmerge it is as if never merged."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.profile.conftest import YESTERDAY, at_once, line, purchase

WHO = st.integers(0, 3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("buy"), WHO),
        st.tuples(st.just("bring back"), st.integers(0, 9)),
        st.tuples(st.just("bring back unmatched"), WHO),
        st.tuples(st.just("grant"), WHO),
        st.tuples(st.just("refuse"), WHO),
        st.tuples(st.just("merge"), WHO, WHO),
        st.tuples(st.just("undo"), st.integers(0, 5)),
    ),
    min_size=8,
    max_size=24,
)
BEGIN = datetime.now(UTC) - timedelta(days=9)


class World:
    """Four customers, and what each would have if nobody had ever been merged."""

    def __init__(self, profile, example):
        self.profile, self.example = profile, example
        self.ids = [profile.customer(f"{example}-{who}")["id"] for who in range(4)]
        self.purchases = []
        self.facts = {}  # external id → who told it
        self.sums = Counter()
        self.words = [
            [] for _ in range(4)
        ]  # (when, refused, state): the latest stands, of two at once a refusal
        self.merges = []
        self.tree = {who: who for who in range(4)}  # who → direct winner
        self.clock = 0

    def ref(self, who):
        return random.choice(
            [{"source": "shop", "external_id": f"{self.example}-{who}"}, {"id": self.ids[who]}]
        )

    def root(self, who):
        while self.tree[who] != who:
            who = self.tree[who]
        return who

    def below(self, who):
        return {one for one in range(4) if self._is_below(one, who)}

    def _is_below(self, one, who):
        while one != who and self.tree[one] != one:
            one = self.tree[one]
        return one == who

    def take(self, step):
        self.clock += 1
        self.at = (BEGIN + timedelta(minutes=self.clock)).isoformat()
        getattr(self, step[0].replace(" ", "_"))(*step[1:])

    def buy(self, who):
        name = f"{self.example}-{self.clock}"
        reply = self.profile.buy(name, customer=self.ref(who), create_customer=False, occurred_at=self.at)
        assert reply.status_code == 201, reply.text
        assert reply.json()["customer_id"] == self.ids[self.root(who)]
        self.purchases.append((name, who))
        self.facts[name] = who
        self.sums[who] += reply.json()["total_minor"]

    def bring_back(self, which):
        if which >= len(self.purchases):
            return
        order, who = self.purchases[which]
        name = f"{self.example}-{self.clock}"
        reply = self.profile.bring_back(name, order, (1, 1), occurred_at=self.at)
        assert reply.status_code in (201, 409), reply.text
        if reply.status_code == 201:
            self.facts[name] = who
            self.sums[who] -= reply.json()["amount_minor"]

    def bring_back_unmatched(self, who):
        name = f"{self.example}-{self.clock}"
        body = {
            "customer": self.ref(who),
            "occurred_at": self.at,
            "currency": "CNY",
            "lines": [{"sku": "X", "quantity": 1, "unit_price": "1.00"}],
        }
        assert self.profile.client.put(f"/v1/returns/shop/{name}", json=body).status_code == 201
        self.facts[name] = who

    def grant(self, who):
        self._say(who, "granted")
        self.words[who].append((self.clock, False, "granted"))

    def refuse(self, who):
        self._say(who, "withdrawn")
        for one in self.below(self.root(who)):  # holds for everybody who was this customer at that time
            self.words[one].append((self.clock, True, "withdrawn"))

    def _say(self, who, state):
        path = f"/v1/customers/{self.ids[who]}/consents/marketing/email"
        reply = self.profile.client.put(path, json={"state": state, "collected_at": self.at})
        assert reply.status_code in (200, 201), reply.text

    def merge(self, winner, loser):
        body = {"winner_id": self.ids[winner], "loser_id": self.ids[loser]}
        reply = self.profile.client.post("/v1/merges", json=body)
        possible = self.tree[loser] == loser and self.root(winner) != loser
        if possible:
            assert reply.status_code == 201, reply.text
            self.merges.append((reply.json()["id"], self.root(winner), loser))
            self.tree[loser] = self.root(winner)
        else:
            assert reply.status_code in (200, 409), reply.text

    def undo(self, which):
        if which < len(self.merges):
            merge_id, _, loser = self.merges.pop(which)
            assert self.profile.client.post(f"/v1/merges/{merge_id}/undo").status_code == 200
            self.tree[loser] = loser

    def check(self):
        for who in range(4):
            mine = {name for name, one in self.facts.items() if one in self.below(who)}
            kept = {
                row[0]
                for table in ("purchase", "purchase_return")
                for row in self.profile.ask(
                    f"select external_id from {table} where customer_id = :id", id=self.ids[who]
                )
            }
            assert kept == (mine if self.root(who) == who else set())

    def check_as_if_never_merged(self):
        self.check()
        for who in range(4):
            bought = self.profile.client.get(f"/v1/customers/{self.ids[who]}/purchases?limit=200").json()[
                "items"
            ]
            assert sum(one["net_minor"] for one in bought) == self.sums[who]
            said = self.profile.client.get(f"/v1/customers/{self.ids[who]}/consents").json()["items"]
            expected = [max(self.words[who])[2]] if self.words[who] else []
            assert [one["state"] for one in said] == expected


@pytest.fixture(scope="module")
def examples():
    return iter(range(10_000))


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS, order=st.randoms(use_true_random=False))
def test_after_all_unmerges_everything_is_as_if_never_merged(committing, examples, steps, order):
    world = World(committing, next(examples))
    for step in steps:
        world.take(step)
    world.check()
    committing.holds()
    while world.merges:
        world.undo(order.randrange(len(world.merges)))
    world.check_as_if_never_merged()
    committing.holds()


def test_whatever_happens_at_once_nothing_is_lost_or_lands_on_a_merged_customer(committing):
    """Purchases, batches, returns, consents, edits, merges and unmerges by eight threads."""
    profile, people = committing, 5
    ids = [profile.customer(f"{who}")["id"] for who in range(people)]
    recorded = [set() for _ in range(8)]

    def one(thread):
        dice = random.Random(thread)
        for number in range(14):
            name, who, other = f"{thread}-{number}", dice.randrange(people), dice.randrange(people)
            step = dice.choice(["buy", "buy", "batch", "return", "merge", "merge", "undo", "consent", "edit"])
            reply = _do(profile, step, name, ids, who, other)
            if reply is None:
                continue
            assert reply.status_code < 500 and reply.status_code != 404, (step, reply.text)
            if step in ("buy", "return") and reply.status_code == 201:
                recorded[thread].add(name)
            elif step == "batch":
                assert [item["status"] for item in reply.json()["items"]] == [201] * people
                recorded[thread] |= {f"{name}-{each}" for each in range(people)}

    at_once(one)
    kept = {
        row[0]
        for row in profile.ask(
            "select external_id from purchase union select external_id from purchase_return"
        )
    }
    assert kept == set().union(*recorded)
    profile.holds()
    told = [one for one in profile.announced() if one["type"].startswith("purchase_")]
    assert {one["external_id"] for one in told} == kept and len(told) == len(kept)
    for merge in profile.client.get("/v1/merges?state=merged&limit=200").json()["items"]:
        assert profile.client.post(f"/v1/merges/{merge['id']}/undo").status_code == 200
    assert profile.ask(
        """select count(*) from (select customer_id, recorded_customer_id from purchase union all
        select customer_id, recorded_customer_id from purchase_return union all
        select customer_id, recorded_customer_id from consent) f where customer_id <> recorded_customer_id"""
    ) == [(0,)]
    profile.holds()


def _do(profile, step, name, ids, who, other):
    client, customer = profile.client, {"source": "shop", "external_id": f"{who}"}
    match step:
        case "buy":
            return profile.buy(name, customer=customer, create_customer=False)
        case "batch":
            items = [
                purchase(customer={"id": customer_id}, create_customer=False)
                | {"source": "shop", "external_id": f"{name}-{number}"}
                for number, customer_id in enumerate(ids)
            ]
            return client.post("/v1/purchases/batch", json={"items": items})
        case "return":
            body = {"customer": customer, "occurred_at": YESTERDAY, "currency": "CNY", "lines": [line()]}
            return client.put(f"/v1/returns/shop/{name}", json=body)
        case "merge":
            return client.post("/v1/merges", json={"winner_id": ids[who], "loser_id": ids[other]})
        case "undo":
            lasting = client.get("/v1/merges?state=merged").json()["items"]
            return client.post(f"/v1/merges/{lasting[-1]['id']}/undo") if lasting else None
        case "consent":
            body = {"state": "granted" if other % 2 else "withdrawn"}
            return client.put(f"/v1/customers/{ids[who]}/consents/marketing/email", json=body)
        case "edit":
            return client.put(f"/v1/customers/by-external-id/shop/{who}", json={"region": name})
