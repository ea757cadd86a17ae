"""The catalogue: what is said of products, and the bare ones that purchases of an unknown sku make."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import Row, or_, select, text
from sqlalchemy.orm import Session

from services.profile.domain import accounting
from services.profile.rules.products import category_path, is_complete, minor_of
from services.profile.tables import product
from shared import money
from shared.errors import Fault, Invalid, NotFound, Refusal
from shared.events.profile import ProductChanged
from shared.ids import uuid7
from shared.messaging.outbox import announce

Given = Mapping[str, Any]
"""Fields as the API names them; absent = not spoken of, None = removed. ``price`` is a Decimal of whole units, in
``currency`` or, without one, in the currency that the product has or else the accounting one."""

_SAID = (
    "name_zh",
    "name_en",
    "brand",
    "category",
    "price_minor",
    "currency",
    "stock",
    "replenishable",
    "accessory_of",
    "active",
)
_UNSAID: dict[str, Any] = dict.fromkeys(_SAID) | {"replenishable": False, "active": True}


class Outcome(NamedTuple):
    """What became of what was said of one product of many; ``problem`` says why it was refused."""

    state: Literal["made", "changed", "unchanged", "refused"]
    product_id: UUID | None = None
    problem: Refusal | None = None


class Mention(NamedTuple):
    """What a purchase's line says of its product."""

    sku: str
    brand: str | None = None
    category: str | None = None
    description: str | None = None


_TYPES = """(product_id uuid, sku text, name_zh text, name_en text, brand text, category text, described_as text,
    price_minor bigint, currency text, stock bigint, replenishable boolean, accessory_of text, active boolean)"""
_LOCK = text("select * from product where sku = any(cast(:skus as text[])) order by sku for update")
_MAKE = text(
    f"""
    insert into product (product_id, sku, {", ".join(_SAID)}, described_as, created_at, updated_at)
    select product_id, sku, {", ".join(_SAID)}, described_as, cast(:now as timestamptz), cast(:now as timestamptz)
    from json_to_recordset(cast(:products as json)) as f {_TYPES}
    order by sku
    on conflict (sku) do nothing
    returning product_id
    """
)
_CHANGE = text(
    f"""
    update product set {", ".join(f"{name} = f.{name}" for name in _SAID)}, version = version + 1,
        updated_at = cast(:now as timestamptz)
    from json_to_recordset(cast(:products as json)) as f {_TYPES}
    where product.product_id = f.product_id
    """
)
_UNKNOWN = text(
    """
    select sku from unnest(cast(:skus as text[])) as n (sku)
    where not exists (select from product p where p.sku = n.sku)
    """
)
_UNKNOWN_BOUGHT = """
    select distinct on (l.sku) l.sku, l.brand, l.category, l.description from purchase_line l
    where l.purchase_id = any(%(ids)b::uuid[]) and not exists (select from product p where p.sku = l.sku)
    order by l.sku, l.purchase_id, l.line
"""


def put(session: Session, sku: str, given: Given, now: datetime) -> Outcome:
    """Say what is known of one product. Raises what ``put_many`` answers as a problem."""
    outcome = put_many(session, [(sku, given)], now)[0]
    if outcome.problem is not None:
        raise outcome.problem
    return outcome


def put_many(session: Session, said: Sequence[tuple[str, Given]], now: datetime) -> list[Outcome]:
    """Write what is said of up to some thousand products, by sku, over what is known; a constant number of statements.

    A product that is not known is made; what stands several times is said in this order. Said again, nothing changes
    and nothing is announced. Problems: Invalid ``category_invalid``, ``currency_unknown``, ``currency_required``,
    ``price_too_exact``, ``accessory_of_itself``.
    """
    outcomes: dict[int, Outcome] = {}
    default = accounting.currency(session)
    waiting = list(range(len(said)))
    while waiting:
        waiting = _round(session, said, waiting, outcomes, default, now)
    return [outcomes[position] for position in range(len(said))]


def mention_bought(session: Session, purchase_ids: Sequence[UUID], now: datetime) -> None:
    """Make bare products of the skus of these purchases that nobody has heard of, as the first line of each says."""
    if purchase_ids:
        rows = session.connection().exec_driver_sql(_UNKNOWN_BOUGHT, {"ids": list(purchase_ids)})
        _make(session, {row.sku: _bare(Mention(*row)) for row in rows}, now)


def mention(session: Session, sku: str, now: datetime) -> None:
    """Make a bare product of a sku that nobody has heard of."""
    _make(session, {sku: _bare(Mention(sku))}, now)


def get(session: Session, sku: str, *, lock: bool = False) -> Row[Any]:
    """Raises NotFound ``product_not_found``."""
    wanted = select(product).where(product.c.sku == sku)
    row = session.execute(wanted.with_for_update() if lock else wanted).one_or_none()
    if row is None:
        raise NotFound("product_not_found", "no product is known under this sku")
    return row


