"""One row of a file → one line of a purchase or return, or the reason why not.

An export repeats itself: the same order number, code, price and time stand in many rows. So every kind of value is
parsed once and remembered, and a row costs a few look-ups (541,909 rows of the real file: about 2 s on one core).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, NamedTuple

from services.profile.rules.mapping import Mapping
from services.profile.rules.mapping_cells import Layout
from services.profile.rules.mapping_values import UNKNOWN_COUNTRY, Refused, Remembered, Values, no_pseudonym

PURCHASE, RETURN, SKIPPED = 0, 1, 2

_LONGEST = {"description": 1000, "category": 500, "channel": 100, "store": 100, "staff": 100, "brand": 200}
_LONGEST_ID = 200
_EXACT = Context(prec=40, rounding=ROUND_HALF_EVEN)
_FINEST = Decimal("1E-9")
_ZERO = Decimal(0)
# In the order in which they stand in a ParsedRow.
_RARE = ("category", "currency", "exchange_rate", "discount", "channel", "store", "brand", "staff", "coupons")


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
    brand: str | None = None
    staff: str | None = None
    coupons: str | None = None


_made = tuple.__new__  # without the checks of a call with eighteen arguments, which took as long as the rest


class RowParser:
    """Parses the rows of one mapping and counts what is worth a remark.

    ``columns`` is the order in which the values of a row are handed to ``parse``, after ``layout`` has composed it.
    ``seen`` counts the remarks and ``unknown_countries`` the rows by name, both until the caller takes them.
    """

    def __init__(self, mapping: Mapping, pseudonym: Callable[[str], str] = no_pseudonym) -> None:
        cells = mapping.cells()
        self.layout = Layout(cells, mapping.skip_rows, key="order")
        self.columns = self.layout.columns
        self.seen: Counter[str] = Counter()
        self.unknown_countries: Counter[str] = Counter()
        self._cells = cells
        self._mapping = mapping
        self._skips = mapping.missing_customer == "skip"
        self._places = self.layout.places
        self._read = Values(mapping, pseudonym)
        self._values = {
            field: Remembered(self._read.of_cell(field, cell, self._reader(field)))
            for field, cell in cells.items()
        }
        self._price_field = "unit_price" if "unit_price" in cells else "line_amount"
        core = ("order", "sku", "quantity", self._price_field, "occurred_at")
        # Looked up once, for rows are many: where a field stands, and what its texts were found to mean.
        self._core = tuple((self._places[field], self._values[field]) for field in core)
        self._customer, self._description, self._country = (
            (self._places[field], self._values[field]) if field in cells else None
            for field in ("customer", "description", "country")
        )
        self._rare = tuple(
            (at, self._places[field], self._values[field]) for at, field in enumerate(_RARE) if field in cells
        )
        usual: dict[str, Any] = {
            "currency": mapping.currency,
            "exchange_rate": Decimal(mapping.exchange_rate) if mapping.exchange_rate else None,
            "channel": mapping.channel,
            "store": mapping.store,
        }
        self._usual = tuple(usual.get(field) for field in _RARE)

    def column(self, field: str | None) -> str | None:
        """What the file calls a field."""
        return None if field is None else (field in self._cells and self._cells[field].shown) or field

    def parse(self, row: Sequence[str]) -> ParsedRow | None:
        """The row as it is staged; None for a row without a customer, to be skipped, that cannot be read otherwise.
        Raises Refused."""
        customer = None
        if self._customer is not None:
            place, remembered = self._customer
            raw = row[place]
            customer = remembered[raw]
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
        seen = self.seen
        (
            (order_at, orders),
            (sku_at, skus),
            (quantity_at, quantities),
            (price_at, prices),
            (time_at, times),
        ) = self._core
        order_number: str = orders[row[order_at]]
        sku: str = skus[row[sku_at]]
        quantity: int = quantities[row[quantity_at]]
        unit_price: Decimal = prices[row[price_at]]
        if self._price_field == "line_amount":
            unit_price = _per_piece(unit_price, quantity)
        raw = row[time_at]
        occurred_at: datetime = times[raw]
        if self._read.odd_times and raw in self._read.odd_times:
            seen[self._read.odd_times[raw]] += 1

        description = country = None
        if self._description is not None:
            place, remembered = self._description
            raw = row[place]
            description = remembered[raw]
            if len(description or "") != len(raw):
                seen["description_trimmed"] += 1
        if self._country is not None:
            place, remembered = self._country
            country = remembered[row[place]]
            if country is not None and country[0] == UNKNOWN_COUNTRY:
                self.unknown_countries[country[1:]] += 1

        kind, quantity, fault = self._kind(order_number, quantity)
        if unit_price <= _ZERO or fault is not None:
            self._judge(unit_price, fault, skipped=skipped)
        rare = self._rare_values(row) if self._rare else self._usual
        if rare[1] is None:
            raise Refused(
                "currency", "missing_currency", "the row names no currency and the mapping has none"
            )
        category, currency, *others = rare
        return _made(
            ParsedRow,
            (
                SKIPPED if skipped else kind,
                order_number,
                customer,
                sku,
                quantity,
                unit_price,
                occurred_at,
                description,
                category,
                country,
                currency,
                *others,
            ),
        )

    def parse_many(self, rows: Sequence[Sequence[str]]) -> list[ParsedRow] | None:
        """What ``parse`` makes of each, a column after the other, which takes a third of the time. None where one of
        them is odd – something is refused, or neither bought nor returned as usual –, and nothing was counted."""
        cells = list(zip(*rows, strict=True))
        try:
            orders, skus, quantities, prices, times = (
                list(map(values.__getitem__, cells[place])) for place, values in self._core
            )
            (customers, descriptions, countries) = (
                list(map(told[1].__getitem__, cells[told[0]])) if told is not None else [None] * len(rows)
                for told in (self._customer, self._description, self._country)
            )
            rare = [[value] * len(rows) for value in self._usual]
            for at, place, values in self._rare:
                rare[at] = [
                    self._usual[at] if value is None else value
                    for value in map(values.__getitem__, cells[place])
                ]
        except Refused:
            return None
        if self._price_field == "line_amount":
            prices = list(map(_per_piece, prices, quantities))
        kinds = self._kinds(orders, quantities)
        if kinds is None or min(prices) <= _ZERO or None in rare[_RARE.index("currency")]:
            return None
        if RETURN in kinds:
            quantities = list(map(abs, quantities))
        if None in customers and self._skips:
            kinds = [
                SKIPPED if customer is None else kind for customer, kind in zip(customers, kinds, strict=True)
            ]
        if self._customer is not None:
            self._note_customers(cells[self._customer[0]], customers)
        if self._read.odd_times:
            odd = self._read.odd_times
            self.seen.update(odd[raw] for raw in cells[self._core[-1][0]] if raw in odd)
        if self._description is not None:
            pairs = zip(cells[self._description[0]], descriptions, strict=True)
            trimmed = sum(len(description or "") != len(raw) for raw, description in pairs)
            self.seen["description_trimmed"] += trimmed
        for country, count in Counter(countries).items():
            if country is not None and country[0] == UNKNOWN_COUNTRY:
                self.unknown_countries[country[1:]] += count
        category, currency, *others = rare
        columns = (
            kinds, orders, customers, skus, quantities, prices, times, descriptions, category, countries, currency,
            *others,
        )  # fmt: skip
        return [_made(ParsedRow, row) for row in zip(*columns, strict=True)]

    def _kinds(self, orders: Sequence[str], quantities: Sequence[int]) -> list[int] | None:
        """Whether each line is bought or returned; None where one is neither as usual."""
        prefix = self._mapping.return_prefix
        also = self._mapping.negative_quantity_is_return
        named = [prefix is not None and order.startswith(prefix) for order in orders]
        if not any(named) and min(quantities) > 0:
            return [PURCHASE] * len(orders)
        kinds = []
        for is_return, quantity in zip(named, quantities, strict=True):
            if is_return != (quantity < 0) and not (also and not is_return):
                return None
            kinds.append(RETURN if quantity < 0 else PURCHASE)
        return kinds

    def _note_customers(self, raw: Sequence[str], customers: Sequence[str | None]) -> None:
        cleaned = sum(
            customer is not None and len(customer) != len(text)
            for text, customer in zip(raw, customers, strict=True)
        )
        self.seen.update({"missing_customer": customers.count(None), "id_cleaned": cleaned})

    def _judge(self, unit_price: Decimal, fault: Refused | None, *, skipped: bool) -> None:
        """Count what is odd about quantity and price; raise it unless the row is skipped."""
        if unit_price <= _ZERO:
            self.seen["zero_price" if unit_price == 0 else "negative_price"] += 1
            if unit_price < 0 and fault is None:
                fault = Refused(self._price_field, "negative_price", "the price is below zero")
        if fault is not None:
            if fault.code != "negative_price":
                self.seen[fault.code] += 1
            if not skipped:
                raise fault

    def _rare_values(self, row: Sequence[str]) -> Sequence[Any]:
        """In the order of ``_RARE``."""
        values = list(self._usual)
        for at, place, remembered in self._rare:
            value = remembered[row[place]]
            if value is not None:
                values[at] = value
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
        read = self._read
        form = self._cells[field].date_format
        readers: dict[str, Callable[[str], Any]] = {
            "quantity": self._quantity,
            "unit_price": lambda text: read.decimal("unit_price", text),
            "line_amount": lambda text: read.decimal("line_amount", text),
            "discount": self._discount,
            "exchange_rate": self._rate,
            "occurred_at": lambda text: read.time("occurred_at", text, form),
            "currency": lambda text: read.currency("currency", text),
            "country": lambda text: read.country("country", text),
            "order": lambda text: read.identifier("order", text, required=True),
            "customer": lambda text: read.identifier("customer", text),
            "sku": lambda text: read.text("sku", text, _LONGEST_ID, required=True),
            "coupons": self._coupons,
        }
        longest = _LONGEST.get(field, _LONGEST_ID)
        return readers.get(field, lambda text: read.text(field, text, longest))

    def _quantity(self, text: str) -> int | None:
        quantity = self._read.whole("quantity", text)
        if quantity == 0:
            raise Refused("quantity", "zero_quantity", "the quantity is zero")
        return quantity

    def _discount(self, text: str) -> Decimal | None:
        value = self._read.decimal("discount", text, required=False)
        if value is not None and value < 0:
            raise Refused("discount", "invalid_discount", "below what it can be")
        return value

    def _rate(self, text: str) -> Decimal | None:
        value = self._read.decimal("exchange_rate", text, required=False)
        if value is not None and value <= 0:
            raise Refused("exchange_rate", "invalid_exchange_rate", "below what it can be")
        return value

    def _coupons(self, text: str) -> str | None:
        """The codes, with a line break between: no code holds one."""
        codes = self._read.several("coupons", text, self._cells["coupons"].list_separator)
        return "\n".join(codes) or None


def _per_piece(amount: Decimal, quantity: int) -> Decimal:
    """The price of one piece, to nine digits, so that pieces × price is the amount again to the minor unit (for less
    than ten million pieces). A return's amount may be written with or without a minus."""
    price = _EXACT.divide(abs(amount) if quantity < 0 else amount, Decimal(abs(quantity)))
    return price.quantize(_FINEST, context=_EXACT).normalize(_EXACT)


__all__ = ["PURCHASE", "RETURN", "SKIPPED", "UNKNOWN_COUNTRY", "ParsedRow", "Refused", "RowParser"]
