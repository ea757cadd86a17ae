"""Many purchases are announced by a shorter way: it says the same as the event's class."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.profile.domain import purchase_rows
from services.profile.domain.purchase_rows import Known, Recorded
from services.profile.rules.amounts import price
from services.profile.rules.facts import LineFacts, PurchaseFacts
from services.profile.rules.written_purchases import event as said

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
moments = st.datetimes(datetime(1990, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
lines = st.builds(
    LineFacts,
    sku=texts,
    quantity=st.integers(1, 1000),
    unit_price=st.decimals(0, 10_000, places=3),
    discount_minor=st.just(0),
    brand=st.none() | texts,
    category=st.none() | texts,
    description=st.none() | texts,
    unit_cost_minor=st.none() | st.integers(0, 10**6),
)
facts = st.builds(
    PurchaseFacts,
    source=texts,
    external_id=texts,
    occurred_at=moments,
    currency=st.just("CNY"),
    lines=st.lists(lines, min_size=1, max_size=5).map(tuple),
    exchange_rate=st.none() | st.just(Decimal("7.10")),
    channel=st.none() | texts,
    store=st.none() | texts,
    staff_id=st.none() | texts,
    campaign_id=st.none() | texts,
    coupon_codes=st.lists(texts, max_size=3).map(tuple),
)


@given(facts, st.uuids(), st.none() | st.uuids(), st.booleans(), moments, st.booleans())
def test_the_short_way_says_what_the_class_says(
    told: PurchaseFacts, id_: UUID, customer_id: UUID | None, moved: bool, at: datetime, historical: bool
) -> None:
    amounts = price(told.lines, 2, told.exchange_rate, 2)
    recorded_id = UUID(int=7) if moved and customer_id else customer_id
    recorded = Recorded(
        id_, customer_id, recorded_id, at, historical, amounts, purchase_rows.lines(told, amounts)
    )
    event = purchase_rows.event(told, recorded)
    known = Known(customer_id, recorded_id, at, historical)
    assert json.loads(purchase_rows.event_data(id_, known, said(told, amounts))) == json.loads(
        event.model_dump_json()
    )
    assert event.key == str(recorded_id or id_)
