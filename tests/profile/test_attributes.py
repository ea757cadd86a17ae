"""Attributes that a company defines for its customers."""

import pytest

from services.profile.app import SERVICE
from tests.profile.conftest import code_of

COLOUR = {"type": "choice", "allowed_values": ["red", "green"]}


def define(profile, name="colour", **definition):
    return profile.client.put(f"/v1/attributes/{name}", json=definition or COLOUR)


def tell(profile, external_id="17850", **attributes):
    return profile.client.put(
        f"/v1/customers/by-external-id/shop/{external_id}", json={"attributes": attributes}
    )


def test_an_attribute_is_defined_once_and_changed_by_whoever_read_it(profile):
    made, again = define(profile), define(profile)
    assert (made.status_code, again.status_code) == (201, 200)
    assert made.json() == again.json()
    more = COLOUR | {"allowed_values": ["red", "green", "blue"]}
    assert define(profile, **more).status_code == 428
    changed = profile.client.put("/v1/attributes/colour", json=more, headers={"If-Match": '"1"'})
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    stale = profile.client.put("/v1/attributes/colour", json=COLOUR, headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    listed = profile.client.get("/v1/attributes").json()["items"]
    assert [one["name"] for one in listed] == ["colour"]


@pytest.mark.parametrize(
    ("definition", "value", "kept"),
    [
        ({"type": "text"}, " as it comes ", "as it comes"),
        ({"type": "number"}, 3, 3),
        ({"type": "number"}, 2.5, 2.5),
        ({"type": "number"}, 2.0, 2),
        ({"type": "boolean"}, True, True),
        ({"type": "date"}, "2020-02-29", "2020-02-29"),
        (COLOUR, "red", "red"),
        ({"type": "list"}, ["b", "a", "b"], ["a", "b"]),
        ({"type": "list", "allowed_values": ["a", "b"]}, ["b"], ["b"]),
    ],
)
@pytest.mark.parametrize("personal", [False, True])
def test_a_value_that_fits_is_kept(profile, definition, value, kept, personal):
    define(profile, "it", **definition, personal=personal)
    reply = tell(profile, it=value)
    assert reply.status_code == 201, reply.text
    assert reply.json()["attributes"] == {"it": kept}
    again = tell(profile, it=value).json()
    assert again["version"] == 1
    assert tell(profile, it=None).json()["attributes"] == {}


@pytest.mark.parametrize(
    ("definition", "value"),
    [
        ({"type": "text"}, 3),
        ({"type": "text"}, " "),
        ({"type": "text"}, "x" * 201),
        ({"type": "text"}, "a\nb"),
        ({"type": "number"}, "3"),
        ({"type": "number"}, True),
        ({"type": "number"}, 1e16),
        ({"type": "boolean"}, "true"),
        ({"type": "boolean"}, 1),
        ({"type": "date"}, "2021-02-29"),
        ({"type": "date"}, "20210101"),
        (COLOUR, "yellow"),
        (COLOUR, ["red"]),
        ({"type": "list"}, "a"),
        ({"type": "list"}, ["a"] * 51),
        ({"type": "list", "allowed_values": ["a"]}, ["a", "c"]),
    ],
)
def test_a_value_that_does_not_fit_is_refused_at_its_place_and_not_repeated(profile, definition, value):
    define(profile, "it", **definition)
    reply = tell(profile, it=value)
    assert (reply.status_code, code_of(reply)) == (422, "attributes_invalid")
    assert [(e["pointer"], e["code"]) for e in reply.json()["errors"]] == [
        ("/attributes/it", "attribute_value_invalid")
    ]
    assert "yellow" not in reply.text
    assert profile.ask("select count(*) from customer") == [(0,)]


def test_what_nobody_defined_is_refused(profile):
    reply = tell(profile, it=1)
    assert reply.json()["errors"][0]["code"] == "attribute_unknown"


def test_attributes_that_are_absent_stay(profile):
    define(profile)
    define(profile, "height", type="number")
    tell(profile, colour="red")
    assert tell(profile, height=170).json()["attributes"] == {"colour": "red", "height": 170}
    fields = profile.ask("select provenance from customer")[0][0]
    assert fields["attributes.colour"]["source"] == "shop"


def test_a_personal_attribute_is_sealed_and_withheld(service):
    under_test = service(SERVICE, committing=True)
    client = under_test.client
    client.put("/v1/attributes/allergy", json={"type": "text", "personal": True})
    client.put("/v1/attributes/colour", json=COLOUR)
    body = client.put(
        "/v1/customers/by-external-id/shop/1",
        json={"attributes": {"allergy": "peanuts", "colour": "red"}},
    ).json()
    assert body["attributes"] == {"allergy": "peanuts", "colour": "red"}
    with under_test.sessions() as session:
        row = session.connection().exec_driver_sql("select c::text from customer c").scalar_one()
    assert "peanuts" not in row and b"peanuts".hex() not in row
    key = client.post("/v1/api-keys", json={"name": "reports", "scopes": ["profile:read"]}).json()["key"]
    seen = under_test.stranger.get(f"/v1/customers/{body['id']}", headers={"Authorization": f"Bearer {key}"})
    assert seen.json()["attributes"] == {"colour": "red"}
    refused = under_test.stranger.get(
        "/v1/customers?attribute=allergy:peanuts", headers={"Authorization": f"Bearer {key}"}
    )
    assert (refused.status_code, code_of(refused)) == (422, "attribute_filter_invalid")


def test_type_and_whether_it_is_personal_are_fixed(profile):
    define(profile)
    for other in ({"type": "text"}, COLOUR | {"personal": True}):
        reply = profile.client.put("/v1/attributes/colour", json=other, headers={"If-Match": '"1"'})
        assert (reply.status_code, code_of(reply)) == (409, "attribute_fixed")


@pytest.mark.parametrize("definition", [{"type": "choice"}, {"type": "number", "allowed_values": ["1"]}])
def test_a_choice_has_allowed_values_and_a_number_has_none(profile, definition):
    reply = define(profile, "it", **definition)
    assert (reply.status_code, code_of(reply)) == (422, "allowed_values_wrong")


def test_a_value_no_longer_allowed_stays_and_cannot_be_given_anew(profile):
    define(profile)
    tell(profile, colour="red")
    body = COLOUR | {"allowed_values": ["green"]}
    assert profile.client.put("/v1/attributes/colour", json=body, headers={"If-Match": '"1"'}).is_success
    assert profile.customer(region="SH")["attributes"] == {"colour": "red"}
    assert tell(profile, "other", colour="red").status_code == 422


def test_a_retired_attribute_takes_no_values_until_it_comes_back(profile):
    define(profile)
    tell(profile, colour="red")
    assert profile.client.delete("/v1/attributes/colour").json()["retired_at"] is not None
    reply = tell(profile, "other", colour="red")
    assert reply.json()["errors"][0]["code"] == "attribute_retired"
    assert profile.customer()["attributes"] == {"colour": "red"}
    assert profile.client.get("/v1/attributes?retired=false").json()["items"] == []
    assert profile.client.put("/v1/attributes/colour", json=COLOUR, headers={"If-Match": '"2"'}).is_success
    assert tell(profile, "other", colour="red").status_code == 201


def test_a_required_attribute_is_asked_of_whoever_makes_a_customer_by_hand(profile):
    define(profile, **COLOUR, required=True)
    reply = profile.client.post("/v1/customers", json={"name": "Ada"})
    assert (reply.status_code, reply.json()["errors"][0]["pointer"]) == (422, "/attributes/colour")
    made = profile.client.post("/v1/customers", json={"name": "Ada", "attributes": {"colour": "red"}})
    assert made.status_code == 201
    assert profile.buy("A-1").status_code == 201
    stranger = profile.customer()
    missing = profile.client.get(f"/v1/customers/{stranger['id']}/freshness").json()["missing"]
    assert "attributes.colour" in missing
    tell(profile, colour="green")
    kept = tell(profile, colour=None)
    assert kept.json()["errors"][0]["code"] == "attribute_required"
