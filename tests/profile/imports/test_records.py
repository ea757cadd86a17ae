"""Files of customers, products, activities, interactions, consents and tags."""

import json
from typing import Any

import pytest

from tests.profile.imports.conftest import Imports, StopAfter

CONTACTS = """Contact ID,First Name,Last Name,Email,Mobile,Birthdate,Mailing Country,Opt In
1.0,Fang,Wang,wang.fang@example.com,+8613812345678,1990-04-23,China,yes
2.0,Ann,,ann@example.com,,23/04/1990,United Kingdom,no
3.0,,Li,not an address,,,Atlantis,yes
4.0,Bo,Ek,bo@example.com,,1802-01-01,Sweden,
1.0,Fang,Wang,fang@example.com,,,China,yes
"""
COLUMNS: dict[str, Any] = {
    "external_id": {"column": "Contact ID", "remove_suffix": ".0"},
    "name": {"join": ["First Name", "Last Name"]},
    "email": "Email",
    "phone": "Mobile",
    "birth_date": "Birthdate",
    "country": "Mailing Country",
    "acquisition_channel": {"default": "crm"},
}


def customer(imports: Imports, name: str) -> dict[str, Any]:
    reply = imports.client.get(f"/v1/customers/by-external-id/crm/{name}")
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def test_contacts_become_customers_and_the_report_says_what_happened(imports: Imports) -> None:
    job = imports.records("customers", COLUMNS, CONTACTS.encode())
    report = job["report"]
    assert report["rows"] == {"read": 5, "recorded": 2, "unchanged": 0, "skipped": 0, "rejected": 3}
    assert report["records"] == {"created": 1, "changed": 1, "unchanged": 0, "rejected": 1}
    assert report["rejected"] == {"invalid_birth_date": 2, "email_invalid": 1}
    assert report["quality"]["repeated"] == {"rows": 1, "examples": [[2, 6]]}
    assert report["quality"]["unknown_countries"] == {"Atlantis": 1}
    assert report["quality"]["implausible_dates"]["rows"] == 0
    assert sorted(imports.errors(job["id"])) == [
        (3, "Birthdate", "invalid_birth_date"),
        (4, "Email", "email_invalid"),
        (5, "Birthdate", "invalid_birth_date"),
    ]
    shown = customer(imports, "1")
    assert (shown["name"], shown["email"], shown["country"]) == ("Fang Wang", "fang@example.com", "CN")
    assert (shown["phone"], shown["birth_date"]) == ("+8613812345678", "1990-04-23")
    assert shown["acquisition_channel"] == "crm"


def test_the_same_contacts_again_change_nothing(imports: Imports) -> None:
    body = CONTACTS.rsplit("\n", 2)[0].encode()
    imports.records("customers", COLUMNS, body)
    before = imports.ask("select count(*) from shared.outbox")
    report = imports.records("customers", COLUMNS, body)["report"]
    assert report["records"]["unchanged"] == 1 and report["records"]["created"] == 0
    assert report["summary"].startswith("Nothing changed")
    assert imports.ask("select count(*) from shared.outbox") == before


def test_a_dry_run_of_contacts_tells_the_same_and_leaves_nobody(imports: Imports) -> None:
    dry = imports.records("customers", COLUMNS, CONTACTS.encode(), dry_run=True)
    assert imports.ask("select count(*) from customer") == [(0,)]
    real = imports.records("customers", COLUMNS, CONTACTS.encode())
    for part in ("rows", "records", "rejected", "quality"):
        assert dry["report"][part] == real["report"][part], part
    assert imports.errors(dry["id"]) == imports.errors(real["id"])


def test_interrupted_before_any_chunk_an_import_of_records_ends_as_if_it_had_not_been(
    imports: Imports,
) -> None:
    body = CONTACTS.encode()
    imports.chunks = {"rows_read": 2, "rows_recorded": 3}
    whole = imports.records("customers", COLUMNS, body, source="whole")
    for chunks in range(1, 4):
        source = f"broken-{chunks}"
        definition = {"kind": "customers", "source": source, "columns": COLUMNS}
        assert imports.client.put(f"/v1/import-mappings/{source}", json=definition).status_code == 201
        job_id = imports.start(body, source, kind="customers")
        imports.work(StopAfter(chunks))
        imports.work()
        job = imports.job(job_id)
        assert job["state"] == "succeeded"
        told = {name: part for name, part in job["report"].items() if name != "mapping"}
        assert told == {name: part for name, part in whole["report"].items() if name != "mapping"}
    assert imports.ask("select count(*) from import_key") == [(0,)]


