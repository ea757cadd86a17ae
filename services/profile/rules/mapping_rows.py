"""One row of a file → one line of a purchase or return, or the reason why not.

An export repeats itself: the same order number, code, price and time stand in many rows. So every kind of value is
parsed once and remembered, and a row costs a few look-ups (541,909 rows of the real file: about 2 s on one core).
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from services.profile.rules.mapping import Mapping
from services.profile.rules.mapping_countries import code_of, is_code

PURCHASE, RETURN, SKIPPED = 0, 1, 2
# Stands before a country's name that is not known, so that it is never taken for a code.
UNKNOWN_COUNTRY = "?"

_REMEMBERED = 50_000
_LONGEST = {"description": 1000, "category": 500, "channel": 100, "store": 100}
_LONGEST_ID = 200

_UNREADABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_BREAKS = re.compile("[\t\n\r]+")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}(\.0*)?", re.ASCII)
_DECIMAL = re.compile(r"[+-]?([0-9]{1,13}(\.[0-9]{0,9})?|\.[0-9]{1,9})", re.ASCII)
_CURRENCY = re.compile("[A-Z]{3}")
_LARGEST_QUANTITY = 2**31 - 1


class Refused(Exception):  # noqa: N818 - an answer
    """A row that is not accepted; the message never repeats the value, which may be personal."""

    def __init__(self, field: str | None, code: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.code = code
        self.message = message


class ParsedRow(NamedTuple):
    """A row as it is staged; ``kind`` is PURCHASE, RETURN or SKIPPED, a return's ``quantity`` is positive."""

    kind: int
    order_number: str
    customer: str | None
    sku: str
    quantity: int
    unit_price: Decimal
    occurred_at: datetime
    description: str | None
    category: str | None
    country: str | None
    currency: str
    exchange_rate: Decimal | None
    discount: Decimal | None
    channel: str | None
    store: str | None


class _Remembered(dict[str, Any]):
    """What ``parse`` made of a text; forgotten all at once when there are too many."""

    def __init__(self, parse: Callable[[str], Any]) -> None:
        super().__init__()
        self._parse = parse

    def __missing__(self, text: str) -> Any:
        if len(self) >= _REMEMBERED:
            self.clear()
        value = self[text] = self._parse(text)
        return value


