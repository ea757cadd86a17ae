"""Customers and purchases that nobody made: the same ones in every demo, counted back from a day."""

import csv
import io
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

SOURCE = "demo"
HISTORY_DAYS = 540
# The last days are told as they happen, over HTTP; everything before arrives as a file.
FRESH_DAYS = 2

_ZH_FAMILY = "王李张刘陈杨黄赵周吴徐孙马朱胡郭何林高罗"
_ZH_GIVEN = (
    "芳",
    "伟",
    "娜",
    "敏",
    "静",
    "磊",
    "洋",
    "艳",
    "勇",
    "杰",
    "丽华",
    "建国",
    "秀英",
    "志强",
    "晓明",
    "海燕",
)
_EN_FIRST = (
    "Alice",
    "Ben",
    "Carol",
    "David",
    "Emma",
    "Frank",
    "Grace",
    "Henry",
    "Irene",
    "Jack",
    "Kate",
    "Liam",
)
_EN_LAST = (
    "Adams",
    "Brown",
    "Clark",
    "Davies",
    "Evans",
    "Foster",
    "Green",
    "Harris",
    "Jones",
    "Khan",
    "Lewis",
)

# sku, description, price in whole units, how often it is bought
PRODUCTS = (
    ("TEA-100", "龙井茶 Longjing tea", 128, 9),
    ("TEA-200", "普洱茶 Pu'er tea", 168, 7),
    ("CUP-010", "茶杯 Tea cup", 36, 10),
    ("POT-020", "紫砂壶 Clay teapot", 320, 3),
    ("FAN-030", "折扇 Folding fan", 58, 5),
    ("SLK-040", "丝巾 Silk scarf", 240, 4),
    ("BOX-050", "礼盒 Gift box", 88, 6),
    ("LMP-060", "台灯 Desk lamp", 460, 2),
)


@dataclass(frozen=True)
class Person:
    """One generated customer. ``rhythm`` is the usual number of days between two purchases, ``spending`` a factor."""

    number: int
    name: str
    language: str
    country: str
    since_days: int
    rhythm: float
    spending: float
    email_granted: bool
    survey_granted: bool

    @property
    def external_id(self) -> str:
        return f"{self.number:05d}"

    def body(self, today: datetime) -> dict[str, Any]:
        """For PUT /profile/v1/customers/by-external-id/…; addresses are of the domain that nobody has (RFC 2606)."""
        return {
            "kind": "person",
            "name": self.name,
            "email": f"customer-{self.external_id}@example.com",
            "country": self.country,
            "language": self.language,
            "registered_at": _iso(today - timedelta(days=self.since_days)),
        }


@dataclass(frozen=True)
class Purchase:
    """One generated purchase; ``lines`` are (sku, description, quantity, unit price)."""

    person: Person
    external_id: str
    occurred_at: datetime
    lines: tuple[tuple[str, str, int, str], ...]


def people(count: int) -> list[Person]:
    """Two in three write Chinese; a few buy often, most seldom."""
    return [_person(number) for number in range(1, count + 1)]


def _person(number: int) -> Person:
    chance = random.Random(f"person {number}")  # noqa: S311 - the same customers every time is the point
    chinese = chance.random() < 0.65
    if chinese:
        name = chance.choice(_ZH_FAMILY) + chance.choice(_ZH_GIVEN)
    else:
        name = f"{chance.choice(_EN_FIRST)} {chance.choice(_EN_LAST)}"
    return Person(
        number=number,
        name=name,
        language="zh" if chinese else "en",
        country="CN" if chinese else chance.choice(("GB", "US", "SG")),
        since_days=chance.randrange(20, HISTORY_DAYS),
        rhythm=chance.lognormvariate(4.0, 0.8),
        spending=chance.lognormvariate(0, 0.5),
        email_granted=chance.random() < 0.7,
        survey_granted=chance.random() < 0.75,
    )


def history(customers: list[Person], today: datetime) -> Iterator[Purchase]:
    """What everybody bought until the fresh days begin."""
    for person in customers:
        chance = random.Random(f"history {person.number}")  # noqa: S311
        day = float(person.since_days)
        order = 0
        while day > FRESH_DAYS + 2:
            order += 1
            yield _purchase(chance, person, f"{person.external_id}-{order}", today, day)
            day -= max(1.0, chance.expovariate(1 / person.rhythm))


def fresh(customers: list[Person], today: datetime) -> list[Purchase]:
    """The last days: about one customer in six buys, and some of them a great deal."""
    bought = []
    for person in customers:
        chance = random.Random(f"fresh {person.number}")  # noqa: S311
        if chance.random() > 1 / 6:
            continue
        generous = 8 if chance.random() < 0.3 else 1
        number = f"{today:%Y%m%d}-{person.external_id}"
        day = chance.uniform(0.1, FRESH_DAYS)
        bought.append(_purchase(chance, person, number, today, day, times=generous))
    return sorted(bought, key=lambda purchase: purchase.occurred_at)


def _purchase(
    chance: random.Random, person: Person, external_id: str, today: datetime, days_ago: float, times: int = 1
) -> Purchase:
    chosen = dict.fromkeys(
        chance.choices(
            PRODUCTS, weights=[product[3] for product in PRODUCTS], k=chance.choice((1, 1, 2, 2, 3))
        )
    )
    lines = tuple(
        (sku, description, times * max(1, round(chance.expovariate(0.6) * person.spending)), f"{price}.00")
        for sku, description, price, _ in chosen
    )
    moment = (today - timedelta(days=days_ago)).replace(microsecond=0)
    return Purchase(person, external_id, moment, lines)


def as_csv(purchases: Iterator[Purchase]) -> tuple[bytes, int]:
    """The file of the history, and how many lines it has beside its header."""
    output = io.StringIO()
    writer = csv.writer(output)
    writer.writerow(("order", "customer", "time", "sku", "description", "quantity", "price"))
    count = 0
    for purchase in purchases:
        for sku, description, quantity, price in purchase.lines:
            count += 1
            writer.writerow(
                (
                    purchase.external_id,
                    purchase.person.external_id,
                    _iso(purchase.occurred_at),
                    sku,
                    description,
                    quantity,
                    price,
                )
            )
    return output.getvalue().encode(), count


def item(purchase: Purchase, currency: str) -> dict[str, Any]:
    """For POST /profile/v1/purchases/batch."""
    return {
        "source": SOURCE,
        "external_id": purchase.external_id,
        "customer": {"source": SOURCE, "external_id": purchase.person.external_id},
        "occurred_at": _iso(purchase.occurred_at),
        "currency": currency,
        "channel": "web",
        "lines": [
            {"sku": sku, "description": description, "quantity": quantity, "unit_price": price}
            for sku, description, quantity, price in purchase.lines
        ],
    }


def midnight(moment: datetime) -> datetime:
    """The last midnight (UTC): a demo run twice on one day tells the same twice."""
    return datetime.combine(moment.astimezone(UTC).date(), time(), UTC)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
