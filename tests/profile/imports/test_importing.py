"""What a file becomes."""

import gzip
import json
import random
from datetime import UTC, datetime

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.profile.rules.mapping_orders import MOST_LINES
from tests.profile.imports.conftest import Imports, bought, csv_of

# Every trap of the real file in a few lines.
TRAPS = [
    bought("536365", "85123A", 6, "2.55"),
    bought("536365", "71053", 6, "3.39", at="2010-12-01 08:27:00"),
    bought("536366", "22633", 6, "1.85", description="  HAND WARMER "),
    bought("536365", "84406B", 8, "2.75"),  # its order was interrupted
    bought("536367", "22960", 12, "0.0"),
    bought("536367", "22960", 12, "0.0"),  # repeated exactly
    bought("536368", "22961", 1, "0.001"),
    bought("536368", "22961a", 1, "1.00"),
    bought("536368", "22961A", 1, "1.00"),
    bought("536369", "POST", 1, "18.00", customer="12583.0", country="France"),
    bought("536370", "22961", 3, "1.00", customer="12583.0", country="EIRE"),
    bought("536371", "22961", 3, "1.00", customer="12583.0", country="France"),
    bought("536372", "22961", 3, "1.00", customer="14000.0", country="European Community"),
    bought("C536379", "85123A", -1, "2.55"),
    bought("C536379", "71053", -2, "3.39"),
    bought("536589", "21777", -10, "0.0", customer=""),
    bought("A563186", "B", 1, "-11062.06", customer=""),
    bought("536414", "22139", 56, "0.0", customer=""),
    bought("541431", "23166", 74215, "1.04", customer="12346.0"),
    bought("C541433", "23166", -74215, "1.04", customer="12346.0", at="2010-12-01 08:42:00"),
    bought("550001", "22961", 1, "1.00", at="2011-10-30 01:30:00"),
]


def test_orders_become_purchases_and_prefixed_orders_unmatched_returns(imports: Imports) -> None:
    job = imports.run(TRAPS)
    assert job["state"] == "succeeded", job
    assert job["progress"] == {"total": 21, "processed": 21, "failed": 0}
    report = job["report"]
    assert report["rows"] == {"read": 21, "recorded": 18, "unchanged": 0, "skipped": 3, "rejected": 0}
    assert report["skipped"] == {"missing_customer": 3}
    assert report["purchases"] == {"recorded": 10, "unchanged": 0, "rejected": 0}
    assert report["returns"] == {"recorded": 2, "unchanged": 0, "rejected": 0, "unmatched": 2}
    assert report["customers"] == {"in_file": 4, "created": 4}
    assert report["first_occurred_at"] == "2010-12-01T08:26:00Z"
    assert report["last_occurred_at"] == "2011-10-30T00:30:00Z"
    assert imports.announced() == [
        ("customer_registered", 4),
        ("purchase_recorded", 10),
        ("purchase_returned", 2),
    ]
    purchases = imports.ask(
        "select external_id, total_minor, occurred_at from purchase order by external_id limit 1"
    )
    assert purchases == [("536365", 1530 + 2034 + 2200, datetime(2010, 12, 1, 8, 26, tzinfo=UTC))]
    assert imports.ask("select external_id, amount_minor from purchase_return order by 1") == [
        ("C536379", 255 + 678),
        ("C541433", 7_718_360),
    ]
    for invariant in imports.under_test.service.invariants.values():
        assert imports.ask(invariant) == [(True,)]


def test_the_quality_report_names_every_trap(imports: Imports) -> None:
    quality = imports.run(TRAPS)["report"]["quality"]
    assert quality["possible_repeats"] == {"rows": 1, "kept": 1, "examples": [[6, 7]]}
    assert quality["customers_with_several_countries"] == {"customers": 1, "examples": ["12583"]}
    assert quality["skus_that_differ_in_case_only"]["groups"] == 1
    assert quality["skus_that_differ_in_case_only"]["examples"] == [["22961A", "22961a"]]
    assert quality["codes_unlike_products"]["rows_by_code"] == {"B": 1, "POST": 1}
    assert quality["rows_without_a_customer"] == 3
    assert quality["negative_quantities_that_are_no_returns"] == 1
    assert quality["negative_prices"] == 1
    assert quality["zero_prices"] == 4
    assert quality["prices_finer_than_the_currency"] == {"rows": 1, "examples": [8]}
    assert quality["ids_cleaned"] == 18
    assert quality["descriptions_with_blanks_around"] == 1
    assert quality["ambiguous_times"] == 1
    assert quality["nonexistent_times"] == 0
    assert quality["orders_with_several_times"] == {"orders": 1}
    assert quality["unknown_countries"] == {"European Community": 1}
    outlier = quality["unusual_quantities"]["examples"][0]
    assert (outlier["order"], outlier["quantity"], outlier["returned_by"]) == ("541431", 74215, "C541433")


