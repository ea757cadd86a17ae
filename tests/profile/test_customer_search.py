"""Finding customers by what lies sealed."""

import logging
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from services.profile.rules import names
from tests.profile.conftest import code_of


def find(profile, query="", **known):
    reply = profile.client.post(f"/v1/customers/search{query}", json=known)
    assert reply.status_code == 200, reply.text
    return [one["external_ids"][0]["external_id"] for one in reply.json()["items"]]


@pytest.mark.parametrize(
    ("kept", "found_by", "not_by"),
    [
        ("王小芳", ("王小芳", "小芳", "王小", " 王小芳 "), ("王芳", "李小芳", "芳小")),
        ("Müller-Lüdenscheidt, Anna", ("anna", "Anna Muller", "LÜDENSCHEIDT anna"), ("Ann", "Anna Müll")),
        ("O’Brien Sean", ("o'brien", "OBRIEN", "sean o'brien"), ("brien",)),
        ("김민수", ("김민수", "민수"), ("김수",)),
        ("Ａｎｎａ　田中", ("anna 田中", "田中"), ("田", "中")),
        ("欧阳·娜娜", ("欧阳娜娜", "娜娜"), ("欧娜",)),
    ],
)
def test_a_name_is_found_by_its_words_or_pairs_of_characters(profile, kept, found_by, not_by):
    profile.customer("somebody", name=kept)
    profile.customer("else", name="Somebody Else 张三丰")
    for name in found_by:
        assert find(profile, name=name) == ["somebody"], name
    for name in not_by:
        assert "somebody" not in find(profile, name=name), name


def test_an_address_and_a_number_are_found_however_they_are_written(profile):
    profile.customer("a", email="wang.fang@example.com", phone="+8613812345678", postcode="SW1A 1AA")
    profile.customer("b", email="li.lei@example.com", phone="+8613912345678", postcode="200040")
    assert find(profile, email=" Wang.Fang@Example.com") == ["a"]
    assert find(profile, phone="138 1234 5678", country="CN") == ["a"]
    assert find(profile, phone="+86-139-1234-5678") == ["b"]
    assert find(profile, postcode="sw1a  1aa") == ["a"]
    assert find(profile, email="nobody@example.com") == []


def test_all_that_is_said_has_to_be_true_of_one_customer(profile):
    profile.customer("a", name="Wang Fang", email="one@example.com")
    profile.customer("b", name="Wang Fang", email="two@example.com")
    assert find(profile, name="fang wang") == ["a", "b"]
    assert find(profile, name="fang wang", email="two@example.com") == ["b"]
    assert find(profile, name="li", email="two@example.com") == []


def test_an_external_id_is_found_in_one_system_or_in_any(profile):
    profile.customer("17850", name="Ada")
    profile.client.put("/v1/customers/by-external-id/pos/17850", json={"name": "Bob"})
    assert find(profile, external_id={"external_id": "17850"}) == ["17850", "17850"]
    assert find(profile, external_id={"external_id": "17850", "source": "none"}) == []
    found = profile.client.post(
        "/v1/customers/search", json={"external_id": {"external_id": "17850", "source": "pos"}}
    )
    assert [one["name"] for one in found.json()["items"]] == ["Bob"]
    assert find(profile, external_id={"external_id": "17850"}, name="ada") == ["17850"]


def test_an_organisation_is_found_by_its_contacts(profile):
    firm = profile.customer("firm", kind="organisation", name="Acme")
    url = f"/v1/customers/{firm['id']}/contacts"
    made = profile.client.post(url, json={"name": "Li Lei", "email": "li@acme.example"}).json()
    profile.client.post(url, json={"name": "Han Meimei"})
    assert find(profile, email="li@acme.example") == find(profile, name="lei li") == ["firm"]
    assert find(profile, name="li meimei") == []  # two contacts are not one person
    profile.client.patch(f"{url}/{made['id']}", json={"name": "Li Wei"}, headers={"If-Match": '"1"'})
    assert (find(profile, name="lei"), find(profile, name="wei")) == ([], ["firm"])


