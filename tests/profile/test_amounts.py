"""Prices, amounts and what makes two reports the same."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.rules.amounts import Unpriceable, price
from services.profile.rules.facts import CustomerRef, LineFacts, PurchaseFacts
from services.profile.rules.fingerprint import fingerprint
from shared import money

PRICES = st.decimals(0, 10_000, places=3)


def _round(value: Fraction) -> int:
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


@given(
    st.lists(st.tuples(PRICES, st.integers(1, 100_000)), min_size=1, max_size=10), st.sampled_from([0, 2, 3])
)
def test_a_lines_amount_is_the_exact_product_rounded_once(lines, exponent):
    amounts = price([LineFacts("s", quantity, unit_price) for unit_price, quantity in lines], exponent)
    assert list(amounts.lines) == [_round(Fraction(p) * q * 10**exponent) for p, q in lines]
    assert amounts.total == amounts.accounting_total == sum(amounts.lines)


@given(PRICES, st.integers(1, 1000), st.decimals("0.0001", 1000, places=6))
def test_an_accounting_amount_is_converted_from_the_amount_and_rounded_once(unit_price, quantity, rate):
    amounts = price([LineFacts("s", quantity, unit_price)], 0, rate, 2)
    assert amounts.accounting_lines[0] == _round(amounts.lines[0] * Fraction(rate) * 100)
    assert amounts.accounting_lines[0] == money.convert(amounts.lines[0], "JPY", "CNY", rate)


def test_a_discount_is_never_more_than_its_line():
    with pytest.raises(Unpriceable) as caught:
        price([LineFacts("s", 1, Decimal(1)), LineFacts("s", 1, Decimal(1), 101)], 2)
    assert (caught.value.code, caught.value.line) == ("discount_exceeds_amount", 2)


@given(st.decimals(-(10**9), 10**9, places=4))
def test_money_rounds_half_away_from_zero(amount):
    assert money.to_minor(amount, "CNY") == int((amount * 100).quantize(Decimal(1), ROUND_HALF_UP))
    assert money.to_minor(-amount, "CNY") == -money.to_minor(amount, "CNY")


def test_minor_units_follow_iso_4217():
    assert [money.exponent(currency) for currency in ("JPY", "CNY", "GBP", "KWD", "CLF")] == [0, 2, 2, 3, 4]
    with pytest.raises(money.UnknownCurrency):
        money.exponent("XXY")
    assert money.to_decimal(1234, "KWD") == Decimal("1.234")


FACTS = PurchaseFacts(
    source="shop",
    external_id="1",
    occurred_at=datetime(2026, 11, 20, 10, tzinfo=UTC),
    currency="CNY",
    lines=(LineFacts("a", 1, Decimal("2.50")), LineFacts("b", 2, Decimal(3))),
    customer=CustomerRef(source="shop", external_id="17850"),
)


def test_the_same_facts_in_other_words_have_one_fingerprint():
    other = FACTS._replace(
        occurred_at=FACTS.occurred_at.astimezone(timezone(timedelta(hours=8))),
        lines=(LineFacts("a", 1, Decimal("2.5")), LineFacts("b", 2, Decimal("3.000"))),
        customer=None,
        create_customer=True,
    )
    assert fingerprint(other) == fingerprint(FACTS)


@pytest.mark.parametrize(
    "other",
    [
        FACTS._replace(currency="JPY"),
        FACTS._replace(store="S"),
        FACTS._replace(store="S", channel="web"),
        FACTS._replace(channel="S"),
        FACTS._replace(lines=FACTS.lines[::-1]),
        FACTS._replace(lines=FACTS.lines[:1]),
        FACTS._replace(exchange_rate=Decimal(2)),
        FACTS._replace(lines=(LineFacts("a", 1, Decimal("2.5"), description=""), FACTS.lines[1])),
        FACTS._replace(occurred_at=FACTS.occurred_at + timedelta(microseconds=1)),
    ],
)
def test_other_facts_have_another_fingerprint(other):
    assert fingerprint(other) != fingerprint(FACTS)
