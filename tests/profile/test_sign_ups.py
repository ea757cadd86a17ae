"""The hosted sign-up form: who comes through which link, and what a stranger cannot learn or do there."""

import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from sqlalchemy import text

from services.profile.domain.links import Links
from tests.profile.test_confirmations import link_of
from tests.profile.test_consents import MARKETING, current, say


def path_of(url):
    return urlsplit(url).path.removeprefix("/profile")


def source(profile, **fields):
    body = {
        "name": "Poster at the till",
        "kind": "store",
        "reference": "store-012",
        "language": "zh",
    } | fields
    reply = profile.client.post("/v1/sign-up-sources", json=body)
    assert reply.status_code == 201, reply.text
    return reply.json()


@pytest.fixture
def poster(profile):
    return source(profile, purposes=["marketing", "survey"])


@pytest.fixture
def stranger(profile):
    return profile.under_test.stranger


FORM = {"name": "李雷", "email": " Li.Lei@Example.com ", "agree": ["marketing"]}


def found(profile, email="li.lei@example.com"):
    items = profile.client.post("/v1/customers/search", json={"email": email}).json()["items"]
    return [profile.client.get(f"/v1/customers/{item['id']}").json() for item in items]


def join(profile, poster, **fields):
    return profile.under_test.stranger.post(path_of(poster["url"]), data=FORM | fields)


def test_a_new_customer_signs_up_and_confirms_by_the_link_in_the_message(profile, poster, stranger):
    shown = stranger.get(path_of(poster["url"]))
    assert (shown.status_code, shown.headers["Content-Language"]) == (200, "zh")
    assert "checked" not in shown.text  # nobody agrees by forgetting to untick
    thanks = join(profile, poster)
    assert (thanks.status_code, "谢谢您" in thanks.text) == (200, True)
    [made] = profile.ask("select customer_id::text as id, acquisition_channel, language from customer")
    assert (made.acquisition_channel, made.language) == ("store", "zh")
    assert current(profile, {"id": made.id}) == {}
    [event] = profile.announced("confirmation_requested")
    assert event["kind"] == "sign_up"
    assert stranger.post(link_of(profile, {"id": event["confirmation_id"]})).status_code == 200
    assert current(profile, {"id": made.id}) == {MARKETING: "granted"}
    customer = profile.client.get(f"/v1/customers/{made.id}").json()
    assert (customer["name"], customer["email"]) == ("李雷", "li.lei@example.com")
    assert profile.client.get(f"/v1/sign-up-sources/{poster['id']}").json()["sign_up_count"] == 1


def test_a_stranger_does_not_learn_whether_an_address_is_known(profile, poster):
    known = profile.customer("known", email="known@example.com", name="Real Name")
    answers = [join(profile, poster, email=email) for email in ("known@example.com", "new@example.com")]
    assert answers[0].status_code == answers[1].status_code == 200
    assert answers[0].text == answers[1].text
    assert dict(answers[0].headers) | {"x-request-id": ""} == dict(answers[1].headers) | {"x-request-id": ""}
    unchanged = profile.client.get(f"/v1/customers/{known['id']}").json()
    assert (unchanged["name"], unchanged["version"]) == ("Real Name", known["version"])
    assert len(profile.ask("select * from customer")) == 2
    assert len(profile.announced("confirmation_requested")) == 2


def test_a_known_customer_changes_only_by_the_link_whatever_the_company_asks_for(service, profile):
    from services.profile.app import SERVICE
    from tests.profile.conftest import Profile

    lax = Profile(service(SERVICE, sign_up_double_opt_in=False))
    known = lax.customer("known", email="known@example.com")
    say(lax, known, "denied")
    place = source(lax)
    assert join(lax, place, email="known@example.com").status_code == 200
    assert current(lax, known) == {MARKETING: "denied"}
    # Somebody new agrees at once there.
    assert join(lax, place, email="new@example.com").status_code == 200
    [new] = lax.ask("select customer_id::text as id from customer where acquisition_channel = 'store'")
    assert current(lax, {"id": new.id}) == {MARKETING: "granted"}
    [record] = lax.client.get(f"/v1/customers/{new.id}/consents").json()["items"]
    assert place["id"] in record["evidence"]
    assert record["text_version"] == "regulars-1"


