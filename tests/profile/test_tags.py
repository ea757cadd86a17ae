import threading
from datetime import UTC, datetime, timedelta

import pytest

from services.profile.app import SERVICE
from services.profile.jobs.tags import evaluate_tag_rules, expire_tags
from shared.jobs import runner
from shared.jobs.schedule import Context
from tests.profile.conftest import YESTERDAY, line


def context(profile):
    under_test = profile.under_test
    return Context(under_test.settings, under_test.sessions, under_test.engine)


def work(profile, started):
    """Carry out the job that a request started; gives its final state."""
    assert started.status_code == 202, started.text
    assert runner.run_one(SERVICE.jobs, context(profile))
    done = profile.client.get(started.headers["Location"].removeprefix("/profile")).json()
    assert done["state"] == "succeeded", done
    return done


def tag(profile, customer, name, **body):
    reply = profile.client.put(f"/v1/customers/{customer['id']}/tags/{name}", json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()["items"]


def untag(profile, customer, name):
    reply = profile.client.delete(f"/v1/customers/{customer['id']}/tags/{name}")
    assert reply.status_code == 200, reply.text
    return [item["tag"] for item in reply.json()["items"]]


def tags_of(profile, customer):
    return profile.client.get(f"/v1/customers/{customer['id']}").json()["tags"]


def reasons(profile, customer):
    items = profile.client.get(f"/v1/customers/{customer['id']}/tags").json()["items"]
    return {(item["tag"], item["source"]) for item in items}


def history(profile, customer):
    items = profile.client.get(f"/v1/customers/{customer['id']}/tags/history").json()["items"]
    return [(item["action"], item["tag"], item["source"]) for item in items]


def rule(profile, name, tag_, **conditions):
    reply = profile.client.put(f"/v1/tag-rules/{name}", json={"tag": tag_, "conditions": conditions})
    assert reply.status_code in (200, 201), reply.text
    return reply


@pytest.fixture
def wang(profile):
    return profile.customer(country="CN", tags=["vip"])


def test_a_tag_comes_and_goes_by_hand_and_both_stay_on_record(profile, wang):
    tag(profile, wang, "wine")
    assert tags_of(profile, wang) == ["vip", "wine"]
    assert untag(profile, wang, "vip") == ["wine"]
    assert history(profile, wang) == [
        ("removed", "vip", "hand"),
        ("added", "wine", "hand"),
        ("added", "vip", "hand"),
    ]
    changes = [
        (event["added"], event["removed"], event["tags"]) for event in profile.announced("tags_changed")
    ]
    assert changes == [(["wine"], [], ["vip", "wine"]), ([], ["vip"], ["wine"])]


def test_the_same_tag_again_moves_its_end_only(profile, wang):
    end = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    tag(profile, wang, "wine")
    [_, item] = tag(profile, wang, "wine", expires_at=end)
    assert datetime.fromisoformat(item["expires_at"]) == datetime.fromisoformat(end)
    assert len(profile.announced("tags_changed")) == 1


def test_a_tag_ends_when_its_end_comes(profile, wang):
    tag(profile, wang, "wine", expires_at=YESTERDAY)
    tag(profile, wang, "tea", expires_at=(datetime.now(UTC) + timedelta(days=1)).isoformat())
    expire_tags(context(profile))
    assert tags_of(profile, wang) == ["tea", "vip"]
    assert history(profile, wang)[0] == ("expired", "wine", "hand")
    assert profile.announced("tags_changed")[-1]["source"] == "expiry"


def test_a_list_of_tags_that_is_written_speaks_for_the_hand_alone(profile, wang):
    rule(profile, "chinese", "china", country=["CN"])
    evaluate_tag_rules(context(profile))
    profile.customer(tags=["new"])
    assert tags_of(profile, wang) == ["china", "new"]
    assert reasons(profile, wang) == {("china", "rule:chinese"), ("new", "hand")}
    assert profile.announced("customer_updated")[-1]["tags"] == ["china", "new"]


def test_a_rule_gives_its_tag_and_takes_it_away(profile, wang):
    li = profile.customer("li", country="DE")
    saved = rule(profile, "buyers", "buyer", country=["CN", "DE"], purchase_count_gte=1)
    profile.buy("1", line())
    started = profile.client.post("/v1/tag-rules/buyers/evaluate")
    assert work(profile, started)["report"] == {"customers_changed": 1}
    assert (tags_of(profile, wang), tags_of(profile, li)) == (["buyer", "vip"], [])
    shown = profile.client.get("/v1/tag-rules/buyers").json()
    assert (shown["tagged_count"], shown["conditions"]["purchase_count_gte"]) == (1, 1)
    assert untag(profile, wang, "buyer") == ["buyer", "vip"]

    profile.bring_back("R1", "1", (1, 6))
    evaluate_tag_rules(context(profile))
    assert tags_of(profile, wang) == ["vip"]

    assert saved.status_code == 201
    stale = profile.client.put(
        "/v1/tag-rules/buyers", json={"tag": "x", "conditions": {}}, headers={"If-Match": '"7"'}
    )
    assert stale.status_code == 412


def test_a_rule_that_goes_takes_its_tags_along(profile, wang):
    tag(profile, wang, "china")
    rule(profile, "chinese", "china", country=["CN"])
    evaluate_tag_rules(context(profile))
    rule(profile, "chinese", "zh", country=["CN"])
    evaluate_tag_rules(context(profile))
    assert reasons(profile, wang) == {("china", "hand"), ("vip", "hand"), ("zh", "rule:chinese")}
    work(profile, profile.client.delete("/v1/tag-rules/chinese"))
    assert tags_of(profile, wang) == ["china", "vip"]
    assert profile.client.get("/v1/tag-rules/chinese").status_code == 404


@pytest.mark.parametrize(
    ("conditions", "fits"),
    [
        ({}, {"regular", "lapsed", "never"}),
        ({"purchased_within_days": 30}, {"regular"}),
        ({"purchased_days_ago": 30}, {"lapsed"}),
        ({"purchase_count_lt": 1}, {"never"}),
        ({"net_revenue_minor_gte": 3000}, {"lapsed"}),
        ({"net_revenue_minor_gte": 1, "counted_days": 30}, {"regular"}),
        ({"without_tag": ["vip"]}, {"lapsed", "never"}),
        ({"tag": ["vip"], "without_tag": ["vip"]}, set()),
        ({"registered_days_ago": 30}, {"lapsed"}),
        ({"external_id": ["never"]}, {"never"}),
    ],
)
def test_conditions_say_who_is_meant(profile, conditions, fits):
    old = (datetime.now(UTC) - timedelta(days=60)).isoformat()
    people = {
        "regular": profile.customer("regular", tags=["vip"]),
        "lapsed": profile.customer("lapsed", registered_at=old),
        "never": profile.customer("never"),
    }
    profile.buy("1", line(quantity=1), customer={"source": "shop", "external_id": "regular"})
    lapsed = {"source": "shop", "external_id": "lapsed"}
    profile.buy("2", line(quantity=100), customer=lapsed, occurred_at=old)
    rule(profile, "r", "fits", **conditions)
    evaluate_tag_rules(context(profile), portion=2)
    assert {name for name, one in people.items() if "fits" in tags_of(profile, one)} == fits


def test_many_are_tagged_by_filter_in_portions(profile, wang):
    for number in range(5):
        profile.customer(f"c{number}", country="CN")
    german = profile.customer("d", country="DE")
    body = {"action": "add", "tag": "fair", "conditions": {"country": ["CN"]}}
    done = work(profile, profile.client.post("/v1/tag-changes", json=body))
    assert (done["report"], done["progress"]["processed"]) == ({"customers_changed": 6}, 6)
    assert (tags_of(profile, wang), tags_of(profile, german)) == (["fair", "vip"], [])
    assert reasons(profile, wang) == {("fair", "bulk"), ("vip", "hand")}

    body = {"action": "remove", "tag": "fair", "customer_ids": [wang["id"], german["id"]]}
    assert work(profile, profile.client.post("/v1/tag-changes", json=body))["report"] == {
        "customers_changed": 1
    }
    nobody = work(profile, profile.client.post("/v1/tag-changes", json={"action": "remove", "tag": "vip"}))
    assert (nobody["report"], tags_of(profile, wang)) == ({"customers_changed": 0}, ["vip"])


def test_tags_given_while_customers_are_merged_and_parted_add_up(committing):
    profile = committing
    wang, li = profile.customer("wang", tags=["vip"]), profile.customer("li", tags=["new"])
    statuses = []

    def give(customer, prefix):
        for number in range(8):
            path = f"/v1/customers/{customer['id']}/tags/{prefix}{number}"
            statuses.append(profile.client.put(path, json={}).status_code)
            if number % 2:
                statuses.append(profile.client.delete(path).status_code)

    def merge_and_part():
        for _ in range(3):
            both = {"winner_id": wang["id"], "loser_id": li["id"]}
            made = profile.client.post("/v1/merges", json=both)
            statuses.append(made.status_code)
            statuses.append(profile.client.post(f"/v1/merges/{made.json()['id']}/undo").status_code)

    threads = [
        threading.Thread(target=give, args=(wang, "w")),
        threading.Thread(target=give, args=(li, "l")),
        threading.Thread(target=merge_and_part),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 201}
    assert tags_of(profile, wang) == ["vip", "w0", "w2", "w4", "w6"]
    assert tags_of(profile, li) == ["l0", "l2", "l4", "l6", "new"]
    profile.holds()
