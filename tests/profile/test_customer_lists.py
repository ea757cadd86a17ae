"""Lists of customers by any combination of what is known of them."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from services.profile.reactions import keep_tiers
from shared.events.scoring import TierChanged
from tests.profile.conftest import LONG_AGO, NOW, code_of


def listed(profile, query):
    reply = profile.client.get(f"/v1/customers?{query}")
    assert reply.status_code == 200, reply.text
    return [one["external_ids"][0]["external_id"] for one in reply.json()["items"]]


@pytest.fixture
def three(profile):
    profile.client.put("/v1/attributes/colour", json={"type": "choice", "allowed_values": ["red", "green"]})
    profile.client.put("/v1/attributes/height", json={"type": "number"})
    profile.client.put("/v1/attributes/since", json={"type": "date"})
    profile.client.put("/v1/attributes/likes", json={"type": "list"})
    profile.client.put("/v1/attributes/member", json={"type": "boolean"})
    profile.customer(
        "a",
        country="CN",
        city="Shanghai",
        gender="female",
        interests=["tea"],
        tags=["vip"],
        language="zh",
        birth_date="1990-04-23",
        attributes={
            "colour": "red",
            "height": 160,
            "since": "2020-01-01",
            "likes": ["x", "y"],
            "member": True,
        },
    )
    profile.customer(
        "b",
        country="CN",
        city="Beijing",
        gender="male",
        interests=["tea", "music"],
        tags=["vip", "early"],
        attributes={"colour": "green", "height": 170.5, "since": "2021-01-01", "member": False},
    )
    profile.customer("c", country="GB", kind="organisation", industry="retail", attributes={"height": 180})
    return profile


FILTERS = (
    ("country=CN", "ab"),
    ("country=CN&country=GB", "abc"),
    ("country=CN&city=Beijing", "b"),
    ("city=Beijing&city=Shanghai&gender=female", "a"),
    ("interest=music", "b"),
    ("interest=tea", "ab"),
    ("tag=vip&tag=early", "ab"),
    ("tag=early&language=zh", ""),
    ("birthday=04-23", "a"),
    ("kind=organisation&industry=retail", "c"),
    ("attribute=colour:red", "a"),
    ("attribute=colour:red&attribute=colour:green", "ab"),
    ("attribute=colour:red&attribute=member:false", ""),
    ("attribute=member:true", "a"),
    ("attribute=likes:y", "a"),
    ("attribute=height:160.0&attribute=height:180", "ac"),
    ("attribute_gte=height:165", "bc"),
    ("attribute_gte=height:160&attribute_lt=height:170.5", "a"),
    ("attribute_gte=since:2020-06-01", "b"),
    ("attribute_lt=since:2021-01-01&country=CN", "a"),
    ("attribute=since:2020-01-01", "a"),
    ("registered_at_gte=2020-01-01T00:00:00Z", "abc"),
    ("registered_at_lt=2020-01-01T00:00:00Z", ""),
    ("source=shop&external_id=a&external_id=c", "ac"),
    ("source=pos", ""),
)


def test_a_filter_gives_who_has_all_of_it(three):
    assert {query: "".join(listed(three, query)) for query, _ in FILTERS} == dict(FILTERS)


def test_a_filter_that_means_nothing_is_refused(three):
    for query in (
        "attribute=unheard_of:1",
        "attribute=height:tall",
        "attribute_gte=colour:red",
        "attribute_gte=since:yesterday",
        "attribute=member:1",
    ):
        reply = three.client.get(f"/v1/customers?{query}")
        assert (reply.status_code, code_of(reply)) == (422, "attribute_filter_invalid"), query


def test_a_filter_follows_what_is_changed_and_removed(three):
    three.customer("a", country="SG", tags=[], attributes={"colour": None, "height": None})
    assert listed(three, "country=CN") == ["b"]
    assert listed(three, "tag=vip") == ["b"]
    assert listed(three, "attribute=colour:red") == listed(three, "attribute_lt=height:165") == []


def test_the_last_purchase_is_what_its_range_speaks_of(profile):
    at = {name: NOW - timedelta(days=days) for name, days in (("new", 2), ("old", 400))}
    for name in ("never", "lapsed", "back", "regular"):
        profile.customer(name)
    for number, (name, when) in enumerate(
        (("lapsed", "old"), ("back", "old"), ("back", "new"), ("regular", "new"))
    ):
        reply = profile.buy(
            f"A-{number}",
            customer={"source": "shop", "external_id": name},
            occurred_at=at[when].isoformat(),
        )
        assert reply.status_code == 201, reply.text

    def last(**days):
        moments = {
            name: (NOW - timedelta(days=ago)).strftime("%Y-%m-%dT%H:%M:%SZ") for name, ago in days.items()
        }
        return listed(
            profile, "&".join(f"last_purchase_at_{name}={moment}" for name, moment in moments.items())
        )

    assert last(gte=30) == ["back", "regular"]
    assert last(lt=30) == ["lapsed"]
    assert last(gte=500, lt=300) == ["lapsed"]
    assert last(gte=500, lt=1) == ["lapsed", "back", "regular"]
    with profile.under_test.sessions.begin() as session:
        session.execute(text("update purchase set cancelled_at = now() where external_id = 'A-2'"))
    assert last(gte=30) == ["regular"]
    assert last(lt=30) == ["lapsed", "back"]


def test_the_tier_is_followed_from_scoring_and_the_last_word_holds(profile):
    ids = {name: UUID(profile.customer(name)["id"]) for name in ("a", "b")}

    def changed(name, tier):
        return TierChanged(
            customer_id=ids[name],
            tier=tier,
            previous_tier=None,
            effective_at=NOW,
            reason="purchase",
            initial=False,
            historical=False,
            as_of=NOW,
            policy_version=1,
        )

    with profile.under_test.sessions.begin() as session:
        keep_tiers(session, [changed("a", "silver"), changed("b", "silver"), changed("a", "gold")])
    assert (listed(profile, "tier=gold"), listed(profile, "tier=silver")) == (["a"], ["b"])
    assert listed(profile, "tier=gold&tier=silver") == ["a", "b"]


def test_a_total_is_counted_for_whoever_asks(three):
    reply = three.client.get("/v1/customers?country=CN&limit=1&include=total").json()
    assert (len(reply["items"]), reply["total"]) == (1, 2)
    assert three.client.get("/v1/customers?country=CN").json()["total"] is None


def test_merged_and_erased_customers_are_in_no_list(three):
    ids = {row.external_id: row.customer_id for row in three.ask("select * from customer_external_id")}
    with three.under_test.sessions.begin() as session:
        session.execute(
            text("update customer set state = 'merged', merged_into = :b where customer_id = :a"), ids
        )
    assert listed(three, "country=CN") == ["b"]


def test_pages_follow_the_order_in_which_customers_became_known(profile):
    for number in range(6):
        profile.customer(f"c{number}", tags=["x"] if number % 2 else [])
    with profile.under_test.sessions.begin() as session:
        session.execute(text("update customer set created_at = created_at + make_interval(secs => random())"))
    seen, cursor = [], ""
    while cursor is not None:
        reply = profile.client.get(
            "/v1/customers?tag=x&limit=2" + (f"&cursor={cursor}" if cursor else "")
        ).json()
        seen += reply["items"]
        cursor = reply["next_cursor"]
    assert len({one["id"] for one in seen}) == len(seen) == 3
    times = [datetime.fromisoformat(one["created_at"]) for one in seen]
    assert times == sorted(times) and times[0] > datetime.fromisoformat(LONG_AGO)
