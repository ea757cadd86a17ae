"""Members of staff see the customers of their portfolio, team or store, and nobody else's."""

import pytest

from services.profile.app import SERVICE


@pytest.fixture
def staffed(service, idp):
    """Three customers: Ann's, one of the northern team, and one of a store."""
    under_test = service(SERVICE, **idp.settings)
    made = {}
    for name, whose in {
        "anns": {"staff_ids": ["ann"]},
        "norths": {"staff_ids": ["ben"], "teams": ["north"]},
        "stores": {"stores": ["s1"]},
    }.items():
        body = {"name": f"Wang {name}", "email": f"{name}@example.com", **whose}
        made[name] = under_test.client.put(f"/v1/customers/by-external-id/crm/{name}", json=body).json()
    return under_test, made


def as_staff(staffed, idp, **claims):
    under_test, _ = staffed
    headers = {"Authorization": f"Bearer {idp.token('*', **claims)}"}

    def ask(method, path, **more):
        return under_test.stranger.request(
            method, path, headers={**headers, **more.pop("headers", {})}, **more
        )

    return ask


@pytest.mark.parametrize(
    ("claims", "theirs"),
    [
        ({"staff_id": "ann"}, {"anns"}),
        ({"staff_id": "ann", "reach": "team", "team": "north"}, {"anns", "norths"}),
        ({"staff_id": "zoe", "reach": "store", "store": ["s1", "s2"]}, {"stores"}),
        ({"staff_id": "zoe"}, set()),
        ({"staff_id": "ann", "reach": "all"}, {"anns", "norths", "stores"}),
    ],
)
def test_lists_searches_and_single_customers_show_what_is_within_reach(staffed, idp, claims, theirs):
    ask, made = as_staff(staffed, idp, **claims), staffed[1]
    ids = {name: customer["id"] for name, customer in made.items()}
    listed = ask("GET", "/v1/customers", params={"include": "total"}).json()
    assert {one["id"] for one in listed["items"]} == {ids[name] for name in theirs}
    assert listed["total"] == len(theirs)
    for body in ({"name": "wang"}, {"name": "wang", "external_id": {"external_id": "anns"}}):
        found = ask("POST", "/v1/customers/search", json=body).json()["items"]
        assert {one["id"] for one in found} <= {ids[name] for name in theirs}
    found = ask("POST", "/v1/customers/search", json={"name": "wang"}).json()["items"]
    assert {one["id"] for one in found} == {ids[name] for name in theirs}
    named = ask("POST", "/v1/customers/search", json={"external_id": {"external_id": "anns"}}).json()["items"]
    assert len(named) == ("anns" in theirs)
    due = ask("GET", "/v1/customers/due").json()["items"]
    assert {one["customer_id"] for one in due} == {ids[name] for name in theirs}
    for path in ("", "/timeline", "/overview", "/purchases", "/consents", "/tags", "/interactions"):
        reached = {name for name in made if ask("GET", f"/v1/customers/{ids[name]}{path}").status_code == 200}
        assert reached == theirs, path


def test_who_reaches_some_does_not_decide_who_reaches_whom(staffed, idp):
    ask, made = as_staff(staffed, idp, staff_id="ann"), staffed[1]
    path = f"/v1/customers/{made['anns']['id']}"
    tag = ask("GET", path).headers["etag"]
    refused = ask("PATCH", path, json={"staff_ids": ["ann", "zoe"]}, headers={"If-Match": tag})
    assert (refused.status_code, refused.json()["code"]) == (403, "assignment_not_yours")
    assert ask("PATCH", path, json={"city": "Suzhou"}, headers={"If-Match": tag}).status_code == 200
    refused = ask("PUT", "/v1/customers/by-external-id/crm/norths", json={"staff_ids": ["ann"]})
    assert (refused.status_code, refused.json()["code"]) == (403, "beyond_reach")


def test_a_customer_changes_hands(staffed, idp):
    under_test, made = staffed
    before, after = as_staff(staffed, idp, staff_id="ann"), as_staff(staffed, idp, staff_id="zoe")
    path = f"/v1/customers/{made['anns']['id']}"
    tag = under_test.client.get(path).headers["etag"]
    handed = under_test.client.patch(path, json={"staff_ids": ["zoe"]}, headers={"If-Match": tag})
    assert handed.json()["staff_ids"] == ["zoe"]
    assert before("GET", path).json()["code"] == "beyond_reach"
    assert after("GET", path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/merges"),
        ("GET", "/v1/erasures"),
        ("GET", "/v1/returns"),
        ("GET", "/v1/purchases/shop/1"),
        ("GET", "/v1/customers/by-external-id/crm/anns"),
        ("GET", "/v1/api-keys"),
        ("POST", "/v1/contact-points/lookup"),
        ("GET", "/v1/jobs"),
        ("GET", "/v1/audit"),
    ],
)
def test_what_spans_all_customers_is_beyond_reach(staffed, idp, method, path):
    refused = as_staff(staffed, idp, staff_id="ann")(method, path)
    assert (refused.status_code, refused.json()["code"]) == (403, "beyond_reach")