def page(
    session: Session,
    after: tuple[str] | None,
    limit: int,
    *,
    categories: Sequence[str] = (),
    **wanted: Any,
) -> Sequence[Row[Any]]:
    """Products by sku. ``categories`` finds what stands in one of them or below; every other filter is a column's value,
    or several of which one must hold; None = any."""
    rows = select(product)
    for name, value in wanted.items():
        if isinstance(value, list | tuple):
            rows = rows.where(product.c[name].in_(value)) if value else rows
        elif value is not None:
            rows = rows.where(product.c[name] == value)
    if categories:
        paths = [path for path in (category_path(category) for category in categories) if path]
        at_or_below = (product.c.category.like(_prefix(path)) for path in paths)
        rows = rows.where(or_(product.c.category.in_(paths), *at_or_below))
    if after is not None:
        rows = rows.where(product.c.sku > after[0])
    return session.execute(rows.order_by(product.c.sku).limit(limit)).all()


def _prefix(path: str) -> str:
    escaped = path.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return f"{escaped}/%"


def _round(
    session: Session,
    said: Sequence[tuple[str, Given]],
    positions: Sequence[int],
    outcomes: dict[int, Outcome],
    default: str | None,
    now: datetime,
) -> list[int]:
    """Write the first that is said of each sku; returns what has to be said after it, or again."""
    first: dict[str, int] = {}
    again = [position for position in positions if first.setdefault(said[position][0], position) != position]
    known = {row.sku: row for row in session.execute(_LOCK, {"skus": list(first)})}
    new: dict[str, dict[str, Any]] = {}
    changed = []
    for sku, position in first.items():
        before = known.get(sku)
        standing = _UNSAID if before is None else {name: getattr(before, name) for name in _SAID}
        try:
            after = standing | _normalised(sku, said[position][1], standing["currency"] or default)
        except Refusal as problem:
            outcomes[position] = Outcome("refused", problem=problem)
            continue
        if before is None:
            new[sku] = after
        elif after != standing:
            changed.append(after | {"product_id": str(before.product_id), "sku": sku})
            outcomes[position] = Outcome("changed", before.product_id)
        else:
            outcomes[position] = Outcome("unchanged", before.product_id)
    if changed:
        session.execute(_CHANGE, {"products": json.dumps(changed), "now": now})
        announce(session, *(_event(one, now) for one in changed))
    whole = {after["accessory_of"] for after in (*new.values(), *changed)} - {None} - new.keys()
    unknown = session.scalars(_UNKNOWN, {"skus": sorted(whole)}).all() if whole else []
    made = _make(session, {sku: _bare(Mention(sku)) for sku in unknown} | new, now)
    for sku in new:
        if sku in made:
            outcomes[first[sku]] = Outcome("made", made[sku])
        else:  # somebody else made it in this moment
            again.append(first[sku])
    return sorted(again)


def _make(session: Session, new: Mapping[str, Mapping[str, Any]], now: datetime) -> dict[str, UUID]:
    """Those that nobody else has made in between, by sku."""
    if not new:
        return {}
    rows = [
        {"described_as": None, **fields, "product_id": str(uuid7()), "sku": sku}
        for sku, fields in new.items()
    ]
    inserted = set(session.scalars(_MAKE, {"products": json.dumps(rows), "now": now}))
    made = [row for row in rows if UUID(row["product_id"]) in inserted]
    announce(session, *(_event(row, now) for row in made))
    return {row["sku"]: UUID(row["product_id"]) for row in made}


def _bare(mention: Mention) -> dict[str, Any]:
    return _UNSAID | {
        "brand": mention.brand,
        "category": None if mention.category is None else category_path(mention.category),
        "described_as": mention.description or None,
    }


def _normalised(sku: str, given: Given, currency: str | None) -> dict[str, Any]:
    """``given`` as the columns have it. Raises Invalid."""
    values = {name: value for name, value in given.items() if name in _SAID and name != "currency"}
    for name in ("replenishable", "active"):
        if values.get(name, True) is None:
            values[name] = _UNSAID[name]
    if values.get("category") is not None:
        values["category"] = category_path(values["category"])
        if values["category"] is None:
            raise _invalid("category", "category_invalid", "a category is a path, as Home/Kitchen")
    if values.get("accessory_of") == sku:
        raise _invalid("accessory_of", "accessory_of_itself", "a product is no accessory of itself")
    if "price" in given:
        values |= _priced(given["price"], given.get("currency") or currency)
    return values


def _priced(price: Any, currency: str | None) -> dict[str, Any]:
    if price is None:
        return {"price_minor": None, "currency": None}
    if currency is None:
        raise _invalid("price/currency", "currency_required", "no accounting currency is known yet: name it")
    if currency not in money.EXPONENTS:
        raise _invalid("price/currency", "currency_unknown", "not a currency of ISO 4217")
    minor = minor_of(price, money.EXPONENTS[currency])
    if minor is None:
        raise _invalid("price/amount", "price_too_exact", f"{currency} has no such fraction")
    return {"price_minor": minor, "currency": currency}


def _invalid(field: str, code: str, message: str) -> Invalid:
    return Invalid(code, message, faults=[Fault(f"/{field}", code, message)])


def _event(row: Mapping[str, Any], now: datetime) -> ProductChanged:
    said = {name: row[name] for name in _SAID}
    return ProductChanged(
        product_id=row["product_id"], sku=row["sku"], **said, complete=is_complete(row), effective_at=now
    )
