"""A company's customers by the ten thousand or the million, made set-based, each with a consent to marketing by e-mail: for
tests and benchmarks of lists."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb
from sqlalchemy.orm import Session

from services.profile.domain.customer_values import place
from services.profile.rules import names
from shared import sealing
from shared.blind_indexes import blind_many

SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗"
GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂文辉玲健世民小雨晨欣怡浩宇轩子涵梓"
_FIRST = """james mary john patricia robert jennifer michael linda david elizabeth william barbara richard susan joseph jessica
thomas sarah charles karen anna lukas marie paul emma leon sophie jonas mia felix hannah max clara noah lena ben"""
_LAST = """smith johnson williams brown jones garcia miller davis rodriguez martinez hernandez lopez gonzalez wilson anderson
thomas taylor moore jackson martin lee perez thompson white harris sanchez clark ramirez lewis robinson walker young allen
king wright scott torres nguyen hill flores green adams nelson baker hall rivera campbell mitchell carter roberts müller
schmidt schneider fischer weber meyer wagner becker schulz hoffmann"""
FIRST, LAST = _FIRST.split(), _LAST.split()
COUNTRIES = {"CN": 60, "US": 15, "GB": 10, "DE": 8, "FR": 4, "SG": 2, "NZ": 1}
TIERS = {"bronze": 70, "silver": 22, "gold": 7, "platinum": 1}
_BATCH = 5_000


class Person(NamedTuple):
    customer_id: UUID
    external_id: str
    name: str
    email: str
    phone: str
    country: str
    created_at: datetime


def people(count: int, now: datetime) -> Iterator[Person]:
    """The same ones every time, but for the day: over three years, the names as uneven as in life."""
    chance = random.Random(7)
    zipf = {n: [1 / (rank + 1) for rank in range(n)] for n in map(len, (SURNAMES, GIVEN, FIRST, LAST))}
    begin = now - timedelta(days=1_095)
    countries = chance.choices(list(COUNTRIES), list(COUNTRIES.values()), k=count)
    for number, country in enumerate(countries):
        created_at = begin + timedelta(days=1_095) * (number / count)
        if country in ("CN", "SG"):
            surname = chance.choices(SURNAMES, zipf[len(SURNAMES)])[0]
            given = chance.choices(GIVEN, zipf[len(GIVEN)], k=chance.choice((1, 2, 2)))
            name = surname + "".join(given)
        else:
            first = chance.choices(FIRST, zipf[len(FIRST)])[0]
            name = f"{first} {chance.choices(LAST, zipf[len(LAST)])[0]}".title()
        milliseconds = int(created_at.timestamp() * 1_000)
        bits = milliseconds << 80 | 0x7 << 76 | 0x2 << 62 | chance.getrandbits(62)
        yield Person(
            UUID(int=bits),
            f"p{number}",
            name,
            f"p{number}@example.com",
            f"+8613{number:09d}",
            country,
            created_at,
        )


def populate(session: Session, count: int, *, commit: bool = False) -> None:
    """Make ``count`` customers with sealed fields, tokens and facets, and about two purchases for each who ever bought.

    Seals, tokens and facets are what the service would write; a million take some minutes.
    """
    now = datetime.now(UTC)
    chance = random.Random(11)
    everybody = people(count, now)
    while batch := tuple(islice(everybody, _BATCH)):
        _put(session, batch, chance, now)
        if commit:
            session.commit()
    session.connection().exec_driver_sql(_PURCHASES)
    session.connection().exec_driver_sql(_LINES)
    session.connection().exec_driver_sql(_CONSENTS)
    for table in (
        "customer",
        "customer_external_id",
        "customer_token",
        "customer_measure",
        "purchase",
        "purchase_line",
    ):
        session.connection().exec_driver_sql(f"analyze {table}")
    session.connection().exec_driver_sql("analyze shared.subject_key")
    if commit:
        session.commit()


def _put(session: Session, batch: tuple[Person, ...], chance: random.Random, now: datetime) -> None:
    fields = ("name", "email", "phone")
    seals = iter(
        sealing.seal_many(
            session,
            [
                (
                    str(one.customer_id),
                    place(f"{field}_sealed", one.customer_id),
                    getattr(one, field),
                )
                for one in batch
                for field in fields
            ],
        )
    )
    rows = [_row(one, next(seals), next(seals), next(seals), chance, now) for one in batch]
    _copy(session, f"customer ({', '.join(rows[0])})", (tuple(row.values()) for row in rows))
    _copy(
        session,
        "customer_external_id (source, external_id, customer_id)",
        (("shop", one.external_id, one.customer_id) for one in batch),
    )
    _copy(
        session,
        "customer_measure (customer_id, name, value)",
        (
            (row["customer_id"], "height", row["attributes"].obj["height"])
            for row in rows
            if "height" in row["attributes"].obj
        ),
    )
    _copy(
        session,
        "customer_token (token, customer_id, holder_id, field)",
        (
            (token, one.customer_id, one.customer_id, field)
            for one in batch
            for field in fields
            for token in blind_many(
                session, field, names.terms(one.name) if field == "name" else [getattr(one, field)]
            )
        ),
    )


def _row(
    one: Person, name: bytes, email: bytes, phone: bytes, chance: random.Random, now: datetime
) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    if chance.random() < 0.3:
        attributes["colour"] = chance.choice(("red", "green", "blue", "black", "white"))
    if chance.random() < 0.2:
        attributes["height"] = chance.randrange(150, 200)
    told = {"at": one.created_at.isoformat(), "source": "shop"}
    return {
        "customer_id": one.customer_id,
        "kind": "person",
        "name_sealed": name,
        "email_sealed": email,
        "phone_sealed": phone,
        "birth_month_day": f"{chance.randrange(1, 13):02d}-{chance.randrange(1, 29):02d}",
        "country": one.country,
        "region": f"{one.country}-{chance.randrange(30)}",
        "city": f"{one.country}-{chance.randrange(400)}",
        "gender": chance.choice(("female", "male")),
        "interests": chance.sample(("tea", "hiking", "music", "food", "art"), chance.choice((0, 0, 1, 2))),
        "language": "zh" if one.country == "CN" else "en",
        "tags": [f"t{chance.randrange(50)}"] if chance.random() < 0.4 else [],
        "attributes": Jsonb(attributes),
        "provenance": Jsonb(dict.fromkeys(("name", "email", "phone", "country", "language"), told)),
        "completeness": 83,
        "due_at": one.created_at,
        "tier": chance.choices(list(TIERS), list(TIERS.values()))[0],
        "registered_at": one.created_at,
        "created_at": one.created_at,
        "updated_at": now,
    }


_PURCHASES = """
    insert into purchase (purchase_id, source, external_id, customer_id, recorded_customer_id, occurred_at, recorded_at,
        historical, currency, total_minor, accounting_total_minor, fingerprint)
    select gen_random_uuid(), 'shop', 'p' || c.number || '-' || k, c.customer_id, c.customer_id, b.at, b.at, true, 'CNY',
        1990, 1990, '\\x00'
    from (select customer_id, row_number() over (order by customer_id) as number from customer) c
    cross join lateral generate_series(1, (1 + mod(c.number, 3))::int) k
    cross join lateral (select now() - make_interval(secs => mod(c.number * 7919 + k * 104729, 94608000)) as at) b
    where mod(c.number, 5) <> 0
"""

_LINES = """
    insert into purchase_line (purchase_id, line, sku, quantity, unit_price, amount_minor, accounting_amount_minor)
    select purchase_id, 1, 'sku' || mod(row_number() over (), 500), 1, 19.90, 1990, 1990 from purchase
"""

_CONSENTS = """
    insert into consent (consent_id, customer_id, recorded_customer_id, purpose, channel, state, collected_at,
        in_force_from, recorded_at, recorded_by)
    select gen_random_uuid(), customer_id, customer_id, 'marketing', 'email', 'granted', created_at, created_at, created_at,
        'population'
    from customer
"""


def _copy(session: Session, into: str, rows: Iterator[tuple[Any, ...]] | Any) -> None:
    driver: Any = session.connection().connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    with driver.cursor() as cursor, cursor.copy(f"copy {into} from stdin") as copy:
        for row in rows:
            copy.write_row(row)
