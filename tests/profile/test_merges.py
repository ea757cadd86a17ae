"""Two records turn out to be one customer, and are made two again."""

import pytest

from services.profile.domain.merges import MOVES
from services.profile.tables import metadata
from tests.profile.conftest import code_of, line


def merge(profile, winner, loser, **body):
    return profile.client.post("/v1/merges", json={"winner_id": winner["id"], "loser_id": loser["id"]} | body)


def undo(profile, merged):
    return profile.client.post(f"/v1/merges/{merged['id']}/undo")


def buy(profile, external_id, customer, **fields):
    reply = profile.buy(
        external_id, customer={"source": "shop", "external_id": customer}, create_customer=False, **fields
    )
    assert reply.status_code == 201, reply.text
    return reply.json()


def owners(profile):
    """Owner and recorded customer of every purchase, by its number."""
    rows = profile.ask("select external_id, customer_id, recorded_customer_id from purchase order by 1")
    return {row.external_id: (str(row.customer_id), str(row.recorded_customer_id)) for row in rows}


@pytest.fixture
def pair(profile):
    return profile.customer("a", country="CN"), profile.customer("b", country="SG")


def test_the_losers_id_and_names_answer_as_the_winner_and_its_facts_follow(profile, pair):
    a, b = pair
    buy(profile, "1", "b")
    reply = merge(profile, a, b)
    assert (reply.status_code, reply.json()["state"]) == (201, "merged")
    assert profile.client.get(f"/v1/customers/{b['id']}").json()["id"] == a["id"]
    assert profile.client.get("/v1/customers/by-external-id/shop/b").json()["id"] == a["id"]
    bought = profile.client.get(f"/v1/customers/{b['id']}/purchases").json()["items"]
    assert [(one["external_id"], one["customer_id"]) for one in bought] == [("1", a["id"])]
    profile.holds()


def test_a_merge_is_announced_under_both_keys(profile, pair):
    a, b = pair
    merged = merge(profile, a, b).json()
    undo(profile, merged)
    for kind in ("customers_merged", "customers_unmerged"):
        told = profile.announced(kind)
        assert [(one["key"], one["winner_id"], one["loser_id"]) for one in told] == [
            (a["id"], a["id"], b["id"]),
            (b["id"], a["id"], b["id"]),
        ]


def test_a_fact_told_under_the_losers_name_belongs_to_the_winner_and_is_keyed_by_the_loser(profile, pair):
    a, b = pair
    merge(profile, a, b)
    buy(profile, "1", "b")
    buy(profile, "2", "a")
    profile.client.post(
        "/v1/purchases/batch",
        json={
            "items": [
                {
                    "source": "shop",
                    "external_id": "3",
                    "customer": {"id": b["id"]},
                    "occurred_at": "2026-11-20T10:00:00Z",
                    "currency": "CNY",
                    "lines": [line()],
                }
            ]
        },
    )
    profile.bring_back("R1", "1", (1, 2))
    unmatched = {
        "customer": {"source": "shop", "external_id": "b"},
        "occurred_at": "2026-11-20T10:00:00Z",
        "currency": "CNY",
        "lines": [line()],
    }
    assert profile.client.put("/v1/returns/shop/R2", json=unmatched).status_code == 201
    assert owners(profile) == {
        "1": (a["id"], b["id"]),
        "2": (a["id"], a["id"]),
        "3": (a["id"], b["id"]),
    }
    told = {
        (one["type"], one["external_id"]): (one["key"], one["customer_id"], one["recorded_customer_id"])
        for one in profile.announced()
        if one["type"].startswith("purchase_")
    }
    under_b = (b["id"], a["id"], b["id"])
    assert told == {
        ("purchase_recorded", "1"): under_b,
        ("purchase_recorded", "2"): (a["id"], a["id"], None),
        ("purchase_recorded", "3"): under_b,
        ("purchase_returned", "R1"): under_b,
        ("purchase_returned", "R2"): under_b,
    }
    profile.holds()


def test_a_purchase_told_again_under_another_of_the_customers_names_is_the_same(profile, pair):
    a, b = pair
    merge(profile, a, b)
    buy(profile, "1", "b")
    assert profile.buy("1", customer={"id": a["id"]}).status_code == 200
    assert profile.buy("1", customer={"source": "shop", "external_id": "a"}).status_code == 200
    assert profile.buy("1", customer={"source": "shop", "external_id": "new"}).status_code == 409


def test_an_unmerge_gives_back_what_was_recorded_before_and_since(profile, pair):
    a, b = pair
    buy(profile, "1", "a")
    buy(profile, "2", "b")
    merged = merge(profile, a, b).json()
    buy(profile, "3", "a")
    buy(profile, "4", "b")
    reply = undo(profile, merged)
    assert (reply.status_code, reply.json()["state"]) == (200, "undone")
    assert owners(profile) == {
        "1": (a["id"], a["id"]),
        "2": (b["id"], b["id"]),
        "3": (a["id"], a["id"]),
        "4": (b["id"], b["id"]),
    }
    assert profile.client.get(f"/v1/customers/{b['id']}").json()["id"] == b["id"]
    assert undo(profile, merged).json() == reply.json()
    assert len(profile.announced("customers_unmerged")) == 2
    profile.holds()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_chain_of_merges_comes_apart_in_any_order(profile, pair, order):
    a, b = pair
    c = profile.customer("c")
    for name in "abc":
        buy(profile, name, name)
    edges = [merge(profile, a, b).json(), merge(profile, c, a).json()]
    assert {owner for owner, _ in owners(profile).values()} == {c["id"]}
    assert profile.client.get(f"/v1/customers/{b['id']}").json()["id"] == c["id"]
    buy(profile, "late", "b")
    profile.holds()

    undo(profile, edges[order[0]])
    halfway = {name: owner for name, (owner, _) in owners(profile).items()}
    rest = b["id"] if order[0] == 0 else a["id"]
    assert halfway == {"a": c["id"] if order[0] == 0 else a["id"], "b": rest, "late": rest, "c": c["id"]}
    profile.holds()

    undo(profile, edges[order[1]])
    assert {name: owner for name, (owner, _) in owners(profile).items()} == {
        "a": a["id"],
        "b": b["id"],
        "late": b["id"],
        "c": c["id"],
    }
    profile.holds()