def test_a_change_is_found_and_what_it_replaced_is_not(profile):
    profile.customer("a", name="Wang Fang", email="old@example.com", phone="+8613812345678")
    profile.customer("a", name="Wang Li", email="new@example.com", phone=None)
    assert (find(profile, email="old@example.com"), find(profile, email="new@example.com")) == ([], ["a"])
    assert (find(profile, name="fang"), find(profile, name="wang"), find(profile, name="li")) == (
        [],
        ["a"],
        ["a"],
    )
    assert find(profile, phone="+8613812345678") == []


def test_what_a_merged_customer_was_called_finds_its_winner_once(profile):
    loser = profile.customer("a-loser", name="Wang Fang", email="old@example.com")
    winner = profile.customer("winner", name="Wang Fang", email="new@example.com")
    with profile.under_test.sessions.begin() as session:
        session.execute(
            text("update customer set state = 'merged', merged_into = :winner where customer_id = :loser"),
            {"winner": UUID(winner["id"]), "loser": UUID(loser["id"])},
        )
    for known in ({"email": "old@example.com"}, {"name": "Wang Fang"}, {"name": "fang"}):
        reply = profile.client.post("/v1/customers/search", json=known)
        assert [one["id"] for one in reply.json()["items"]] == [winner["id"]], known


def test_what_is_found_comes_in_pages_that_belong_to_their_search(profile):
    for number in range(5):
        profile.customer(f"c{number}", name=f"Wang Number{number}")
    found, cursor = [], ""
    while cursor is not None:
        reply = profile.client.post(
            "/v1/customers/search?limit=2" + (f"&cursor={cursor}" if cursor else ""), json={"name": "wang"}
        ).json()
        found += [one["name"] for one in reply["items"]]
        cursor = reply["next_cursor"]
    assert found == [f"Wang Number{number}" for number in range(5)]
    cursor = profile.client.post("/v1/customers/search?limit=2", json={"name": "wang"}).json()["next_cursor"]
    other = profile.client.post(f"/v1/customers/search?cursor={cursor}", json={"name": "number1"})
    assert (other.status_code, code_of(other)) == (400, "cursor_mismatch")


@pytest.mark.parametrize(
    ("known", "code"),
    [
        ({}, "search_empty"),
        ({"country": "CN"}, "search_empty"),
        ({"name": "–!"}, "name_unsearchable"),
        ({"email": "nobody"}, "email_invalid"),
        ({"phone": "138"}, "phone_invalid"),
        ({"postcode": " "}, "search_empty"),
        ({"external_id": {"source": "shop"}}, "validation_failed"),
    ],
)
def test_a_search_says_what_it_looks_for(profile, known, code):
    reply = profile.client.post("/v1/customers/search", json=known)
    assert (reply.status_code, code_of(reply)) == (422, code)


def test_search_needs_the_scope_for_personal_data(profile):
    key = profile.client.post("/v1/api-keys", json={"name": "r", "scopes": ["profile:read"]}).json()["key"]
    under_test = profile.under_test
    reply = under_test.stranger.post(
        "/v1/customers/search", json={"name": "wang"}, headers={"Authorization": f"Bearer {key}"}
    )
    assert reply.status_code in (401, 403)


def test_what_was_looked_for_is_in_no_log_and_no_table(profile, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    profile.customer("a", name="Wang Fang", email="wang.fang@example.com")
    find(profile, name="Wang Fang", email="wang.fang@example.com")
    logged = caplog.text + capsys.readouterr().out
    rows = str(profile.ask("select t::text from customer_token t"))
    for secret in ("wang", "Wang", "fang"):
        assert secret not in logged.replace("a-wang", "")
        assert secret not in rows and secret.encode().hex() not in rows


@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=5), st.randoms())
def test_a_name_is_found_by_itself_and_by_its_words_in_any_order(words, random):
    kept = set(names.terms(" ".join(words)))
    shuffled = random.sample(words, len(words))
    assert set(names.terms(" ".join(shuffled))) == kept
    assert set(names.terms(words[0])) <= kept


@given(st.text(alphabet="王小芳李雷张三丰欧阳娜", min_size=2, max_size=6))
def test_two_neighbouring_characters_find_a_chinese_name(name):
    kept = set(names.terms(name))
    for at in range(len(name) - 1):
        assert set(names.terms(name[at : at + 2])) <= kept
    assert all(len(term) == 2 for term in kept)
