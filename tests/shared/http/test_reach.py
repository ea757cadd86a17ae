"""Members of staff see what is theirs: a token with a portfolio, a team or a store reaches those customers only."""

from dataclasses import replace
from uuid import uuid4

import pytest

from tests.shared.shop.app import SERVICE

MINE, MY_TEAMS, SOMEBODYS = uuid4(), uuid4(), uuid4()


def reaches(session, customer_id, reach) -> bool:
    return (customer_id == MINE and "ann" in reach.staff_ids) or (
        customer_id == MY_TEAMS and "north" in reach.teams
    )


@pytest.fixture
def shop(shop_with, idp):
    return shop_with(service=replace(SERVICE, reaches=reaches), **idp.settings)


def status(shop, idp, path, **claims):
    token = idp.token("*", **claims)
    return shop.stranger.get(path, headers={"Authorization": f"Bearer {token}"})


def sales(customer_id):
    return f"/v1/customers/{customer_id}/sales"


@pytest.mark.parametrize(
    ("claims", "reached"),
    [
        ({"staff_id": "ann"}, {MINE}),
        ({"staff_id": "ann", "reach": "own", "team": "north"}, {MINE}),
        ({"staff_id": "ann", "reach": "team", "team": ["south", "north"]}, {MINE, MY_TEAMS}),
        ({"staff_id": "ben", "reach": "store", "store": "s1"}, set()),
        ({"staff_id": "ann", "reach": "all"}, {MINE, MY_TEAMS, SOMEBODYS}),
        ({}, {MINE, MY_TEAMS, SOMEBODYS}),
    ],
)
def test_a_member_of_staff_reaches_the_own_customers_and_no_others(shop, idp, claims, reached):
    answers = {one: status(shop, idp, sales(one), **claims) for one in (MINE, MY_TEAMS, SOMEBODYS)}
    assert {one for one, answer in answers.items() if answer.status_code == 200} == reached
    assert {a.json()["code"] for one, a in answers.items() if one not in reached} <= {"beyond_reach"}


@pytest.mark.parametrize(
    "claims",
    [
        {"reach": "team", "staff_id": "ann"},
        {"reach": "own"},
        {"reach": "world", "staff_id": "ann"},
        {"staff_id": 7},
        {"staff_id": ""},
        {"staff_id": [""], "reach": "own"},
        {"staff_id": ["ann", 3]},
        {"staff_id": []},
    ],
)
def test_a_token_that_does_not_say_whom_it_reaches_is_nobodys(shop, idp, claims):
    refused = status(shop, idp, sales(MINE), **claims)
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid_credential")


def test_what_is_about_no_single_customer_is_beyond_reach_unless_it_says_otherwise(shop, idp):
    refused = status(shop, idp, "/v1/items", staff_id="ann")
    assert (refused.status_code, refused.json()["code"]) == (403, "beyond_reach")


def test_a_service_that_knows_no_portfolios_turns_such_tokens_away(shop_with, idp):
    shop = shop_with(**idp.settings)
    assert status(shop, idp, sales(MINE), staff_id="ann").json()["code"] == "beyond_reach"
    assert status(shop, idp, sales(MINE), staff_id="ann", reach="all").status_code == 200
