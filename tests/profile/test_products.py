"""The catalogue: products that somebody describes, and bare ones that purchases made."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.rules.products import category_path, minor_of
from tests.profile.conftest import at_once, code_of, line

LAMP = {
    "name_zh": "白色心形挂灯",
    "name_en": "White hanging heart light",
    "brand": "Regal",
    "category": "Home/Lights",
    "price": {"amount": "2.55", "currency": "CNY"},
    "stock": 40,
}


def put(profile, sku="85123A", headers=None, **fields):
    return profile.client.put(f"/v1/products/{sku}", json=fields, headers=headers)


def listed(profile, query=""):
    return [one["sku"] for one in profile.client.get(f"/v1/products{query}").json()["items"]]


def test_a_product_is_made_once_changed_by_what_is_said_and_announced_whole(profile):
    made = put(profile, **LAMP)
    again = put(profile, **LAMP)
    changed = put(profile, stock=None, active=False)
    assert (made.status_code, again.status_code, changed.status_code) == (201, 200, 200)
    assert again.json() == made.json()
    body = changed.json()
    assert (body["stock"], body["active"], body["brand"], body["version"]) == (None, False, "Regal", 2)
    assert body["price"] == {"amount": "2.55", "amount_minor": 255, "currency": "CNY"}
    assert (body["complete"], body["missing"]) == (True, [])
    assert profile.client.get("/v1/products/85123A").json() == body

    first, second = profile.announced("product_changed")
    assert first["key"] == first["product_id"] == body["id"]
    assert (first["name_zh"], first["category"], first["price_minor"], first["stock"]) == (
        "白色心形挂灯",
        "Home/Lights",
        255,
        40,
    )
    assert (second["stock"], second["active"], second["complete"]) == (None, False, True)


def test_an_edit_of_another_version_is_refused(profile):
    put(profile, **LAMP)
    assert put(profile, headers={"If-Match": '"1"'}, stock=1).status_code == 200
    assert code_of(put(profile, headers={"If-Match": '"1"'}, stock=2)) == "version_mismatch"
    assert code_of(put(profile, "new", headers={"If-Match": '"1"'}, stock=2)) == "product_not_found"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"price": {"amount": "1.005", "currency": "CNY"}}, "price_too_exact"),
        ({"price": {"amount": "1", "currency": "XXY"}}, "currency_unknown"),
        ({"price": {"amount": "1"}}, "currency_required"),
        ({"category": " / "}, "category_invalid"),
        ({"accessory_of": "85123A"}, "accessory_of_itself"),
    ],
)
def test_what_cannot_be_said_of_a_product_is_refused_with_its_reason(profile, fields, code):
    reply = put(profile, **fields)
    assert (reply.status_code, code_of(reply)) == (422, code)
    assert profile.client.get("/v1/products/85123A").status_code == 404


def test_an_unknown_sku_in_a_purchase_makes_a_bare_product_shown_for_completion(profile):
    put(profile, **LAMP)
    profile.buy("1")
    assert listed(profile, "?complete=false") == []
    profile.buy("2", line("22423", brand="Regal", category=" Home / Cakes", description="REGENCY"), line())
    assert listed(profile, "?complete=false") == ["22423"]
    bare = profile.client.get("/v1/products/22423").json()
    assert (bare["brand"], bare["category"], bare["described_as"]) == ("Regal", "Home/Cakes", "REGENCY")
    assert (bare["complete"], bare["missing"], bare["name_en"]) == (False, ["name"], None)

    event = profile.announced("product_changed")[-1]
    assert (event["sku"], event["complete"], event["active"]) == ("22423", False, True)
    assert "REGENCY" not in str(profile.announced())
    put(profile, "22423", name_en="Regency cakestand")
    assert listed(profile, "?complete=false") == []


def test_the_careful_ways_of_a_purchase_make_bare_products_too(profile):
    profile.buy("first", line("A"))  # the accounting currency is not fixed yet
    items = [{"source": "shop", "external_id": f"{n}"} | body for n, body in enumerate(batch())]
    assert profile.client.post("/v1/purchases/batch", json={"items": items}).status_code == 207
    assert listed(profile, "?complete=false") == ["A", "B", "C"]
    assert len(profile.announced("product_changed")) == 3
    assert profile.client.post("/v1/purchases/batch", json={"items": items}).status_code == 207
    assert len(profile.announced("product_changed")) == 3


def batch():
    from tests.profile.conftest import purchase

    return [purchase(line("C"), line("A")), purchase(line("B"), line("C")), purchase(line("B"))]


def test_a_refused_purchase_makes_no_product(profile):
    profile.buy("1")
    assert profile.buy("1", line("Z")).status_code == 409
    assert profile.buy("2", line("Z", discount_minor=10**6)).status_code == 422
    assert listed(profile) == ["85123A"]


def test_a_product_that_another_goes_with_is_made_bare(profile):
    assert put(profile, "CABLE", name_en="Cable", accessory_of="PHONE").status_code == 201
    assert listed(profile, "?accessory_of=PHONE") == ["CABLE"]
    assert listed(profile, "?complete=false") == ["CABLE", "PHONE"]


def test_a_batch_answers_each_item_and_keeps_the_good_ones(profile):
    put(profile, **LAMP)
    items = [
        {"sku": "85123A"} | LAMP,
        {"sku": "new", "name_en": "New"},
        {"sku": "bad", "price": {"amount": "1.001", "currency": "CNY"}},
        {"sku": "new", "stock": 3},
        {"sku": "85123A", "stock": 39},
    ]
    reply = profile.client.post("/v1/products/batch", json={"items": items})
    assert reply.status_code == 207
    answers = reply.json()["items"]
    assert [one["status"] for one in answers] == [200, 201, 422, 200, 200]
    assert answers[2]["problem"]["code"] == "price_too_exact"
    assert (answers[0]["id"], answers[1]["id"]) == (answers[4]["id"], answers[3]["id"])
    new = profile.client.get("/v1/products/new").json()
    assert (new["name_en"], new["stock"]) == ("New", 3)
    assert len(profile.announced("product_changed")) == 4


def test_the_catalogue_is_listed_by_filters_in_pages(profile):
    categories = ["Home", "Home/Lights", "Homeland", "Home/Lights/Wall_", "Garden", "Home/LightsX"]
    for number, category in enumerate(categories):
        put(profile, f"{number}", name_en="x", category=category, brand=["A", "B", "C"][number % 3])
    put(profile, "3", active=False)
    assert listed(profile, "?category=Home/Lights") == ["1", "3"]
    assert listed(profile, "?category=Home/Lights/Wall_&category=Garden") == ["3", "4"]
    assert listed(profile, "?category=Home") == ["0", "1", "3", "5"]
    assert listed(profile, "?brand=A&brand=B") == ["0", "1", "3", "4"]
    assert listed(profile, "?brand=A&active=true") == ["0"]
    assert listed(profile, "?category=/") == []
    page = profile.client.get("/v1/products?limit=4").json()
    assert [one["sku"] for one in page["items"]] == ["0", "1", "2", "3"]
    assert listed(profile, f"?limit=4&cursor={page['next_cursor']}") == ["4", "5"]


def test_purchases_of_one_new_sku_at_once_make_one_product(committing):
    committing.buy("first")
    replies = at_once(
        lambda n: committing.buy(f"{n}", line("B" if n % 2 else "A"), line("A" if n % 2 else "B"))
    )
    assert {reply.status_code for reply in replies} == {201}
    assert committing.ask("select count(*) from product") == [(3,)]
    assert len(committing.announced("product_changed")) == 3


def test_one_new_product_told_by_many_at_once_is_made_once_and_holds_what_all_said(committing):
    fields = ["name_zh", "name_en", "brand", "category"]
    replies = at_once(lambda n: put(committing, "X", **{fields[n % 4]: "v"}))
    assert sorted(reply.status_code for reply in replies) == [200] * 7 + [201]
    shown = committing.client.get("/v1/products/X").json()
    assert [shown[field] for field in fields] == ["v"] * 4
    assert len(committing.announced("product_changed")) == 4


@given(st.text(max_size=30))
def test_a_category_path_is_its_own_path(text):
    path = category_path(text)
    assert path is None or (category_path(path) == path and all(part.strip() for part in path.split("/")))


@given(st.decimals(0, 10**12, places=4), st.integers(0, 4))
def test_a_price_in_minor_units_is_the_price_or_none(price, exponent):
    minor = minor_of(price, exponent)
    assert (minor is None) == (price * 10**exponent % 1 != 0)
    assert minor is None or minor == price * 10**exponent