def test_a_customer_has_the_country_that_most_of_its_rows_name(imports: Imports) -> None:
    imports.run(TRAPS)
    found = imports.ask(
        "select external_id, country from customer join customer_external_id using (customer_id) order by 1"
    )
    assert found == [("12346", "GB"), ("12583", "FR"), ("14000", None), ("17850", "GB")]


def test_the_same_file_again_changes_nothing_and_says_so(imports: Imports) -> None:
    imports.run(TRAPS)
    before, announced = imports.facts(), imports.announced()
    job = imports.run(random.Random(7).sample(TRAPS, len(TRAPS)))
    assert (imports.facts(), imports.announced()) == (before, announced)
    assert job["report"]["rows"] == {"read": 21, "recorded": 0, "unchanged": 18, "skipped": 3, "rejected": 0}
    assert job["report"]["customers"]["created"] == 0
    assert job["report"]["summary"] == "Nothing changed: 12 orders were recorded before."


def test_rows_without_a_customer_are_anonymous_if_the_mapping_says_so(imports: Imports) -> None:
    job = imports.run(TRAPS, missing_customer="anonymous")
    assert job["report"]["rows"] == {"read": 21, "recorded": 19, "unchanged": 0, "skipped": 0, "rejected": 2}
    assert imports.ask("select external_id from purchase where customer_id is null") == [("536414",)]
    assert imports.errors(job["id"]) == [
        (17, "Quantity", "negative_quantity"),
        (18, "UnitPrice", "negative_price"),
    ]
    assert job["progress"] == {"total": 21, "processed": 19, "failed": 2}
    assert job["report"]["rejected"] == {"negative_price": 1, "negative_quantity": 1}


def test_refused_rows_stand_in_the_errors_and_the_others_are_recorded(imports: Imports) -> None:
    lines = csv_of(
        [
            bought("1", quantity="six"),
            bought("2"),
            bought("3", at="yesterday"),
            bought("4", price="-1"),
            bought("5", quantity=-1),
            bought("", sku="X"),
        ]
    )
    lines += b'"8,open quote is closed","only two"\n'
    lines += b"9,caf\xe9,CUP,1,2010-12-01 08:26:00,1.00,17850.0,United Kingdom\n"
    lines += csv_of([bought("10", at="2999-01-01 00:00:00")]).split(b"\n", 1)[1]
    job = imports.run(lines)
    assert imports.errors(job["id"]) == [
        (2, "Quantity", "invalid_quantity"),
        (4, "InvoiceDate", "invalid_occurred_at"),
        (5, "UnitPrice", "negative_price"),
        (6, "Quantity", "negative_quantity"),
        (7, "InvoiceNo", "missing_order"),
        (8, None, "wrong_number_of_columns"),
        (9, "StockCode", "invalid_encoding"),
        (10, "InvoiceDate", "occurred_in_the_future"),
    ]
    assert imports.ask("select external_id from purchase") == [("2",)]
    assert job["progress"] == {"total": 9, "processed": 1, "failed": 8}
    assert sum(job["report"]["rejected"].values()) == job["report"]["rows"]["rejected"] == 8


def test_rows_that_cannot_be_one_order_are_refused_together(imports: Imports) -> None:
    imports.chunks = {"rows_read": 1000, "rows_recorded": 1000}
    job = imports.run(
        [
            bought("1", customer="a"),
            bought("1", customer="b"),
            bought("2"),
            *(bought("3", sku=f"S{number}") for number in range(MOST_LINES + 1)),
        ]
    )
    assert imports.ask("select external_id from purchase") == [("2",)]
    assert job["report"]["purchases"] == {"recorded": 1, "unchanged": 0, "rejected": 2}
    assert job["report"]["rejected"] == {"order_of_several_customers": 2, "too_many_lines": MOST_LINES + 1}
    assert imports.errors(job["id"])[:2] == [
        (2, "CustomerID", "order_of_several_customers"),
        (3, "CustomerID", "order_of_several_customers"),
    ]


def test_an_order_recorded_with_other_facts_is_refused(imports: Imports) -> None:
    imports.run([bought("1"), bought("2")])
    job = imports.run([bought("1", quantity=7), bought("2")])
    assert imports.errors(job["id"]) == [(2, None, "purchase_differs")]
    assert job["report"]["purchases"] == {"recorded": 0, "unchanged": 1, "rejected": 1}


