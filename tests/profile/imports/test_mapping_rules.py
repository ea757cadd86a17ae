"""One row → one line, or the reason why not."""

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from services.profile.rules.mapping import Mapping
from services.profile.rules.mapping_countries import code_of
from services.profile.rules.mapping_quality import largest_usual_quantity, summary, unusual_shapes
from services.profile.rules.mapping_rows import PURCHASE, RETURN, SKIPPED, Refused, RowParser

RETAIL: dict[str, Any] = {
    "source": "shop",
    "columns": {
        "order": "InvoiceNo",
        "sku": "StockCode",
        "description": "Description",
        "quantity": "Quantity",
        "occurred_at": "InvoiceDate",
        "unit_price": "UnitPrice",
        "customer": "CustomerID",
        "country": "Country",
    },
    "return_prefix": "C",
    "strip_id_suffix": ".0",
    "time_zone": "Europe/London",
    "date_format": "%Y-%m-%d %H:%M:%S",
    "currency": "GBP",
}


def parser(**changes: Any) -> RowParser:
    return RowParser(Mapping.model_validate(RETAIL | changes))


def row(**changes: str) -> list[str]:
    values = {
        "order": "536365",
        "sku": "85123A",
        "description": "WHITE HANGING HEART",
        "quantity": "6",
        "occurred_at": "2010-12-01 08:26:00",
        "unit_price": "2.55",
        "customer": "17850.0",
        "country": "United Kingdom",
    }
    ordered = [field for field, _ in Mapping.model_validate(RETAIL).columns if field in values]
    return [(values | changes)[field] for field in ordered]


def test_a_row_is_read_as_the_mapping_says() -> None:
    parsed = parser().parse(row())
    assert parsed is not None
    assert parsed.kind == PURCHASE
    assert (parsed.order_number, parsed.customer, parsed.sku) == ("536365", "17850", "85123A")
    assert (parsed.quantity, parsed.unit_price, parsed.currency) == (6, Decimal("2.55"), "GBP")
    assert parsed.occurred_at == datetime(2010, 12, 1, 8, 26, tzinfo=UTC)
    assert parsed.country == "GB"


def test_naive_times_are_in_the_zone_of_the_source() -> None:
    parsed = parser().parse(row(occurred_at="2011-07-01 08:26:00"))
    assert parsed is not None and parsed.occurred_at == datetime(2011, 7, 1, 7, 26, tzinfo=UTC)


def test_a_time_that_the_clocks_pass_twice_is_the_first_and_counted() -> None:
    reader = parser()
    for _ in range(2):
        parsed = reader.parse(row(occurred_at="2011-10-30 01:30:00"))
        assert parsed is not None and parsed.occurred_at == datetime(2011, 10, 30, 0, 30, tzinfo=UTC)
    assert reader.seen["ambiguous_time"] == 2


def test_a_time_that_the_clocks_leap_over_is_as_much_later_and_counted() -> None:
    reader = parser()
    parsed = reader.parse(row(occurred_at="2011-03-27 01:30:00"))
    assert parsed is not None and parsed.occurred_at == datetime(2011, 3, 27, 1, 30, tzinfo=UTC)
    assert reader.seen["nonexistent_time"] == 1


def test_a_time_with_an_offset_keeps_it() -> None:
    parsed = parser(date_format="iso").parse(row(occurred_at="2011-10-30T01:30:00+08:00"))
    assert parsed is not None and parsed.occurred_at == datetime(2011, 10, 29, 17, 30, tzinfo=UTC)


def test_a_prefixed_order_is_a_return_of_so_many_pieces() -> None:
    parsed = parser().parse(row(order="C536379", quantity="-1"))
    assert parsed is not None and (parsed.kind, parsed.quantity) == (RETURN, 1)


def test_a_negative_line_is_a_return_only_if_the_mapping_says_so() -> None:
    with pytest.raises(Refused) as refused:
        parser().parse(row(quantity="-3"))
    assert (refused.value.field, refused.value.code) == ("quantity", "negative_quantity")
    parsed = parser(negative_quantity_is_return=True).parse(row(quantity="-3"))
    assert parsed is not None and (parsed.kind, parsed.quantity) == (RETURN, 3)


def test_a_row_without_a_customer_is_skipped_or_anonymous_as_the_mapping_chooses() -> None:
    skipped = parser().parse(row(customer=""))
    anonymous = parser(missing_customer="anonymous").parse(row(customer=" "))
    assert skipped is not None and skipped.kind == SKIPPED
    assert anonymous is not None and (anonymous.kind, anonymous.customer) == (PURCHASE, None)


