"""What customers own: serial numbers, and warranties that end later."""

import pytest

from tests.profile.conftest import at_once, code_of, line


def register(profile, customer, **fields):
    return profile.client.post(f"/v1/customers/{customer['id']}/owned-products", json=fields)


def owned(profile, customer):
    return profile.client.get(f"/v1/customers/{customer['id']}/owned-products").json()["items"]


def bought(order, number=1):
    return {"source": "shop", "external_id": order, "line": number}


def test_a_thing_is_registered_once_by_its_serial_number(profile):
    customer = profile.customer()
    first = register(profile, customer, sku="OVEN", serial_number=" sn-1 ", warranty_until="2028-01-31")
    again = register(profile, customer, sku="OVEN", serial_number="SN-1")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json() == owned(profile, customer)[0]
    assert (first.json()["serial_number"], first.json()["warranty_until"]) == ("SN-1", "2028-01-31")
    assert register(profile, customer, sku="LAMP", serial_number="SN-1").status_code == 201
    other = profile.customer("other")
    assert code_of(register(profile, other, sku="OVEN", serial_number="SN-1")) == "serial_number_taken"
    found = profile.client.get("/v1/owned-products?serial_number=sn-1&sku=OVEN").json()["items"]
    assert [one["id"] for one in found] == [first.json()["id"]]
    assert [one["sku"] for one in profile.client.get("/v1/products?complete=false").json()["items"]] == [
        "LAMP",
        "OVEN",
    ]
    (row,) = profile.ask("select owned_product::text from owned_product where sku = 'OVEN'")
    assert "SN-1" not in row[0]
    assert b"SN-1".hex() not in row[0]


def test_of_a_purchase_as_many_are_registered_as_were_bought_and_kept(profile):
    customer = profile.customer()
    profile.buy("1", line("OVEN", 3), occurred_at="2026-11-20T10:00:00Z")
    profile.bring_back("R1", "1", (1, 1))
    first = register(profile, customer, purchase=bought("1"), serial_number="A").json()
    assert (first["sku"], first["line"], first["acquired_on"]) == ("OVEN", 1, "2026-11-20")
    assert register(profile, customer, purchase=bought("1"), serial_number="B").status_code == 201
    assert code_of(register(profile, customer, purchase=bought("1"), serial_number="C")) == "all_registered"
    assert register(profile, customer, purchase=bought("1"), serial_number="A").status_code == 200


def test_what_nobody_bought_is_not_registered_from_a_purchase(profile):
    customer, other = profile.customer(), profile.customer("other")
    profile.buy("1")
    profile.buy("2", customer=None)
    profile.buy("3")
    profile.client.put("/v1/purchases/shop/3/cancellation", json={"occurred_at": "2026-11-20T10:00:00Z"})
    refused = {
        "purchase_unknown": (customer, {"purchase": bought("1", 2)}),
        "sku_differs": (customer, {"purchase": bought("1"), "sku": "OVEN"}),
        "sku_required": (customer, {"serial_number": "A"}),
        "purchase_of_another_customer": (other, {"purchase": bought("1")}),
        "purchase_cancelled": (customer, {"purchase": bought("3")}),
    }
    for code, (whose, fields) in refused.items():
        assert code_of(register(profile, whose, **fields)) == code
    assert register(profile, other, purchase=bought("2")).status_code == 201


def extend(profile, thing, until, **fields):
    url = f"/v1/owned-products/{thing['id']}/warranty-extensions"
    return profile.client.post(url, json={"until": until, "reason": "benefit"} | fields)


def test_a_benefit_extends_a_warranty_and_every_extension_is_kept(profile):
    thing = register(profile, profile.customer(), sku="OVEN", warranty_until="2027-01-31").json()
    assert extend(profile, thing, "2028-01-31", reference="summer").status_code == 201
    body = extend(profile, thing, "2029-01-31", reason="goodwill").json()
    assert body["warranty_until"] == "2029-01-31"
    kept = [
        (one["previous_until"], one["until"], one["reason"], one["reference"]) for one in body["extensions"]
    ]
    assert kept == [
        ("2027-01-31", "2028-01-31", "benefit", "summer"),
        ("2028-01-31", "2029-01-31", "goodwill", None),
    ]
    assert code_of(extend(profile, thing, "2028-06-30")) == "warranty_not_extended"
    assert extend(profile, thing, "2030-01-31", reason="Because she asked").status_code == 422
    assert profile.client.delete(f"/v1/owned-products/{thing['id']}").status_code == 204
    assert code_of(profile.client.get(f"/v1/owned-products/{thing['id']}")) == "owned_product_not_found"


def test_warranties_are_listed_by_their_end(profile):
    customer = profile.customer()
    for day in (12, 10, 11, 13):
        register(profile, customer, sku="OVEN", warranty_until=f"2027-01-{day}")
    register(profile, customer, sku="LAMP")
    query = "/v1/owned-products?warranty_until_gte=2027-01-11&warranty_until_lt=2027-01-13&limit=1"
    first = profile.client.get(query).json()
    second = profile.client.get(f"{query}&cursor={first['next_cursor']}").json()
    assert [one["warranty_until"] for one in first["items"] + second["items"]] == ["2027-01-11", "2027-01-12"]
    assert second["next_cursor"] is None


@pytest.mark.parametrize("registered_as", ["winner", "loser"])
def test_a_thing_stays_with_its_purchase_when_a_merge_is_undone(profile, registered_as):
    people = {name: profile.customer(name) for name in ("winner", "loser")}
    profile.buy("1", line("OVEN"), customer={"source": "shop", "external_id": "loser"})
    ids = {"winner_id": people["winner"]["id"], "loser_id": people["loser"]["id"]}
    merge = profile.client.post("/v1/merges", json=ids).json()
    made = register(profile, people[registered_as], purchase=bought("1"), serial_number="A")
    assert made.json()["customer_id"] == people["winner"]["id"]
    profile.client.post(f"/v1/merges/{merge['id']}/undo")
    assert [len(owned(profile, people[name])) for name in ("winner", "loser")] == [0, 1]
    assert owned(profile, people["loser"])[0]["serial_number"] == "A"


def test_one_serial_number_registered_by_many_at_once_is_one_customers(committing):
    people = [committing.customer(f"c{n}") for n in range(4)]
    replies = at_once(lambda n: register(committing, people[n % 4], sku="OVEN", serial_number="A"))
    assert sorted(reply.status_code for reply in replies) == [200, 201] + [409] * 6
    assert committing.ask("select count(*) from owned_product") == [(1,)]
