from concurrent.futures import ThreadPoolExecutor

import pytest


@pytest.fixture
def mug(shop):
    return (
        shop.client.post("/v1/items", json={"name": "Mug", "price": 1})
        .headers["location"]
        .removeprefix("/shop")
    )


def patch(shop, path, tag, price=2):
    headers = {"If-Match": tag} if tag is not None else {}
    return shop.client.patch(path, json={"name": "Mug", "price": price}, headers=headers)


def test_an_edit_names_the_version_that_was_read(shop, mug):
    assert patch(shop, mug, None).json()["code"] == "precondition_required"
    assert patch(shop, mug, None).status_code == 428
    changed = patch(shop, mug, '"1"')
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    late = patch(shop, mug, '"1"')
    assert (late.status_code, late.json()["code"], late.headers["etag"]) == (412, "version_mismatch", '"2"')


@pytest.mark.parametrize("tag", ["*", 'W/"1"', '"7", "1"'])
def test_if_match_is_read_in_all_its_forms(shop, mug, tag):
    assert patch(shop, mug, tag).status_code == 200


def test_of_fifty_edits_of_one_version_one_succeeds(shop_with):
    shop = shop_with(pool_size=16, threads=16)
    made = shop.client.post("/v1/items", json={"name": "Mug", "price": 1})
    path = made.headers["location"].removeprefix("/shop")

    def edit(price):
        """Whoever is told 503 asks again: nothing was changed, and a machine under load may say it."""
        while (answer := patch(shop, path, '"1"', price)).status_code == 503:
            assert "retry-after" in answer.headers
        return answer.status_code

    with ThreadPoolExecutor(16) as racers:
        statuses = list(racers.map(edit, range(50)))
    assert sorted(statuses) == [200] + [412] * 49
