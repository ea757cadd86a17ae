"""The people of an organisation."""

import pytest

from tests.profile.conftest import code_of

LI = {"role": "purchasing", "name": "李雷", "email": "Li.Lei@example.com", "phone": "139 1234 5678"}


@pytest.fixture
def firm(profile):
    return profile.customer("firm", kind="organisation", country="CN", name="Acme Trading")


def contacts_of(customer):
    return f"/v1/customers/{customer['id']}/contacts"


def add(profile, customer, **fields):
    return profile.client.post(contacts_of(customer), json=LI | fields)


def test_an_organisation_has_contacts_in_the_order_in_which_they_came(profile, firm):
    first, second = add(profile, firm).json(), add(profile, firm, name="Han Meimei", role="director").json()
    assert (first["email"], first["phone"]) == ("li.lei@example.com", "+8613912345678")
    listed = profile.client.get(contacts_of(firm)).json()["items"]
    assert listed == [first, second]
    assert profile.client.get(f"{contacts_of(firm)}/{first['id']}").json() == first


def test_a_person_has_no_contacts(profile):
    reply = add(profile, profile.customer("person"))
    assert (reply.status_code, code_of(reply)) == (409, "not_an_organisation")


def test_a_contact_is_changed_by_whoever_read_it(profile, firm):
    made = add(profile, firm)
    url = f"{contacts_of(firm)}/{made.json()['id']}"
    assert profile.client.patch(url, json={"role": "sales"}).status_code == 428
    changed = profile.client.patch(
        url, json={"role": "sales", "phone": None}, headers={"If-Match": made.headers["etag"]}
    )
    assert (changed.json()["role"], changed.json()["phone"], changed.json()["version"]) == ("sales", None, 2)
    assert changed.json()["name"] == "李雷"
    stale = profile.client.patch(url, json={"role": "x"}, headers={"If-Match": made.headers["etag"]})
    assert stale.status_code == 412


def test_of_a_removed_contact_nothing_is_kept(profile, firm):
    url = f"{contacts_of(firm)}/{add(profile, firm).json()['id']}"
    assert profile.client.delete(url).status_code == 204
    assert profile.client.get(url).status_code == 404
    assert profile.ask("select count(*) from contact") == [(0,)]
    assert profile.ask("select count(*) from customer_token where field in ('email', 'phone')") == [(0,)]


def test_a_contact_lies_sealed(profile, firm):
    add(profile, firm)
    [row] = profile.ask("select c::text as text from contact c")
    for secret in ("李雷", "li.lei", "13912345678"):
        assert secret not in row.text and secret.encode().hex() not in row.text


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"name": None, "email": None, "phone": None}, "contact_empty"),
        ({"email": "nobody"}, "email_invalid"),
        ({"phone": "abc"}, "phone_invalid"),
    ],
)
def test_a_contact_is_somebody_who_can_be_told(profile, firm, fields, code):
    reply = add(profile, firm, **fields)
    assert (reply.status_code, code_of(reply)) == (422, code)


def test_a_contact_belongs_to_its_organisation_only(profile, firm):
    other = profile.customer("other", kind="organisation")
    made = add(profile, firm).json()
    assert profile.client.get(f"{contacts_of(other)}/{made['id']}").status_code == 404
    assert profile.client.delete(f"{contacts_of(other)}/{made['id']}").status_code == 404