class RowParser:
    """Parses the rows of one mapping and counts what is worth a remark.

    ``columns`` is the order in which the values of a row are handed to ``parse``. ``seen`` counts the remarks and
    ``unknown_countries`` the rows by name, both until the caller takes them.
    """

    def __init__(self, mapping: Mapping) -> None:
        named = mapping.columns.named()
        self.columns = tuple(named.values())
        self.seen: Counter[str] = Counter()
        self.unknown_countries: Counter[str] = Counter()
        self._named = named
        self._mapping = mapping
        self._skips = mapping.missing_customer == "skip"
        self._places = {field: place for place, field in enumerate(named)}
        self._odd_times: dict[str, str] = {}
        self._zone = ZoneInfo(mapping.time_zone)
        self._values = {field: _Remembered(self._reader(field)) for field in named}
        self._rare = tuple(
            (field, self._places[field], self._values[field])
            for field in ("category", "currency", "exchange_rate", "discount", "channel", "store")
            if field in named
        )
        self._defaults: dict[str, Any] = {
            "category": None,
            "currency": mapping.currency,
            "exchange_rate": Decimal(mapping.exchange_rate) if mapping.exchange_rate else None,
            "discount": None,
            "channel": mapping.channel,
            "store": mapping.store,
        }

    def column(self, field: str | None) -> str | None:
        """What the file calls a field."""
        return None if field is None else self._named.get(field, field)

    def parse(self, row: Sequence[str]) -> ParsedRow | None:
        """The row as it is staged; None for a row without a customer, to be skipped, that cannot be read otherwise.
        Raises Refused."""
        customer = None
        if "customer" in self._places:
            raw = row[self._places["customer"]]
            customer = self._values["customer"][raw]
            if customer is None:
                self.seen["missing_customer"] += 1
            elif len(customer) != len(raw):
                self.seen["id_cleaned"] += 1
        if customer is not None or not self._skips:
            return self._row(row, customer, skipped=False)
        try:
            return self._row(row, None, skipped=True)
        except Refused:
            return None

    def _row(self, row: Sequence[str], customer: str | None, *, skipped: bool) -> ParsedRow:
        places, values, seen = self._places, self._values, self.seen
        order_number: str = values["order"][row[places["order"]]]
        sku: str = values["sku"][row[places["sku"]]]
        quantity: int = values["quantity"][row[places["quantity"]]]
        unit_price: Decimal = values["unit_price"][row[places["unit_price"]]]
        raw = row[places["occurred_at"]]
        occurred_at: datetime = values["occurred_at"][raw]
        if self._odd_times and raw in self._odd_times:
            seen[self._odd_times[raw]] += 1

        description, country = self._about(row)
        kind, quantity, fault = self._kind(order_number, quantity)
        if unit_price <= 0:
            seen["zero_price" if unit_price == 0 else "negative_price"] += 1
            if unit_price < 0 and fault is None:
                fault = Refused("unit_price", "negative_price", "the price is below zero")
        if fault is not None:
            if fault.code != "negative_price":
                seen[fault.code] += 1
            if not skipped:
                raise fault
        rare = self._rare_values(row) if self._rare else self._defaults
        if rare["currency"] is None:
            raise Refused(
                "currency", "missing_currency", "the row names no currency and the mapping has none"
            )
        return ParsedRow(
            SKIPPED if skipped else kind,
            order_number,
            customer,
            sku,
            quantity,
            unit_price,
            occurred_at,
            description,
            rare["category"],
            country,
            rare["currency"],
            rare["exchange_rate"],
            rare["discount"],
            rare["channel"],
            rare["store"],
        )

    def _about(self, row: Sequence[str]) -> tuple[str | None, str | None]:
        """Description and country."""
        description = country = None
        if "description" in self._places:
            raw = row[self._places["description"]]
            description = self._values["description"][raw]
            if len(description or "") != len(raw):
                self.seen["description_trimmed"] += 1
        if "country" in self._places:
            country = self._values["country"][row[self._places["country"]]]
            if country is not None and country[0] == UNKNOWN_COUNTRY:
                self.unknown_countries[country[1:]] += 1
        return description, country

    def _rare_values(self, row: Sequence[str]) -> dict[str, Any]:
        values = dict(self._defaults)
        for field, place, remembered in self._rare:
            value = remembered[row[place]]
            if value is not None:
                values[field] = value
        return values

    def _kind(self, order_number: str, quantity: int) -> tuple[int, int, Refused | None]:
        """Whether the line is bought or returned, and how many pieces."""
        prefix = self._mapping.return_prefix
        if prefix is not None and order_number.startswith(prefix):
            if quantity < 0:
                return RETURN, -quantity, None
            return (
                RETURN,
                quantity,
                Refused("quantity", "positive_quantity_in_return", "a return's quantity is not below zero"),
            )
        if quantity > 0:
            return PURCHASE, quantity, None
        if self._mapping.negative_quantity_is_return:
            return RETURN, -quantity, None
        return (
            PURCHASE,
            quantity,
            Refused("quantity", "negative_quantity", "the quantity is below zero and the order is no return"),
        )

    def _reader(self, field: str) -> Callable[[str], Any]:
        readers: dict[str, Callable[[str], Any]] = {
            "quantity": self._quantity,
            "unit_price": lambda text: self._decimal("unit_price", text),
            "discount": lambda text: self._decimal("discount", text, required=False),
            "exchange_rate": lambda text: self._decimal("exchange_rate", text, required=False),
            "occurred_at": self._time,
            "currency": self._currency,
            "country": self._country,
            "order": lambda text: self._id("order", text, required=True),
            "customer": lambda text: self._id("customer", text),
            "sku": lambda text: self._text("sku", text, required=True),
        }
        return readers.get(field, lambda text: self._text(field, text))

    def _text(self, field: str, text: str, *, required: bool = False) -> str | None:
        text = _BREAKS.sub(" ", text).strip()
        if not text:
            if required:
                raise Refused(field, f"missing_{field}", "the value is missing")
            return None
        if unreadable := _UNREADABLE.search(text):
            if _SURROGATES.match(unreadable[0]):
                raise Refused(field, "invalid_encoding", f"bytes that are not {self._mapping.encoding}")
            raise Refused(field, "invalid_character", "a control character")
        if len(text) > (longest := _LONGEST.get(field, _LONGEST_ID)):
            raise Refused(field, "too_long", f"longer than {longest} characters")
        return text

    def _id(self, field: str, text: str, *, required: bool = False) -> str | None:
        value = self._text(field, text, required=required)
        suffix = self._mapping.strip_id_suffix
        return (value.removesuffix(suffix) or value) if value and suffix else value

    def _quantity(self, text: str) -> int:
        text = self._plain(text)
        if not text:
            raise Refused("quantity", "missing_quantity", "the value is missing")
        if not _WHOLE.fullmatch(text):
            raise Refused("quantity", "invalid_quantity", "not a whole number")
        quantity = int(text.partition(".")[0])
        if quantity == 0:
            raise Refused("quantity", "zero_quantity", "the quantity is zero")
        if abs(quantity) > _LARGEST_QUANTITY:
            raise Refused("quantity", "quantity_too_large", f"quantities go up to {_LARGEST_QUANTITY}")
        return quantity

    def _decimal(self, field: str, text: str, *, required: bool = True) -> Decimal | None:
        text = self._plain(text)
        if not text:
            if required:
                raise Refused(field, f"missing_{field}", "the value is missing")
            return None
        if not _DECIMAL.fullmatch(text):
            raise Refused(field, f"invalid_{field}", "not a decimal number of at most 13 and 9 digits")
        value = Decimal(text)
        if (field == "discount" and value < 0) or (field == "exchange_rate" and value <= 0):
            raise Refused(field, f"invalid_{field}", "below what it can be")
        return value

    def _plain(self, text: str) -> str:
        """A number without thousands separators, with a point."""
        text = text.strip()
        if self._mapping.thousands_separator:
            text = text.replace(self._mapping.thousands_separator, "")
        if self._mapping.decimal_separator == ",":
            text = "," if "." in text else text.replace(",", ".")
        return text

    def _time(self, raw: str) -> datetime:
        """UTC. Of a local time that the clocks pass twice, the first; one that they leap over, as much later as they
        leap: both are counted."""
        text = raw.strip()
        if not text:
            raise Refused("occurred_at", "missing_occurred_at", "the value is missing")
        try:
            if self._mapping.date_format == "iso":
                local = datetime.fromisoformat(text)
            else:
                local = datetime.strptime(text, self._mapping.date_format)  # noqa: DTZ007 - the zone follows
            if local.tzinfo is None:
                local = local.replace(tzinfo=self._zone)
                later = local.replace(fold=1)
                if local.utcoffset() != later.utcoffset():
                    leap = (local.utcoffset() or timedelta()) < (later.utcoffset() or timedelta())
                    if len(self._odd_times) >= _REMEMBERED:
                        self._odd_times.clear()
                    self._odd_times[raw] = "nonexistent_time" if leap else "ambiguous_time"
            return local.astimezone(UTC)
        except (ValueError, OverflowError):
            raise Refused(
                "occurred_at", "invalid_occurred_at", f"not a time as {self._mapping.date_format}"
            ) from None

    def _currency(self, text: str) -> str | None:
        value = self._text("currency", text)
        if value is not None and not _CURRENCY.fullmatch(value):
            raise Refused("currency", "invalid_currency", "not a code of ISO 4217")
        return value

    def _country(self, text: str) -> str | None:
        name = self._text("country", text)
        if name is None:
            return None
        chosen = self._mapping.countries
        if name.casefold() in chosen:
            return chosen[name.casefold()]
        code = code_of(name) if self._mapping.country_names else (name if is_code(name) else None)
        return code or UNKNOWN_COUNTRY + name
