"""The public retail file: 541,909 lines with every trap that real data sets."""

import duckdb
import pytest

from tests.profile.imports.conftest import Imports, StopAfter
from tests.real_file import FILE, LINES

pytestmark = pytest.mark.skipif(not FILE.exists(), reason=f"the real file is not at {FILE} (REGULARS_DATA)")

# Written from the description of the figures alone: pence, half away from zero per line.
LINE = """
    create view line as select
        "InvoiceNo" as order_number, regexp_replace("CustomerID", '\\.0$', '') as customer, "StockCode" as sku,
        "Quantity"::bigint as quantity, "UnitPrice"::decimal(18, 4) as price,
        round("Quantity"::decimal(18, 0) * "UnitPrice"::decimal(18, 4) * 100, 0)::bigint as pence,
        epoch(timezone('Europe/London', "InvoiceDate"::timestamp))::bigint as moment,
        "Description" as description, "InvoiceDate" as written_at, "Country" as country
    from read_csv('{file}', all_varchar = true, header = true)
"""
PER_CUSTOMER = """
    select customer, count(distinct order_number) filter (where order_number not like 'C%'),
        count(distinct order_number) filter (where order_number like 'C%'), sum(pence)::bigint,
        coalesce(min(moment) filter (where order_number not like 'C%'), 0),
        coalesce(sum(quantity) filter (where order_number not like 'C%'), 0)::bigint
    from line where customer is not null group by customer order by customer
"""
RECORDED = """
    select x.external_id, coalesce(p.purchases, 0), coalesce(r.returns, 0),
        (coalesce(p.amount, 0) - coalesce(r.amount, 0))::bigint, coalesce(p.first, 0), coalesce(p.pieces, 0)
    from customer_external_id x
    left join (
        select customer_id, count(*) as purchases, sum(total_minor) as amount,
            extract(epoch from min(occurred_at))::bigint as first,
            sum((select sum(quantity) from purchase_line l where l.purchase_id = p.purchase_id))::bigint as pieces
        from purchase p group by customer_id
    ) p using (customer_id)
    left join (
        select customer_id, count(*) as returns, sum(amount_minor) as amount from purchase_return group by customer_id
    ) r using (customer_id)
    order by x.external_id collate "C"
"""


def test_every_figure_equals_a_recomputation_over_the_file(committing: Imports) -> None:
    """Shut down half-way and resumed, imported twice, and still what plain SQL over the file says."""
    committing.chunks = {"rows_read": 10_000, "rows_recorded": 8_000}
    committing.save()
    file = FILE.read_bytes()
    job_id = committing.start(file, **{"Content-Encoding": "gzip"})
    committing.work(StopAfter(80))
    halfway = committing.job(job_id)["progress"]
    assert halfway["total"] == LINES and 0.4 < halfway["processed"] / LINES < 0.8
    committing.work()
    job = committing.job(job_id)
    assert job["state"] == "succeeded"
    assert job["progress"] == {"total": LINES, "processed": LINES, "failed": 0}

    with duckdb.connect() as over:
        over.execute("set timezone = 'UTC'")
        over.execute(LINE.format(file=FILE))
        assert committing.ask(RECORDED) == over.sql(PER_CUSTOMER).fetchall()
        _the_report_is_right(job["report"], over)

    announced = committing.announced()
    again = committing.start(file, **{"Content-Encoding": "gzip"})
    committing.work()
    report = committing.job(again)["report"]
    assert committing.announced() == announced
    assert report["summary"] == "Nothing changed: 22190 orders were recorded before."
    assert report["rows"]["unchanged"] == job["report"]["rows"]["recorded"]
    assert report["quality"] == job["report"]["quality"]
    for invariant in committing.under_test.service.invariants.values():
        assert committing.ask(invariant) == [(True,)]


def _the_report_is_right(report: dict, over: duckdb.DuckDBPyConnection) -> None:  # type: ignore[type-arg]
    def one(query: str) -> int:
        return int(over.sql(query).fetchall()[0][0])

    def counted(what: str) -> int:
        return one(f"select count(*) from line where {what}")

    quality = report["quality"]
    assert report["skipped"] == {"missing_customer": counted("customer is null")}
    assert report["rows"]["recorded"] == counted("customer is not null")
    assert quality["rows_without_a_customer"] == 135_080
    assert quality["negative_quantities_that_are_no_returns"] == counted(
        "quantity < 0 and order_number not like 'C%'"
    )
    assert quality["zero_prices"] == counted("price = 0")
    assert quality["negative_prices"] == counted("price < 0")
    assert quality["prices_finer_than_the_currency"]["rows"] == counted("price <> round(price, 2)")
    assert quality["possible_repeats"]["rows"] == 5_268
    assert quality["customers_with_several_countries"]["customers"] == 8
    assert quality["skus_that_differ_in_case_only"]["skus"] == 4_070
    assert quality["skus_that_differ_in_case_only"]["skus_without_case"] == 3_958
    assert quality["descriptions_with_blanks_around"] == counted("description <> trim(description)")
    assert quality["orders_with_several_times"]["orders"] == one(
        "select count(*) from (select order_number from line where customer is not null group by order_number"
        " having count(distinct moment) > 1)"
    )
    unlike = quality["codes_unlike_products"]["rows_by_code"]
    named = {"POST", "DOT", "M", "m", "D", "S", "C2", "BANK CHARGES", "AMAZONFEE", "CRUK", "PADS", "B"}
    assert named <= unlike.keys()
    assert {"gift_0001_20", "DCGS0003", "DCGSSGIRL"} <= unlike.keys()
    largest = quality["unusual_quantities"]["examples"][0]
    assert (largest["order"], largest["quantity"], largest["returned_by"]) == ("581483", 80_995, "C581484")
    assert report["first_occurred_at"] == "2010-12-01T08:26:00Z"
    assert report["last_occurred_at"] == "2011-12-09T12:50:00Z"