def test_nobody_is_written_to_twice_within_the_hour(profile, poster):
    for _ in range(3):
        assert join(profile, poster).status_code == 200
    assert len(profile.ask("select * from customer")) == 1
    assert len(profile.announced("confirmation_requested")) == 1


def test_who_agrees_to_nothing_becomes_a_customer_and_is_asked_nothing(profile, poster):
    assert join(profile, poster, agree=[]).status_code == 200
    assert len(profile.ask("select * from customer")) == 1
    assert profile.announced("confirmation_requested") == []


def test_only_what_the_source_asks_for_can_be_agreed_to(profile, poster):
    join(profile, poster, agree=["marketing", "sharing", "service", "x"])
    [row] = profile.ask("select purposes from confirmation")
    assert set(row.purposes) == {"marketing"}


@pytest.mark.parametrize(
    ("field", "value"), [("email", ""), ("email", "li lei"), ("phone", "call me"), ("name", "x" * 201)]
)
def test_what_cannot_be_taken_comes_back_in_the_form(profile, poster, field, value):
    page = join(profile, poster, **{field: value})
    assert page.status_code == 422
    assert 'role="alert"' in page.text and f'href="#{field}"' in page.text
    assert 'name="agree" value="marketing" checked' in page.text
    assert profile.ask("select * from customer") == []


def test_a_robot_that_fills_the_hidden_field_gets_the_same_answer_and_nothing_happens(profile, poster):
    assert join(profile, poster, website="http://spam.example").text == join(profile, poster).text
    assert len(profile.ask("select * from sign_up")) == 1


def test_a_source_takes_so_many_forms_in_an_hour(service):
    from services.profile.app import SERVICE
    from tests.profile.conftest import Profile

    busy = Profile(service(SERVICE, sign_ups_per_hour=2))
    place = source(busy)
    answers = [join(busy, place, email=f"n{number}@example.com").status_code for number in range(3)]
    assert answers == [200, 200, 429]
    assert len(busy.ask("select * from customer")) == 2


def test_a_closed_source_says_so(profile, poster, stranger):
    closed = profile.client.post(f"/v1/sign-up-sources/{poster['id']}/close").json()
    assert closed["closed_at"] is not None
    assert profile.client.post(f"/v1/sign-up-sources/{poster['id']}/close").json() == closed
    assert stranger.get(path_of(poster["url"])).status_code == join(profile, poster).status_code == 410


def test_nobody_makes_up_a_source(profile, poster, stranger):
    links = Links(profile.under_test.settings)
    forger = Links(profile.under_test.settings.model_copy(update={"link_key": "somebody else's own key"}))
    for path in (path_of(links.to_sign_up(uuid4())), path_of(forger.to_sign_up(uuid4())), "/join/x"):
        assert stranger.get(path).status_code == stranger.post(path, data=FORM).status_code == 404


def test_the_qr_code_is_an_svg_that_holds_the_link(profile, poster):
    reply = profile.client.get(f"/v1/sign-up-sources/{poster['id']}/qr-code")
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "image/svg+xml")
    assert reply.text.startswith("<?xml") and "<svg" in reply.text and "<script" not in reply.text
    import segno

    same = segno.make(poster["url"], error="q", micro=False)
    assert f'width="{(same.symbol_size(border=4)[0]) * 8}"' in reply.text


def test_sources_are_listed_with_their_signed_links(profile, poster):
    campaign = source(profile, name="Spring", kind="campaign", language=None)
    items = profile.client.get("/v1/sign-up-sources").json()["items"]
    assert [item["id"] for item in items] == [poster["id"], campaign["id"]]
    assert all(re.search(r"/profile/join/[\w-]{43}$", item["url"]) for item in items)


def test_of_many_forms_with_one_new_address_at_once_one_makes_the_customer(committing):
    place = source(committing)
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: join(committing, place).status_code, range(12)))
    assert set(replies) == {200}
    assert len(committing.ask("select * from customer")) == 1
    assert len(committing.announced("confirmation_requested")) == 1


def test_a_form_leaves_nothing_in_clear(profile, poster):
    join(profile, poster)
    for table in ("customer", "sign_up", "confirmation", "shared.outbox"):
        with profile.under_test.sessions() as session:
            rows = session.execute(text(f"select * from {table}")).all()
        assert rows
        assert "li.lei" not in str(rows).lower() and "李雷" not in str(rows)
