"""The address book: sealed but for country and region, one default per kind, whatever is merged."""

import pytest

from tests.profile.conftest import code_of

HOME = {
    "kind": "shipping",
    "recipient": "王芳",
    "phone": "138 1234 5678",
    "street": "中山路 1 号\n5 楼",
    "city": "杭州",
    "postcode": "310000",
    "region": "Zhejiang",
    "country": "CN",
}


def add(profile, customer, **fields):
    return profile.client.post(f"/v1/customers/{customer['id']}/addresses", json=HOME | fields)


def book(profile, customer, query=""):
    return profile.client.get(f"/v1/customers/{customer['id']}/addresses{query}").json()["items"]


def patch(profile, address, version, **fields):
    url = f"/v1/customers/{address['customer_id']}/addresses/{address['id']}"
    return profile.client.patch(url, json=fields, headers={"If-Match": f'"{version}"'})


def test_an_address_is_added_changed_and_removed(profile):
    customer = profile.customer()
    made = add(profile, customer)
    assert made.status_code == 201
    address = made.json()
    assert (address["phone"], address["default"], address["street"]) == (
        "+8613812345678",
        False,
        HOME["street"],
    )
    assert profile.client.get(made.headers["Location"].removeprefix("/profile")).json() == address
    changed = patch(profile, address, 1, street="延安路 2 号", postcode=None)
    assert (changed.json()["street"], changed.json()["postcode"], changed.json()["version"]) == (
        "延安路 2 号",
        None,
        2,
    )
    assert patch(profile, address, 2, street="延安路 2 号").json()["version"] == 2
    assert code_of(patch(profile, address, 1, city="上海")) == "version_mismatch"
    url = f"/v1/customers/{customer['id']}/addresses/{address['id']}"
    assert profile.client.delete(url).status_code == 204
    assert code_of(profile.client.get(url)) == "address_not_found"
    assert book(profile, customer) == []


def test_each_kind_has_one_default_the_last_one_chosen(profile):
    customer = profile.customer()
    first = add(profile, customer, default=True).json()
    second = add(profile, customer, default=True).json()
    bill = add(profile, customer, kind="billing", default=True).json()
    add(profile, customer)
    defaults = {one["id"] for one in book(profile, customer) if one["default"]}
    assert defaults == {second["id"], bill["id"]}
    patch(profile, second, 1, default=False)
    assert {one["id"] for one in book(profile, customer, "?kind=shipping") if one["default"]} == {first["id"]}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"phone": "no number"}, "phone_invalid"),
        ({"country": "XX"}, "validation_failed"),
        ({"kind": "holiday"}, "validation_failed"),
        ({"street": "a\u0007b"}, "validation_failed"),
    ],
)
def test_what_is_no_address_is_refused(profile, fields, code):
    assert code_of(add(profile, profile.customer(), **fields)) == code


def test_an_address_lies_sealed(profile):
    add(profile, profile.customer())
    (row,) = profile.ask("select customer_address::text from customer_address")
    for personal in ("王芳", "+8613812345678", "中山路", "杭州", "310000"):
        assert personal not in row[0]
        assert personal.encode().hex() not in row[0]
    assert "Zhejiang" in row[0]


def test_addresses_of_another_customer_are_not_reached(profile):
    address = add(profile, profile.customer()).json()
    other = profile.customer("other")
    url = f"/v1/customers/{other['id']}/addresses/{address['id']}"
    assert code_of(profile.client.get(url)) == "address_not_found"
    unknown = "/v1/customers/01939d2c-0000-7000-8000-000000000000/addresses"
    assert code_of(profile.client.get(unknown)) == "customer_not_found"


def test_a_merge_brings_the_addresses_of_both_and_an_unmerge_gives_them_back(profile):
    winner, loser = profile.customer("winner"), profile.customer("loser")
    add(profile, winner, default=True)
    theirs = add(profile, loser, default=True, street="loser's").json()
    ids = {"winner_id": winner["id"], "loser_id": loser["id"]}
    merge = profile.client.post("/v1/merges", json=ids).json()
    both = book(profile, winner)
    assert [one["street"] for one in both] == ["loser's", HOME["street"]]
    assert [one["default"] for one in both] == [True, False]
    told_later = add(profile, loser, street="told as the loser").json()
    assert told_later["customer_id"] == winner["id"]
    assert patch(profile, theirs | {"customer_id": winner["id"]}, 1, city="宁波").json()["city"] == "宁波"
    assert profile.client.post(f"/v1/merges/{merge['id']}/undo").status_code == 200
    assert {one["street"] for one in book(profile, loser)} == {"loser's", "told as the loser"}
    (own,) = book(profile, winner)
    assert own["default"] is True
