"""Cohorts, repurchase rate and Pareto of the public retail file, against DuckDB over the file."""

from collections.abc import Callable
from typing import Any

import duckdb
import pytest

from services.scoring.app import SERVICE
from tests import real_file
from tests.scoring.test_real_file import ORDERS, events
from tests.scoring.world import World

# The file's times are those of London, which is the company's time zone here. An order number belongs to one customer.
FACTS = """
create table fact as
select regexp_replace("CustomerID", '\\.0$', '') as customer, "InvoiceNo" as number,
    date_trunc('day', min("InvoiceDate"::timestamp)) as day, date_trunc('month', min("InvoiceDate"::timestamp)) as month,
    sum(round("Quantity"::decimal(18, 0) * "UnitPrice"::decimal(18, 4) * 100, 0)::bigint)::bigint as amount
from read_csv($file, all_varchar = true, header = true)
where "CustomerID" is not null and "CustomerID" <> '' group by all
"""
OPENED = """
create table occasion as select distinct customer, day, month from fact where number not like 'C%' and amount > 0;
create table opened as select customer, min(day) as day, min(month) as cohort from occasion group by customer
"""
RETENTION = """
with active as (
    select cohort, datediff('month', cohort, month) as after, count(distinct customer) as customers
    from occasion join opened using (customer) group by all),
earned as (
    select cohort, greatest(0, datediff('month', cohort, month)) as after, sum(amount)::bigint as net
    from fact join opened using (customer) group by all)
select strftime(cohort, '%Y-%m'), after, coalesce(customers, 0), net from earned left join active using (cohort, after)
order by 1, 2
"""
REPURCHASE = """
with again as (
    select o.customer, o.day, last_day(o.day) as ends, min(n.day) as second
    from opened o left join occasion n on n.customer = o.customer and n.day > o.day group by all)
select count(*), count(*) filter (where datediff('day', day, second) <= $days) from again
where ends + to_days($days + 1) <= date '2011-12-10'
"""
PARETO = """
with net as (select customer, sum(amount)::bigint as net from fact group by customer having sum(amount) > 0),
ranked as (select net, row_number() over (order by net desc) as place, count(*) over () as n from net)
select count(*), sum(net)::bigint, sum(net) filter (where place <= ceil(n * $percent / 100.0))::bigint,
    1 - sum((2 * place - 1) * net) / (any_value(n) * sum(net)) from ranked
"""


@pytest.mark.skipif(not real_file.FILE.exists(), reason=f"the public retail file is not at {real_file.FILE}")
def test_reports_over_the_real_file_are_what_plain_sql_says(service: Callable[..., Any]) -> None:
    world = World(service(SERVICE, time_zone="Europe/London"))
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        orders = connection.execute(ORDERS, {"file": str(real_file.FILE)}).fetchall()
        for start in range(0, len(orders), 2_000):
            world.happens(
                *(event for order in orders[start : start + 2_000] for event in events(world, *order))
            )
        connection.execute(FACTS, {"file": str(real_file.FILE)})
        connection.execute(OPENED)

        cohorts = asked(world, "cohorts")
        assert [
            (row["cohort"], each["month"], each["customers"], each["net_revenue_minor"])
            for row in cohorts["cohorts"]
            for each in row["months"]
        ] == connection.execute(RETENTION).fetchall()

        repurchase = asked(world, "repurchase-rate")["within"]
        assert [(each["first_time_buyers"], each["customers"]) for each in repurchase] == [
            connection.execute(REPURCHASE, {"days": each["days"]}).fetchone() for each in repurchase
        ]

        pareto = asked(world, "pareto")
        for top in pareto["top"]:
            customers, total, best, gini = connection.execute(PARETO, {"percent": top["percent"]}).fetchone()
            assert (pareto["customers"], pareto["net_revenue_minor"]) == (customers, total)
            assert top["net_revenue_minor"] == best
            assert pareto["gini"] == pytest.approx(float(gini), abs=1e-6)


def asked(world: World, name: str) -> dict[str, Any]:
    reply = world.scoring.client.get(f"/v1/reports/{name}", params={"as_of": real_file.AS_OF})
    assert reply.status_code == 200, reply.text
    return reply.json()
