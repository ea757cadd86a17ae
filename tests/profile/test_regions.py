import pytest

from services.profile.jobs.tags import evaluate_tag_rules
from tests.profile.conftest import code_of
from tests.profile.test_tags import context

AREAS = [
    {"name": "east", "places": [{"country": "CN"}, {"country": "CN", "city": "Hong Kong"}]},
    {"name": "west", "places": [{"country": "CN", "region": "Sichuan"}, {"country": "CH"}]},
    {"name": "lake", "places": [{"country": "CN", "region": "Zhejiang", "city": "Hangzhou"}]},
]


def save(profile, areas=AREAS, name="sales", headers=None, **fields):
    body = {"kind": "sales_area", "areas": areas} | fields
    return profile.client.put(f"/v1/region-sets/{name}", json=body, headers=headers or {})


def area_of(profile, customer):
    items = profile.client.get(f"/v1/customers/{customer['id']}/regions").json()["items"]
    return [item["area"] for item in items]


def in_areas(profile, *areas):
    reply = profile.client.get("/v1/customers", params={"area": list(areas)})
    assert reply.status_code == 200, reply.text
    return {item["external_ids"][0]["external_id"] for item in reply.json()["items"]}


@pytest.fixture
def world(profile):
    assert save(profile).status_code == 201
    places = {
        "shanghai": ("CN", "Shanghai", "Shanghai"),
        "chengdu": ("CN", "Sichuan", "Chengdu"),
        "hangzhou": ("CN", "Zhejiang", "Hangzhou"),
        "ningbo": ("CN", "Zhejiang", "Ningbo"),
        "nowhere": ("CN", None, None),
        "bern": ("CH", "Bern", "Bern"),
        "berlin": ("DE", "Berlin", "Berlin"),
    }
    return {
        name: profile.customer(name, country=country, region=region, city=city)
        for name, (country, region, city) in places.items()
    }


def test_the_narrowest_place_decides(profile, world):
    assert {name: area_of(profile, one) for name, one in world.items()} == {
        "shanghai": ["east"],
        "chengdu": ["west"],
        "hangzhou": ["lake"],
        "ningbo": ["east"],
        "nowhere": ["east"],
        "bern": ["west"],
        "berlin": [],
    }


def test_lists_rules_and_reports_go_by_areas(profile, world):
    assert in_areas(profile, "sales:east") == {"shanghai", "ningbo", "nowhere"}
    assert in_areas(profile, "sales:lake", "sales:west") == {"hangzhou", "chengdu", "bern"}
    refused = profile.client.get("/v1/customers?area=sales:south")
    assert (refused.status_code, code_of(refused)) == (422, "area_unknown")
    counts = profile.client.get("/v1/region-sets/sales/customers").json()["items"]
    assert {item["area"]: item["customers"] for item in counts} == {
        "east": 3,
        "west": 2,
        "lake": 1,
        None: 1,
    }
    rule = {"tag": "seaside", "conditions": {"area": ["sales:lake"]}}
    assert profile.client.put("/v1/tag-rules/lake", json=rule).status_code == 201
    evaluate_tag_rules(context(profile))
    tagged = profile.client.get("/v1/customers?tag=seaside").json()["items"]
    assert [one["id"] for one in tagged] == [world["hangzhou"]["id"]]
    # A rule whose set is gone decides nothing, and holds up no other rule.
    profile.client.delete("/v1/region-sets/sales")
    evaluate_tag_rules(context(profile))
    assert len(profile.client.get("/v1/customers?tag=seaside").json()["items"]) == 1


def test_a_set_is_replaced_whole_and_only_if_it_differs(profile):
    first = save(profile)
    assert (first.status_code, save(profile).json()["version"]) == (201, 1)
    assert {area["name"] for area in first.json()["areas"]} == {"east", "west", "lake"}
    second = save(profile, AREAS[:1], headers={"If-Match": first.headers["ETag"]})
    assert (second.status_code, second.json()["version"]) == (200, 2)
    assert save(profile, headers={"If-Match": first.headers["ETag"]}).status_code == 412
    assert [area["name"] for area in second.json()["areas"]] == ["east"]
    assert [one["name"] for one in profile.client.get("/v1/region-sets").json()["items"]] == ["sales"]
    assert profile.client.delete("/v1/region-sets/sales").status_code == 204
    assert profile.client.get("/v1/region-sets/sales").status_code == 404


def test_a_place_lies_in_one_area(profile):
    twice = [{"name": name, "places": [{"country": "CN"}]} for name in ("east", "west")]
    refused = save(profile, twice)
    assert (refused.status_code, code_of(refused)) == (422, "place_twice")
