"""Alerts as they are read, and what the company has watched."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from services.scoring.domain.calibrations import minor_per_unit
from services.scoring.domain.facts import books
from services.scoring.domain.tiers import latest_policy
from services.scoring.rules.alert_words import Words, sentence
from shared.errors import NotFound

KINDS = ("company", "tier", "country", "channel", "product", "churn", "satisfaction")

_PAGE = text("""
    select a.*, p.name_en, p.name_zh
    from alert a left join product p on a.kind = 'product' and p.sku = a.name
    where (cast(:kinds as text[]) is null or a.kind = any(cast(:kinds as text[])))
        and (cast(:since as date) is null or a.day >= :since) and (cast(:until as date) is null or a.day < :until)
        and (cast(:day as date) is null or (a.day, a.alert_id) < (cast(:day as date), cast(:id as uuid)))
    order by a.day desc, a.alert_id desc limit :size
""")

_ONE = text("""
    select a.*, p.name_en, p.name_zh
    from alert a left join product p on a.kind = 'product' and p.sku = a.name
    where a.alert_id = :id
""")

# Two customers who were merged since are one.
_CUSTOMERS = text("""
    select customer_id, sum(change) as change from alert_customer where alert_id = :id
    group by customer_id order by abs(sum(change)) desc, customer_id
""")

Alert = dict[str, Any]


def unit(kind: str, name: str) -> str:
    """``minor`` units of the accounting currency, or ``count`` of purchases, customers or pieces."""
    return "minor" if kind == "country" or name in ("net_revenue", "taken_back") else "count"


def page(
    session: Session,
    kinds: Sequence[str] | None,
    since: date | None,
    until: date | None,
    after: tuple[date, UUID] | None,
    size: int,
) -> list[Alert]:
    """Alerts of these kinds and of days in [since, until), the latest first."""
    day, alert_id = after or (None, None)
    rows = session.execute(
        _PAGE,
        {
            "kinds": list(kinds) if kinds else None,
            "since": since,
            "until": until,
            "day": day,
            "id": alert_id,
            "size": size,
        },
    ).all()
    return _shown(session, rows)


def one(session: Session, alert_id: UUID) -> Alert:
    """With the customers behind it. Raises NotFound ``alert_not_found``."""
    row = session.execute(_ONE, {"id": alert_id}).one_or_none()
    if row is None:
        raise NotFound("alert_not_found", f"there is no alert {alert_id}")
    (alert,) = _shown(session, [row])
    customers = [
        {
            "customer_id": each.customer_id,
            "change": each.change,
            "share": round(each.change / row.change, 6),
        }
        for each in session.execute(_CUSTOMERS, {"id": alert_id})
    ]
    others = None if not row.change else round(1 - sum(each["share"] for each in customers), 6)
    return alert | {"change": row.change, "customers": customers, "others_share": others}


def _shown(session: Session, rows: Sequence[Row[Any]]) -> list[Alert]:
    currency = books(session).currency
    tiers = {each["code"]: each["names"] for each in latest_policy(session).content["tiers"]} if rows else {}
    shown = []
    for row in rows:
        measured = unit(row.kind, row.name)
        money = currency if measured == "minor" else None
        whole = minor_per_unit(money) if measured == "minor" else 1
        shown.append(
            dict(row._mapping)
            | {
                "id": row.alert_id,
                "unit": measured,
                "currency": money,
                "words": sentence(
                    row.kind,
                    row.name,
                    _called(row, tiers),
                    row.since,
                    row.day,
                    row.observed / whole,
                    row.expected / whole,
                    money,
                ),
            }
        )
    return shown


def _called(row: Row[Any], tiers: Mapping[str, Words]) -> Words:
    names = {"en": row.name_en, "zh": row.name_zh} if row.kind == "product" else tiers.get(row.name, {})
    return {language: names.get(language) or row.name for language in ("en", "zh")}


def watching(session: Session, *, lock: bool = False) -> Row[Any]:
    """What the company has watched."""
    wanted = "select kinds, open_weekdays, judged_until, version from watching" + (
        " for update" if lock else ""
    )
    return session.execute(text(wanted)).one()


def watch_over(session: Session, kinds: Sequence[str], open_weekdays: Sequence[int] | None) -> Row[Any]:
    """Watch these ``kinds`` (locked by ``watching``) from the next run on; ``open_weekdays`` (1 = Monday) None: a day without
    any fact is a closed one."""
    return session.execute(
        text("""
            update watching set kinds = :kinds, open_weekdays = cast(:open as smallint[]), version = version + 1
            returning kinds, open_weekdays, judged_until, version
        """),
        {
            "kinds": [kind for kind in KINDS if kind in kinds],
            "open": None if open_weekdays is None else sorted(set(open_weekdays)),
        },
    ).one()
