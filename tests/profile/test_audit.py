"""What profile notes in the audit log, and that a disclosure cannot be changed unnoticed."""

import pytest
from sqlalchemy import text

from services.profile.app import SERVICE
from shared.audit.verification import verify
from tests.profile.conftest import Profile


@pytest.fixture
def asked(service, tmp_path):
    """Three lookups of two customers each."""
    profile = Profile(service(SERVICE, committing=True, audit_anchors=str(tmp_path / "anchors.jsonl")))
    ids = [
        profile.customer(str(number), name="王芳", email=f"{number}@example.com")["id"] for number in range(2)
    ]
    for purpose in ("service", "marketing", "fulfilment"):
        lookup = {"customer_ids": ids, "purpose": purpose, "channel": "email"}
        assert profile.client.post("/v1/contact-points/lookup", json=lookup).status_code == 200
    return profile


def found(profile, *statements):
    """The codes of what is found after ``statements`` of a superuser, which are taken back."""
    with profile.under_test.sessions() as session:
        for statement in statements:
            session.execute(text(statement))
        codes = [one.code for one in verify(session, SERVICE.audited_rows).findings]
        session.rollback()
    return codes


def test_every_lookup_is_an_entry_that_stands_for_its_rows(asked):
    entries = asked.client.get("/v1/audit", params={"action": "contact_points_asked"}).json()["items"]
    assert [(one["by"], one["facts"]["purpose"], one["facts"]["asked_count"]) for one in entries] == [
        ("admin", "fulfilment", 2),
        ("admin", "marketing", 2),
        ("admin", "service", 2),
    ]
    lookups = asked.ask(
        "select cast(lookup_id as text), count(*) from disclosure group by lookup_id order by 1"
    )
    assert [tuple(row) for row in lookups] == sorted((one["subject"], 2) for one in entries)
    assert asked.client.get("/v1/audit/verification").json()["intact"]


_ONE = "(select min(disclosure_id) from disclosure)"
_COPY = (
    "insert into disclosure (lookup_id, asked_at, asked_by, customer_id, purpose, channel, outcome)"
    " select {lookup}, asked_at, asked_by, customer_id, purpose, channel, outcome from disclosure"
)


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        (f"update disclosure set asked_by = 'nobody' where disclosure_id = {_ONE}", "rows_changed"),
        (f"update disclosure set outcome = 'no_consent' where disclosure_id = {_ONE}", "rows_changed"),
        (f"update disclosure set customer_id = gen_random_uuid() where disclosure_id = {_ONE}", "rows_changed"),
        (f"update disclosure set asked_at = asked_at + interval '1 us' where disclosure_id = {_ONE}", "rows_changed"),
        (f"delete from disclosure where disclosure_id = {_ONE}", "rows_changed"),
        ("delete from disclosure where purpose = 'service'", "rows_changed"),
        ("truncate disclosure", "rows_changed"),
        (_COPY.format(lookup="lookup_id"), "rows_changed"),
        (_COPY.format(lookup="gen_random_uuid()"), "rows_unrecorded"),
    ],
)  # fmt: skip
def test_a_disclosure_that_is_changed_added_or_taken_away_is_noticed(asked, statement, code):
    assert found(asked) == []
    assert set(found(asked, statement)) == {code}


def test_with_its_entry_a_disclosure_does_not_vanish_either(asked):
    assert "entry_missing" in found(
        asked,
        "delete from disclosure where purpose = 'marketing'",
        "delete from shared.audit_entry where facts->>'purpose' = 'marketing'",
    )


def test_keys_are_noted_without_the_key(profile):
    issued = profile.client.post("/v1/api-keys", json={"name": "shop", "scopes": ["purchases:write"]}).json()
    for _ in range(2):
        assert profile.client.delete(f"/v1/api-keys/{issued['id']}").status_code == 200
    entries = profile.client.get("/v1/audit", params={"subject": issued["id"]}).json()["items"]
    assert [(one["action"], one["by"]) for one in entries] == [
        ("api_key_revoked", "admin"),
        ("api_key_issued", "admin"),
    ]
    assert issued["key"] not in str(entries)