def test_what_is_wrong_with_a_skipped_row_is_still_counted() -> None:
    reader = parser()
    reader.parse(row(customer="", quantity="-10", unit_price="0.0"))
    reader.parse(row(customer="", unit_price="-11062.06"))
    assert reader.parse(row(customer="", quantity="many")) is None
    assert reader.seen == Counter(missing_customer=3, negative_quantity=1, zero_price=1, negative_price=1)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("order", " ", "missing_order"),
        ("sku", "", "missing_sku"),
        ("sku", "A\x00B", "invalid_character"),
        ("sku", "A\udcffB", "invalid_encoding"),
        ("sku", "A" * 201, "too_long"),
        ("description", "caf\udce9", "invalid_encoding"),
        ("quantity", "", "missing_quantity"),
        ("quantity", "six", "invalid_quantity"),
        ("quantity", "1.5", "invalid_quantity"),
        ("quantity", "1_000", "invalid_quantity"),
        ("quantity", "٣", "invalid_quantity"),
        ("quantity", "0", "zero_quantity"),
        ("quantity", "99999999999", "quantity_too_large"),
        ("unit_price", "", "missing_unit_price"),
        ("unit_price", "2,55", "invalid_unit_price"),
        ("unit_price", "NaN", "invalid_unit_price"),
        ("unit_price", "1e3", "invalid_unit_price"),
        ("unit_price", "-0.01", "negative_price"),
        ("occurred_at", "", "missing_occurred_at"),
        ("occurred_at", "01/12/2010 8:26", "invalid_occurred_at"),
        ("occurred_at", "2011-02-30 08:26:00", "invalid_occurred_at"),
        ("occurred_at", "0001-01-01 00:00:00", None),
    ],
)
def test_a_row_that_cannot_be_recorded_says_why(field: str, value: str, code: str | None) -> None:
    if code is None:
        assert parser().parse(row(**{field: value})) is not None
        return
    with pytest.raises(Refused) as refused:
        parser().parse(row(**{field: value}))
    assert refused.value.code == code
    assert value.strip() == "" or value not in refused.value.message


def test_numbers_are_read_as_their_country_writes_them() -> None:
    german = parser(decimal_separator=",", thousands_separator=".")
    parsed = german.parse(row(unit_price="1.062,06", quantity="1.200"))
    assert parsed is not None and (parsed.unit_price, parsed.quantity) == (Decimal("1062.06"), 1200)
    plain = parser().parse(row(quantity="6.0", unit_price=" .001 "))
    assert plain is not None and (plain.quantity, plain.unit_price) == (6, Decimal("0.001"))


def test_countries_are_codes_or_marked_as_unknown() -> None:
    reader = parser(countries={"Channel Islands": "JE", "Unspecified": None})
    names = ["EIRE", "RSA", "USA", "Channel Islands", "Unspecified", "European Community", "", "de"]
    found = [reader.parse(row(country=name)) for name in names]
    assert [one and one.country for one in found] == [
        "IE",
        "ZA",
        "US",
        "JE",
        None,
        "?European Community",
        None,
        "DE",
    ]
    assert reader.unknown_countries == Counter({"European Community": 1})
    assert code_of("英国") == code_of("united kingdom") == "GB"


@pytest.mark.parametrize(
    ("changes", "where", "kind"),
    [
        ({"colums": {}}, ("colums",), "extra_forbidden"),
        ({"columns": RETAIL["columns"] | {"colour": "Colour"}}, ("columns", "colour"), "extra_forbidden"),
        ({"columns": {"order": "InvoiceNo"}}, ("columns", "sku"), "missing"),
        ({"columns": RETAIL["columns"] | {"sku": "InvoiceNo"}}, (), "column_used_twice"),
        ({"time_zone": "Europe/Londn"}, ("time_zone",), "unknown_time_zone"),
        ({"date_format": "%H:%M"}, ("date_format",), "invalid_date_format"),
        ({"date_format": "%Y-%m-%d %q"}, ("date_format",), "invalid_date_format"),
        ({"currency": "pounds"}, ("currency",), "string_pattern_mismatch"),
        ({"currency": None}, (), "currency_missing"),
        ({"delimiter": ",,"}, ("delimiter",), "string_pattern_mismatch"),
        ({"thousands_separator": "."}, (), "separators_equal"),
        ({"missing_customer": "drop"}, ("missing_customer",), "literal_error"),
        ({"countries": {"EIRE": "Ireland"}}, ("countries",), "unknown_country"),
        ({"product_pattern": "("}, ("product_pattern",), "invalid_pattern"),
    ],
)
def test_a_mapping_with_a_fault_says_where(changes: Any, where: tuple[str, ...], kind: str) -> None:
    with pytest.raises(ValidationError) as error:
        Mapping.model_validate(RETAIL | changes)
    assert (where, kind) in [(fault["loc"], fault["type"]) for fault in error.value.errors()]


def test_skipping_rows_without_a_customer_needs_to_know_which_column_it_is() -> None:
    columns = {field: column for field, column in RETAIL["columns"].items() if field != "customer"}
    with pytest.raises(ValidationError, match="every row would be skipped"):
        Mapping.model_validate(RETAIL | {"columns": columns})


def test_codes_of_a_rare_shape_do_not_look_like_products() -> None:
    assert unusual_shapes({"9": 2800, "9A": 1150, "A": 8, "A A": 1, "A9": 25}) == {"A", "A A", "A9"}
    assert unusual_shapes({"9": 3, "A-9": 2, "A": 4}) == {"A"}


def test_quantities_are_unusual_far_beyond_what_most_lines_have() -> None:
    assert 1000 < largest_usual_quantity(1, 10) < 80_995
    assert largest_usual_quantity(1, 1) == 10


def test_a_report_says_in_a_sentence_whether_anything_changed() -> None:
    counts = {"recorded": 0, "unchanged": 3, "rejected": 0}
    same = {"purchases": counts, "returns": counts}
    assert summary(same, dry_run=False) == "Nothing changed: 6 orders were recorded before."
    new = {"purchases": counts | {"recorded": 2}, "returns": counts | {"unchanged": 0}}
    assert summary(new, dry_run=True).startswith("2 purchases and 0 returns would be recorded")