def test_the_same_merge_again_changes_nothing(profile, pair):
    a, b = pair
    first, again = merge(profile, a, b), merge(profile, a, b)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert len(profile.announced("customers_merged")) == 2


def test_a_merged_customer_is_not_merged_again_and_a_merged_winner_means_whom_it_answers_as(profile, pair):
    a, b = pair
    c = profile.customer("c")
    merge(profile, a, b)
    refused = merge(profile, c, b)
    assert (refused.status_code, code_of(refused)) == (409, "already_merged")
    assert a["id"] in refused.json()["detail"]
    assert merge(profile, b, c).json()["winner_id"] == a["id"]
    for winner, loser in ((a, a), (b, a), (a, c), (c, b)):
        reply = merge(profile, winner, loser)
        expected = {200} if (winner, loser) == (a, c) else {409}
        assert reply.status_code in expected
    assert code_of(merge(profile, b, a)) == "already_one_customer"


def test_who_cannot_be_merged(profile, pair):
    a, _ = pair
    company = profile.customer("inc", kind="organisation")
    reply = merge(profile, a, company)
    assert (reply.status_code, code_of(reply)) == (409, "kinds_differ")
    unknown = {"id": "00000000-0000-7000-8000-000000000000"}
    assert merge(profile, a, unknown).status_code == merge(profile, unknown, a).status_code == 404
    assert merge(profile, a, a).status_code == 409
    with profile.under_test.sessions.begin() as session:
        session.connection().exec_driver_sql(
            "update customer set state = 'erased' where customer_id = %s", (company["id"],)
        )
    reply = merge(profile, a, company)
    assert (reply.status_code, code_of(reply)) == (410, "customer_erased")
    assert profile.client.get("/v1/merges").json()["items"] == []


def test_after_thirty_days_a_merge_stays(profile, pair):
    merged = merge(profile, *pair).json()
    with profile.under_test.sessions.begin() as session:
        session.connection().exec_driver_sql("update merge set undo_until = now() - interval '1 second'")
    reply = undo(profile, merged)
    assert (reply.status_code, code_of(reply)) == (409, "unmerge_too_late")


def test_merges_are_listed_latest_first_with_their_state(profile, pair):
    a, b = pair
    c = profile.customer("c")
    first, second = merge(profile, a, b).json(), merge(profile, a, c).json()
    undo(profile, first)
    listed = profile.client.get("/v1/merges").json()["items"]
    assert [(one["id"], one["state"]) for one in listed] == [
        (second["id"], "merged"),
        (first["id"], "undone"),
    ]
    of_b = profile.client.get("/v1/merges", params={"customer_id": b["id"]}).json()["items"]
    assert [one["id"] for one in of_b] == [first["id"]]
    lasting = profile.client.get("/v1/merges", params={"state": "merged"}).json()["items"]
    assert [one["id"] for one in lasting] == [second["id"]]
    assert profile.client.get(f"/v1/merges/{first['id']}").json()["undone_by"] == "admin"
    assert code_of(profile.client.get(f"/v1/merges/{a['id']}")) == "merge_not_found"


@pytest.mark.parametrize(
    ("tampering", "noticed"),
    [
        (
            "update customer set merged_into = customer_id where state = 'merged'",
            "merged_customers_answer_as_the_root",
        ),
        (
            "update purchase set customer_id = recorded_customer_id",
            "facts_belong_to_whom_their_customer_answers_as",
        ),
        ("update purchase set customer_id = recorded_customer_id", "nothing_belongs_to_a_merged_customer"),
        (
            """insert into merge select gen_random_uuid(), loser_id, winner_id, origin, '{}', null, 0, merged_at, '',
            undo_until from merge""",
            "merges_form_a_forest",
        ),
    ],
)
def test_a_fact_or_a_merge_out_of_place_is_noticed(profile, pair, tampering, noticed):
    buy(profile, "1", "b")
    merge(profile, *pair)
    profile.holds()
    with profile.under_test.sessions.begin() as session:
        session.connection().exec_driver_sql(tampering)
    [invariant] = [
        sql for name, sql in profile.under_test.service.invariants.items() if name.startswith(noticed)
    ]
    assert profile.ask(invariant) == [(False,)]


def test_every_table_that_a_merge_moves_is_found_by_its_owner():
    for name in MOVES:
        table = metadata.tables[name]
        found = [next(iter(index.columns)).name for index in table.indexes]
        assert "customer_id" in found, name
    assert {"purchase", "purchase_return", "consent", "activity", "interaction"} <= set(MOVES)