def test_only_an_import_of_consents_touches_consent(imports: Imports) -> None:
    imports.records("customers", COLUMNS, CONTACTS.encode())
    assert imports.ask("select count(*) from consent") == [(0,)]
    columns = {
        "customer": {"column": "Contact ID", "remove_suffix": ".0"},
        "purpose": {"default": "marketing"},
        "channel": {"default": "email"},
        "state": {"column": "Opt In", "values": {"yes": "granted", "no": "denied"}, "unlisted": "refuse"},
        "collected_where": {"default": "crm export"},
    }
    body = CONTACTS.replace("1.0,Fang,Wang,fang@example.com,,,China,yes\n", "9.0,,,,,,,yes\n").encode()
    job = imports.records("consents", columns, body)
    assert job["report"]["rejected"] == {"customer_unknown": 3, "missing_state": 1}
    said = "select purpose, channel, state from consent order by state"
    assert imports.ask(said) == [("marketing", "email", "granted")]
    again = imports.records("consents", columns, body)
    assert imports.ask(said) == [("marketing", "email", "granted")]
    assert again["report"]["records"]["created"] == 0


def test_products_activities_interactions_and_tags_are_imported_through_their_nouns(imports: Imports) -> None:
    imports.records("customers", COLUMNS, CONTACTS.encode())
    products = imports.records(
        "products",
        {
            "sku": "id",
            "name_en": "name",
            "category": {"join": ["department", "group"], "separator": "/"},
            "price": "price",
            "currency": {"default": "USD"},
        },
        b"id,name,department,group,price\n1,Ice,Grocery,Frozen,1.99\n2,Bread,Pastry,,0.99\n3,Odd,,,1.999\n",
    )
    assert products["report"]["records"] == {"created": 2, "changed": 0, "unchanged": 0, "rejected": 1}
    assert imports.ask("select sku, category, price_minor from product order by sku") == [
        ("1", "Grocery/Frozen", 199),
        ("2", "Pastry", 99),
    ]
    seen = b'{"kind": "product_view", "at": "2026-11-01T10:00:00Z", "who": 1, "sku": "1"}\n'
    seen += b'{"kind": "product_view", "at": "2026-11-01T10:00:00Z", "who": 99, "sku": "1"}\n'
    columns = {"type": "kind", "occurred_at": "at", "customer": "who", "sku": "sku"}
    for created in (1, 0):
        report = imports.records("activities", columns, seen, format="ndjson")["report"]
        assert (report["records"]["created"], report["rejected"]) == (created, {"customer_unknown": 1})
    calls = "who;when;what;in\n1;2026-11-02 09:00:00;called about a lamp;call\n".encode("gb18030")
    columns = {
        "customer": "who",
        "occurred_at": "when",
        "notes": "what",
        "kind": "in",
        "direction": {"default": "inbound"},
    }
    report = imports.records("interactions", columns, calls, delimiter=None, encoding="gb18030")["report"]
    assert report["records"]["created"] == 1
    columns = {"customer": "who", "tag": "tag"}
    tagged = imports.records("tags", columns, b"who,tag\n1,vip\n1,vip\n77,vip\n")["report"]
    assert (tagged["records"]["rejected"], tagged["rejected"]) == (1, {"customer_unknown": 1})
    assert tagged["quality"]["repeated"] == {"rows": 1, "examples": [[2, 3]]}
    assert imports.records("tags", columns, b"who,tag\n1,vip\n")["report"]["records"]["unchanged"] == 1
    assert customer(imports, "1")["tags"] == ["vip"]


def test_a_mapping_of_records_with_a_fault_says_which(imports: Imports) -> None:
    def told(**changes: Any) -> tuple[int, str]:
        definition = {"kind": "customers", "source": "crm", "columns": COLUMNS} | changes
        reply = imports.client.put("/v1/import-mappings/wrong", json=definition)
        return reply.status_code, json.dumps(reply.json().get("errors"))

    assert "unknown_field" in told(columns=COLUMNS | {"colour": "Colour"})[1]
    assert "field_missing" in told(columns={"name": "Name"})[1]
    assert "column_and_join" in told(columns=COLUMNS | {"city": {"column": "a", "join": ["b"]}})[1]
    assert (
        "invalid_date_format"
        in told(columns=COLUMNS | {"birth_date": {"column": "a", "date_format": "%H"}})[1]
    )
    assert told(kind="horses")[0] == 422
    assert told(columns=COLUMNS | {"attributes.shoe": "Shoe"})[0] == 201
    reply = imports.send(b"a,b\n", "wrong", kind="purchases")
    assert (reply.status_code, reply.json()["code"]) == (422, "kind_mismatch")


@pytest.mark.parametrize("dry_run", [False, True])
def test_an_id_that_is_personal_becomes_a_pseudonym(imports: Imports, dry_run: bool) -> None:
    columns = {"external_id": {"column": "Email", "pseudonym": True}, "email": {"join": ["Email"]}}
    body = b"Email\nANN@example.com\nann@example.com\n"
    report = imports.records("customers", columns, body, dry_run=dry_run)["report"]
    assert report["quality"]["repeated"]["rows"] == 1
    for (name,) in imports.ask("select external_id from customer_external_id"):
        assert name.startswith("p-") and "ann" not in name
    announced = imports.ask("select count(*) from shared.outbox where data::text ilike '%ann@%'")
    assert announced == [(0,)]