def test_an_order_in_another_currency_needs_its_rate(imports: Imports) -> None:
    columns = {"columns": {**_columns(), "currency": "Currency", "exchange_rate": "Rate"}}
    header = (
        "InvoiceNo",
        "StockCode",
        "Quantity",
        "InvoiceDate",
        "UnitPrice",
        "CustomerID",
        "Currency",
        "Rate",
    )
    rows = [
        ("1", "S", "1", "2010-12-01 08:26:00", "2.00", "c", "", ""),
        ("2", "S", "1", "2010-12-01 08:26:00", "2.00", "c", "JPY", "0.0076"),
        ("3", "S", "1", "2010-12-01 08:26:00", "2.00", "c", "JPY", ""),
        ("4", "S", "1", "2010-12-01 08:26:00", "2.00", "c", "XXQ", "1.5"),
    ]
    imports.save(**columns)
    job_id = imports.start(csv_of(rows, header))
    imports.work()
    totals = imports.ask("select external_id, total_minor, accounting_total_minor from purchase order by 1")
    assert totals == [("1", 200, 200), ("2", 2, 2)]
    assert imports.errors(job_id) == [
        (4, "Rate", "exchange_rate_required"),
        (5, "Currency", "currency_unknown"),
    ]


def _columns() -> dict[str, str]:
    return {
        "order": "InvoiceNo",
        "sku": "StockCode",
        "quantity": "Quantity",
        "occurred_at": "InvoiceDate",
        "unit_price": "UnitPrice",
        "customer": "CustomerID",
    }


def test_negative_lines_become_a_return_beside_the_purchase_of_their_order(imports: Imports) -> None:
    job = imports.run([bought("1"), bought("1", sku="X", quantity=-2)], negative_quantity_is_return=True)
    assert job["report"]["rows"]["recorded"] == 2
    assert imports.ask("select external_id, total_minor from purchase") == [("1", 1530)]
    assert imports.ask("select external_id, amount_minor from purchase_return") == [("1", 510)]


def test_a_dry_run_tells_what_would_happen_and_records_nothing(imports: Imports) -> None:
    rows = [*TRAPS, bought("9", quantity="x"), bought("10", at="2999-01-01 00:00:00")]
    dry = imports.run(rows, dry_run=True)
    assert imports.facts() == [] and imports.announced() == []
    assert imports.ask("select count(*) from customer") == [(0,)]
    assert imports.ask("select count(*) from accounting") == [(0,)]
    real = imports.run(rows)
    assert dry["report"]["summary"] == "10 purchases and 2 returns would be recorded."
    assert real["report"]["summary"] == "10 purchases and 2 returns recorded."
    assert dry["progress"] == real["progress"]
    assert {**dry["report"], "dry_run": False, "summary": None} == {**real["report"], "summary": None}
    assert imports.errors(dry["id"]) == imports.errors(real["id"])


def test_gzip_a_byte_order_mark_and_windows_line_ends_change_nothing(imports: Imports) -> None:
    plain = csv_of(TRAPS)
    imports.save()
    for body, headers in (
        (b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n"), {}),
        (gzip.compress(plain), {"Content-Encoding": "gzip"}),
        (gzip.compress(plain), {"Content-Type": "application/gzip"}),
    ):
        job_id = imports.start(body, **headers)
        imports.work()
        assert imports.job(job_id)["report"]["rows"]["read"] == 21
    assert imports.announced()[1] == ("purchase_recorded", 10)


def test_ndjson_says_the_same_as_csv(imports: Imports) -> None:
    imports.run(TRAPS)
    facts = [fact for fact in imports.facts() if fact[0] == "purchase"]
    lines = []
    for number, sku, description, quantity, at, price, customer, country in TRAPS:
        row = {"InvoiceNo": number, "StockCode": sku, "Description": description, "Quantity": int(quantity)}
        row |= {
            "InvoiceDate": at,
            "UnitPrice": float(price),
            "CustomerID": customer or None,
            "Country": country,
        }
        lines.append(json.dumps(row))
    imports.save("lines", source="lines", format="ndjson")
    job_id = imports.start("\n".join(lines).encode(), "lines", **{"Content-Type": "application/x-ndjson"})
    imports.work()
    assert imports.job(job_id)["report"]["rows"]["recorded"] == 18
    assert [fact for fact in imports.facts("lines") if fact[0] == "purchase"] == facts


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations(range(len(TRAPS))), rows_read=st.integers(1, 30), rows_recorded=st.integers(5, 30)
)
def test_in_whatever_order_the_rows_stand_the_facts_are_the_same(
    imports: Imports, order: list[int], rows_read: int, rows_recorded: int
) -> None:
    if not imports.facts():
        imports.run(TRAPS)
    imports.chunks = {"rows_read": rows_read, "rows_recorded": rows_recorded}
    source = f"shuffled-{len(imports.ask('select 1 from shared.job'))}"
    imports.save(source, source=source)
    imports.start(csv_of(TRAPS[place] for place in order), source)
    imports.work()
    assert imports.facts(source) == imports.facts()


def test_staged_rows_and_the_upload_are_gone_afterwards(imports: Imports) -> None:
    imports.run(TRAPS)
    for table in ("import_order", "import_customer", "import_count", "shared.upload_block"):
        assert imports.ask(f"select count(*) from {table}") == [(0,)]
