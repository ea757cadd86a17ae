"""What goes with a product, and what to offer a customer next, by the set in force (domain/recommendation_sets.py).

Everything of a set comes in one statement, so that nobody reads half of one and half of the next.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from services.scoring.domain.facts import books
from services.scoring.domain.lines import NET_LINES
from services.scoring.rules.recommend import Kind, Product, Reason, recommend, sources
from services.scoring.tables import customer
from shared.customers import owner_of
from shared.database import execute_hot
from shared.errors import NotFound

_RELATED = """
    select s.as_of, r.related_sku, r.score, r.buyers, r.lift, p.name_zh, p.name_en, p.category, p.stock, p.active
    from recommendation_set s
    left join related_product r on r.set_id = s.set_id and r.sku = %(sku)s and r.place <= %(limit)s
    left join product p on p.sku = r.related_sku
    where s.state = 'current'
    order by r.place
"""

_IS_KNOWN = """
    select exists (select from product where sku = %(sku)s) or exists (select from purchase_line where sku = %(sku)s)
"""

_OWNED = f"""
    select sku, (max(occurred_at) at time zone %(zone)s)::date
    from ({
    NET_LINES.format(bought="p.customer_id = %(customer_id)s", returned="r.customer_id = %(customer_id)s")
}) line
    group by sku having sum(quantity) > 0
"""

# Columns as arrays: thousands of rows come in a fraction of the time.
_GOES_WITH = """
    select s.as_of, c.segment, r.skus, r.related, r.scores,
           array(select sku from bestseller b where b.set_id = s.set_id and b.segment = c.segment order by place),
           array(select sku from bestseller b where b.set_id = s.set_id and b.segment = '' order by place)
    from recommendation_set s
    left join score c on c.customer_id = %(customer_id)s
    cross join lateral (
        select coalesce(array_agg(sku), '{}') as skus, coalesce(array_agg(related_sku), '{}') as related,
               coalesce(array_agg(score), '{}') as scores
        from related_product r where r.set_id = s.set_id and r.sku = any(cast(%(sources)s as text[]))) r
    where s.state = 'current'
"""

_PRODUCTS = """
    select sku, category, accessory_of, stock, replenishable, active, name_zh, name_en from product
    where sku = any(cast(%(skus)s as text[])) or accessory_of = any(cast(%(sources)s as text[]))
"""

Answer = dict[str, Any]
Names = Mapping[str, str | None]

_WORDS: Mapping[Kind, Mapping[str, str]] = {
    "bought_together": {"zh": "常与“{}”一起购买", "en": "Often bought together with {}"},
    "accessory": {"zh": "“{}”的配件", "en": "Goes with {}"},
    "category": {"zh": "“{}”中的畅销商品", "en": "A bestseller in {}"},
    "bestseller": {"zh": "同类客户中的畅销商品", "en": "A bestseller among similar customers"},
}
_EVERYBODYS_BESTSELLER = {"zh": "畅销商品", "en": "A bestseller"}


def related(session: Session, sku: str, limit: int) -> Answer:
    """The best ``limit`` of what goes with a product. Raises NotFound ``product_not_found`` for one that neither the
    catalogue nor any purchase knows."""
    known = execute_hot(session, _IS_KNOWN, {"sku": sku}).fetchone()
    if known != (True,):
        raise NotFound("product_not_found", f"there is no product {sku}")
    rows = execute_hot(session, _RELATED, {"sku": sku, "limit": limit}, prepare=False).fetchall()
    return {
        "sku": sku,
        "as_of": rows[0][0] if rows else None,
        "items": [
            {
                "sku": other,
                "names": {"zh": name_zh, "en": name_en},
                "category": category,
                "score": score,
                "buyers": buyers,
                "lift": lift,
                "in_stock": None if active is None else _in_stock(stock),
                "active": active,
            }
            for _, other, score, buyers, lift, name_zh, name_en, category, stock, active in rows
            if other is not None
        ],
    }


def for_customer(session: Session, customer_id: UUID, limit: int) -> Answer:
    """At most ``limit`` products to offer a customer, the best first; a merged customer's are its winner's. Raises as
    ``customers.owner_of``."""
    owner = owner_of(session, customer, customer_id)
    whose = {"customer_id": owner, "zone": books(session).time_zone}
    owned: dict[str, date] = dict(execute_hot(session, _OWNED, whose, prepare=False).fetchall())
    bought = sources(owned)
    found = execute_hot(
        session, _GOES_WITH, whose | {"sources": bought}, prepare=False, binary=True
    ).fetchone()
    as_of, segment, skus, others, scores, of_segment, of_everybody = found or (None, None, [], [], [], [], [])
    related: dict[str, list[tuple[str, float]]] = {}
    for sku, other, score in zip(skus, others, scores, strict=True):
        related.setdefault(sku, []).append((other, score))
    concerned = list({*bought, *others, *of_segment, *of_everybody})
    rows = execute_hot(
        session, _PRODUCTS, {"skus": concerned, "sources": bought}, prepare=False, binary=True
    ).fetchall()
    names = {sku: {"zh": name_zh, "en": name_en} for sku, *_, name_zh, name_en in rows}
    products = {row[0]: Product(*row[1:6]) for row in rows}
    chosen = recommend(owned, related, products, [*of_segment, *of_everybody], segment or "", limit)
    return {
        "customer_id": owner,
        "as_of": as_of,
        "items": [
            {
                "sku": each.sku,
                "names": names[each.sku],
                "category": products[each.sku].category,
                "score": each.score,
                "reason": _told(each.reason, each.sku in of_segment, names),
            }
            for each in chosen
        ],
    }


def _told(reason: Reason, in_segment: bool, names: Mapping[str, Names]) -> Answer:
    """A reason in words. A bestseller that is none of the customer's segment is everybody's, because of nothing."""
    because_of = reason.because_of
    match reason.kind:
        case "bestseller" if not in_segment:
            return {"kind": reason.kind, "because_of": None, "words": _EVERYBODYS_BESTSELLER}
        case "bought_together" | "accessory":
            called = _called(because_of, names.get(because_of, {}))
        case _:
            called = dict.fromkeys(("zh", "en"), because_of)
    words = {language: phrase.format(called[language]) for language, phrase in _WORDS[reason.kind].items()}
    return {"kind": reason.kind, "because_of": because_of, "words": words}


def _called(sku: str, names: Names) -> dict[str, str]:
    """By its name in each language, else by the other, else by its sku."""
    zh, en = names.get("zh"), names.get("en")
    return {"zh": zh or en or sku, "en": en or zh or sku}


def _in_stock(stock: int | None) -> bool:
    return stock is None or stock > 0
