"""Returns that name no purchase: matched by the rule or by a person, with nothing counted twice."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from services.profile.domain import returns
from services.profile.rules.facts import CustomerRef, LineFacts, UnmatchedReturnFacts
from services.profile.rules.return_matching import (
    LooseLine,
    LooseReturn,
    OpenLine,
    OpenPurchase,
    choose,
    fit,
)
from tests.profile.conftest import YESTERDAY, at_once, code_of, line


def bring_loose(profile, external_id="R", *lines, **fields):
    body = {
        "customer": {"source": "shop", "external_id": "17850"},
        "occurred_at": YESTERDAY,
        "lines": [line(quantity=2), *lines],
    }
    reply = profile.client.put(f"/v1/returns/shop/{external_id}", json=body | fields)
    assert reply.status_code in (200, 201), reply.text
    return reply


def match(profile, external_id="R", order="1", **fields):
    purchase = {"source": "shop", "external_id": order}
    return profile.client.post(f"/v1/returns/shop/{external_id}/match", json={"purchase": purchase} | fields)


def test_a_person_matches_a_return_and_it_reverses_what_the_purchase_says(profile):
    bought = profile.buy("1", line(quantity=6, unit_price="2.50", discount_minor=300)).json()
    loose = bring_loose(profile).json()
    reply = match(profile)
    assert reply.status_code == 200
    body = reply.json()
    assert (body["purchase_id"], body["amount_minor"], body["net_left_minor"]) == (bought["id"], 400, 800)
    assert [(one["line"], one["quantity"], one["amount_minor"]) for one in body["lines"]] == [(1, 2, 400)]
    assert body["matched_at"] is not None
    shown = profile.client.get("/v1/purchases/shop/1").json()
    assert (shown["net_minor"], shown["lines"][0]["returned_quantity"]) == (800, 2)
    assert profile.client.get("/v1/returns?matched=false").json()["items"] == []

    (event,) = profile.announced("return_matched")
    assert event["key"] == bought["customer_id"]
    assert (event["return_id"], event["purchase_id"]) == (loose["id"], bought["id"])
    assert (event["unmatched_amount_minor"], event["amount_minor"]) == (510, 400)
    assert event["net_left_minor"] == 800
    profile.holds()


def test_matching_again_changes_nothing_and_so_does_telling_the_return_again(profile):
    profile.buy("1")
    profile.buy("2")
    bring_loose(profile)
    first = match(profile).json()
    assert match(profile).json() == first
    assert bring_loose(profile).status_code == 200
    assert code_of(match(profile, order="2")) == "return_matched"
    assert len(profile.announced("return_matched")) == 1
    profile.holds()


def test_an_anonymous_return_becomes_the_customers_and_is_the_same_when_told_again(profile):
    bought = profile.buy("1").json()
    bring_loose(profile, customer=None)
    assert match(profile).json()["customer_id"] == bought["customer_id"]
    assert profile.announced("return_matched")[0]["key"] == bought["customer_id"]
    assert bring_loose(profile, customer=None).status_code == 200
    profile.holds()


def test_the_lines_may_be_named(profile):
    profile.buy("1", line("A", 3, "1"), line("85123A", 3, "1"), line("85123A", 3, "2"))
    bring_loose(profile)
    body = match(profile, lines=[{"line": 3, "quantity": 2}]).json()
    assert [(one["line"], one["quantity"]) for one in body["lines"]] == [(3, 2)]
    profile.holds()


def test_what_does_not_fit_together_is_not_matched(profile):
    profile.customer()
    profile.buy("few", line(quantity=1))
    profile.buy("other", customer={"source": "shop", "external_id": "somebody"})
    profile.buy("nobody's", customer=None)
    profile.buy("yen", currency="JPY", exchange_rate="0.05")
    profile.buy("called off")
    profile.client.put("/v1/purchases/shop/called off/cancellation", json={"occurred_at": YESTERDAY})
    bring_loose(profile)
    refused = {
        "few": "return_exceeds_purchase",
        "other": "return_of_another_customer",
        "nobody's": "return_of_another_customer",
        "yen": "return_in_another_currency",
        "called off": "purchase_cancelled",
        "unknown": "purchase_unknown",
    }
    for order, code in refused.items():
        assert code_of(match(profile, order=order)) == code
    assert code_of(match(profile, order="few", lines=[{"line": 2, "quantity": 1}])) == "line_unknown"
    assert code_of(match(profile, "unknown")) == "return_not_found"
    assert profile.announced("return_matched") == []


def test_returns_matched_by_many_at_once_never_take_back_more_than_was_bought(committing):
    committing.buy("1", line(quantity=8))
    for number in range(8):
        bring_loose(committing, f"R{number}")
    replies = at_once(lambda number: match(committing, f"R{number}"))
    assert Counter(reply.status_code for reply in replies) == {200: 4, 409: 4}
    assert committing.client.get("/v1/purchases/shop/1").json()["net_minor"] == 0
    committing.holds()


def tell_by_rule(profile, *told, sku="85123A"):
    """Returns as an import tells them whose mapping says to match: (external id, quantity, unit price, days ago)."""
    facts = [
        UnmatchedReturnFacts(
            "shop",
            external_id,
            datetime.now(UTC) - timedelta(days=days),
            "CNY",
            (LineFacts(sku, quantity, Decimal(unit_price)),),
            CustomerRef(source="shop", external_id="17850"),
        )
        for external_id, quantity, unit_price, days in told
    ]
    with profile.under_test.sessions.begin() as session:
        now = session.execute(text("select now()")).scalar_one()
        return [
            outcome.recorded for outcome in returns.record_unmatched_many(session, facts, now, match=True)
        ]


def days_ago(days):
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


def test_the_rule_takes_the_latest_purchase_before_the_return_at_the_same_price(profile):
    profile.buy("old", line(quantity=6), occurred_at=days_ago(30))
    profile.buy("latest", line(quantity=6), occurred_at=days_ago(20))
    profile.buy("dearer", line(quantity=6, unit_price="3"), occurred_at=days_ago(15))
    profile.buy("after", line(quantity=6), occurred_at=days_ago(5))
    matched = tell_by_rule(
        profile,
        ("fits", 4, "2.55", 10),
        ("fits no longer", 4, "2.55", 9),
        ("too many", 7, "2.55", 8),
        ("never so cheap", 1, "1", 8),
        ("dear", 2, "3.00", 8),
    )
    assert matched == [True, True, False, False, True]
    of = dict(profile.ask(
        "select r.external_id, p.external_id from purchase_return r join purchase p using (purchase_id)"
    ))  # fmt: skip
    assert of == {"fits": "latest", "fits no longer": "old", "dear": "dearer"}
    events = {event["external_id"]: event for event in profile.announced("purchase_returned")}
    assert (events["fits"]["amount_minor"], events["fits"]["net_left_minor"]) == (1020, 510)
    assert events["too many"]["purchase_id"] is None
    assert tell_by_rule(profile) == []
    profile.holds()


def test_several_returns_of_one_purchase_in_one_go_add_up_exactly(profile):
    profile.buy("1", line(quantity=3, unit_price="0.335", discount_minor=1), occurred_at=days_ago(9))
    assert tell_by_rule(profile, *((f"R{n}", 1, "0.335", 5 - n) for n in range(4))) == [
        True,
        True,
        True,
        False,
    ]
    events = profile.announced("purchase_returned")
    assert sorted(event["amount_minor"] for event in events if event["purchase_id"]) == [33, 33, 34]
    assert {event["net_left_minor"] for event in events} == {67, 33, 0, None}
    assert profile.client.get("/v1/purchases/shop/1").json()["net_minor"] == 0
    profile.holds()


SKUS = st.sampled_from("AB")
PRICES = st.sampled_from([Decimal(1), Decimal(2)])
CUSTOMERS = [UUID(int=1), UUID(int=2)]
MOMENTS = st.integers(0, 20).map(lambda day: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day))


@st.composite
def bought(draw):
    lines = draw(st.lists(st.tuples(SKUS, PRICES, st.integers(0, 4)), min_size=1, max_size=4))
    return [OpenLine(number, *one) for number, one in enumerate(lines, 1)]


@st.composite
def worlds(draw):
    purchases = [
        OpenPurchase(
            UUID(int=100 + n), draw(st.sampled_from(CUSTOMERS)), "CNY", draw(MOMENTS), draw(bought())
        )
        for n in range(draw(st.integers(0, 5)))
    ]
    loose = [
        LooseReturn(
            ("shop", str(n)),
            draw(st.sampled_from(CUSTOMERS)),
            "CNY",
            draw(MOMENTS),
            draw(st.lists(st.builds(LooseLine, SKUS, st.integers(1, 4), PRICES), min_size=1, max_size=3)),
        )
        for n in range(draw(st.integers(0, 6)))
    ]
    return loose, purchases


@given(worlds())
def test_whatever_is_matched_fits_and_nothing_comes_back_twice(world):
    loose, purchases = world
    by_id = {one.purchase_id: one for one in purchases}
    left = {one.purchase_id: {line.line: line for line in one.lines} for one in purchases}
    chosen = choose(loose, purchases)
    assert choose(reversed(loose), reversed(purchases)) == chosen
    for one in loose:
        if (found := chosen.get(one.key)) is None:
            continue
        purchase = by_id[found.purchase_id]
        assert (purchase.customer_id, purchase.currency) == (one.customer_id, one.currency)
        assert purchase.occurred_at <= one.occurred_at
        came = Counter()
        for number, quantity in found.lines:
            line_ = left[found.purchase_id][number]
            assert 0 < quantity <= line_.left
            left[found.purchase_id][number] = line_._replace(left=line_.left - quantity)
            came[line_.sku, line_.unit_price] += quantity
        told = Counter()
        for sku, quantity, unit_price in one.lines:
            told[sku, unit_price] += quantity
        assert came == told
    # Who was not matched fits nowhere in what is left over.
    for one in loose:
        if one.key not in chosen:
            for purchase in purchases:
                if purchase.customer_id == one.customer_id and purchase.occurred_at <= one.occurred_at:
                    assert fit(one.lines, left[purchase.purchase_id].values()) is None
