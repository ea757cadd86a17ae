"""Customers for the models: those of the public retail file, and invented ones whose habits are known."""

from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np

from services.scoring.rules.features import Integers, Lines, Matrix, Purchases, Returns, Vector, features
from tests import real_file

BEGIN = np.datetime64("2026-01-01T00:00:00")

# Invoices as purchases and returns, stock codes as categories; the file's times are local already.
FILE_LINES = """
create table line as
select dense_rank() over (order by regexp_replace("CustomerID", '\\.0$', '')) - 1 as customer,
    "InvoiceNo" as invoice, "InvoiceNo" like 'C%' as returned, "InvoiceDate"::timestamp_s as moment,
    dense_rank() over (order by upper("StockCode")) as category,
    round("Quantity"::decimal(18, 0) * "UnitPrice"::decimal(18, 4) * 100, 0)::bigint as amount
from read_csv($file, all_varchar = true, header = true)
where "CustomerID" is not null and "CustomerID" <> ''
"""
FILE_FACTS = """
select customer, min(moment) as moment, sum(amount)::bigint as amount from line
where returned = $returned group by customer, invoice order by moment, invoice, customer
"""


@dataclass(frozen=True)
class Shoppers:
    """What ``customers`` customers bought and brought back."""

    customers: int
    purchases: Purchases
    returns: Returns
    lines: Lines

    def features(self, as_of: date) -> Matrix:
        return features(self.customers, as_of, self.purchases, self.returns, self.lines)


def of_the_real_file() -> Shoppers:
    with duckdb.connect() as connection:
        connection.execute(FILE_LINES, {"file": str(real_file.FILE)})
        bought = connection.execute(FILE_FACTS, {"returned": False}).fetchnumpy()
        back = connection.execute(FILE_FACTS, {"returned": True}).fetchnumpy()
        lines = connection.execute(
            "select customer, moment, category from line where not returned"
        ).fetchnumpy()
    none = np.zeros(len(bought["customer"]), dtype=np.int64)
    return Shoppers(
        int(max(bought["customer"].max(), back["customer"].max())) + 1,
        Purchases(bought["customer"], bought["moment"], bought["amount"], none, none),
        Returns(
            back["customer"],
            back["moment"],
            -back["amount"],
            np.full(len(back["customer"]), -1, dtype=np.int64),
        ),
        Lines(lines["customer"], lines["moment"], lines["category"]),
    )


@dataclass(frozen=True)
class Habits:
    """One element per customer: first and last day they may buy (from BEGIN), usual days between purchases, usual amount in
    whole units, share of it that is discounted, chance that a purchase is at a weekend."""

    first: Vector
    last: Vector
    gap: Vector
    amount: Vector
    discount: Vector
    weekend: Vector


def invented(habits: Habits, seed: int, most: int = 60) -> Shoppers:
    """People with these habits: gaps are exponential, amounts vary by about 40 %; at most ``most`` purchases each. One
    purchase in fifteen comes back half, five days later."""
    random = np.random.default_rng(seed)
    customers = len(habits.first)
    gaps = random.exponential(habits.gap, (most - 1, customers))
    day = np.vstack([habits.first, habits.first + np.cumsum(gaps, axis=0)]).astype(np.int64)
    bought = day <= habits.last
    customer = np.broadcast_to(np.arange(customers), day.shape)[bought]
    day = day[bought]
    weekday = (day + 3) % 7  # 2026-01-01 was a Thursday; Monday is 0
    at_weekend = random.random(len(day)) < habits.weekend[customer]
    moved = np.where(at_weekend, 5 + weekday % 2, weekday % 5)
    at = (
        BEGIN
        + (day - weekday + moved).astype("m8[D]")
        + random.integers(9 * 60, 20 * 60, len(day)).astype("m8[m]")
    )
    amount = (100 * habits.amount[customer] * random.lognormal(0, 0.4, len(day))).astype(np.int64) + 1
    back = np.flatnonzero(random.random(len(day)) < 1 / 15)
    each = random.integers(1, 4, len(day))
    return Shoppers(
        customers,
        Purchases(
            customer,
            at,
            amount,
            (amount * habits.discount[customer]).astype(np.int64),
            np.zeros(len(day), dtype=np.int64),
        ),
        Returns(customer[back], at[back] + np.timedelta64(5, "D"), amount[back] // 2, back),
        Lines(np.repeat(customer, each), np.repeat(at, each), random.integers(0, 30, int(each.sum()))),
    )


KINDS = ("regular", "bargain hunter", "weekender", "lapsed")


def of_four_kinds(each: int, seed: int) -> tuple[Shoppers, Integers]:
    """``each`` customers of every kind of KINDS, and the position of everybody's kind."""
    random = np.random.default_rng(seed)
    kind = np.repeat(np.arange(len(KINDS)), each)

    def per_kind(*values: float) -> Vector:
        return np.array(values)[kind]

    habits = Habits(
        first=random.uniform(0, 60, len(kind)),
        last=random.uniform(per_kind(500, 500, 500, 100), per_kind(500, 500, 500, 200)),
        gap=per_kind(8, 40, 30, 15),
        amount=per_kind(120, 30, 60, 60),
        discount=per_kind(0.05, 0.4, 0.05, 0.05),
        weekend=per_kind(0.1, 0.1, 0.95, 0.1),
    )
    return invented(habits, seed), kind


def of_many_rhythms(customers: int, seed: int) -> Shoppers:
    """Everybody has a rhythm, an amount and a day of leaving of their own, none of which shows in a single quarter."""
    random = np.random.default_rng(seed)
    first = random.uniform(0, 300, customers)
    habits = Habits(
        first=first,
        last=first + random.exponential(250, customers),
        gap=60 / random.gamma(1.5, 1 / 1.5, customers),
        amount=random.lognormal(4, 0.8, customers),
        discount=np.zeros(customers),
        weekend=np.full(customers, 0.2),
    )
    return invented(habits, seed)
