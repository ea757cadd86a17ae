"""Which customers a tag is for, said as conditions: rules that are evaluated again and again, and bulk changes.

Conditions are kept as JSON: what lists filter by (domain/customer_lists), and what only makes sense over time – how long
ago, how often, for how much.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.profile.domain import customer_lists, regions, tags
from services.profile.domain.customer_lists import Filter, Range
from services.profile.domain.tags import Tagging
from services.profile.tables import tag_rule
from shared.database import execute_hot
from shared.errors import NotFound

# By equality; the rest of a list's filter is read one by one.
FACETS = (
    "kind",
    "country",
    "region",
    "city",
    "gender",
    "education",
    "income_band",
    "industry",
    "organisation_size",
    "interest",
    "lifestyle",
    "personal_value",
    "language",
    "time_zone",
    "acquisition_channel",
    "tag",
    "tier",
    "birthday",
)
FIRST = UUID(int=0)


class Window(NamedTuple):
    """What one step along the customers did: how many got other tags, and after whom the next one begins (None: over)."""

    seen: int
    changed: int
    after: UUID | None


def save(
    session: Session, name: str, tag: str, conditions: Mapping[str, Any], enabled: bool, by: str
) -> tuple[Row[Any], bool]:
    """Make a rule or replace it; the version moves only if something is different. The row, and whether it is new."""
    before = find(session, name, lock=True)
    values = {"tag": tag, "conditions": dict(conditions), "enabled": enabled, "updated_by": by}
    if before is None:
        made = insert(tag_rule).values(name=name, **values).on_conflict_do_nothing().returning(tag_rule)
        row = session.execute(made).one_or_none()
        return (row, True) if row is not None else save(session, name, tag, conditions, enabled, by)
    if (before.tag, before.conditions, before.enabled) == (tag, dict(conditions), enabled):
        return before, False
    changed = values | {"version": tag_rule.c.version + 1, "updated_at": func.now()}
    statement = update(tag_rule).where(tag_rule.c.name == name).values(**changed).returning(tag_rule)
    return session.execute(statement).one(), False


def find(session: Session, name: str, *, lock: bool = False) -> Row[Any] | None:
    wanted = select(tag_rule).where(tag_rule.c.name == name)
    return session.execute(wanted.with_for_update() if lock else wanted).one_or_none()


def get(session: Session, name: str, *, lock: bool = False) -> Row[Any]:
    """Raises NotFound ``tag_rule_not_found``."""
    row = find(session, name, lock=lock)
    if row is None:
        raise NotFound("tag_rule_not_found", "no such rule")
    return row


def listed(session: Session, after: str | None, limit: int) -> Sequence[Row[Any]]:
    rows = select(tag_rule).order_by(tag_rule.c.name).limit(limit)
    return session.execute(rows if after is None else rows.where(tag_rule.c.name > after)).all()


def retire(session: Session, name: str) -> None:
    """The rule goes; its tags go with the next evaluation. Raises NotFound."""
    gone = delete(tag_rule).where(tag_rule.c.name == name).returning(tag_rule.c.name)
    if session.execute(gone).one_or_none() is None:
        raise NotFound("tag_rule_not_found", "no such rule")


def enabled(session: Session) -> Sequence[str]:
    return session.scalars(select(tag_rule.c.name).where(tag_rule.c.enabled).order_by(tag_rule.c.name)).all()


def evaluate(session: Session, name: str, after: UUID, limit: int, now: datetime) -> Window:
    """Give and take a rule's tag for the next ``limit`` customers beyond ``after`` who have it and should not, or should
    and have it not. A rule that is off, or gone, is for nobody."""
    rule = find(session, name)
    source = f"rule:{name}"
    conditions, parameters = ["false"], dict[str, Any]()
    if rule is not None and rule.enabled:
        conditions, parameters = conditions_of(session, rule.conditions, now)
    fits = " and ".join(conditions)
    # Another tag under the same rule is what it gave before it was changed.
    rows = execute_hot(
        session,
        f"""
        select customer_id, fits, tag from (
            (select c.customer_id, true as fits, %(tag)s::text as tag from customer c
             where {fits} and c.customer_id > %(after)s::uuid and not exists (
                select from customer_tag t where t.customer_id = c.customer_id and t.source = %(rule)s::text
                    and t.tag = %(tag)s::text)
             order by c.customer_id limit %(limit)s)
            union all
            (select t.customer_id, false, t.tag from customer_tag t
             where t.source = %(rule)s::text and t.customer_id > %(after)s::uuid and (
                t.tag is distinct from %(tag)s::text
                or not exists (select from customer c where c.customer_id = t.customer_id and {fits}))
             order by t.customer_id limit %(limit)s)
        ) d order by customer_id limit %(limit)s
        """,
        parameters
        | {"tag": None if rule is None else rule.tag, "rule": source, "after": after, "limit": limit},
        prepare=False,
    ).fetchall()
    by = source
    taken = [(customer_id, tag) for customer_id, fits, tag in rows if not fits]
    given = [Tagging(customer_id, tag) for customer_id, fits, tag in rows if fits]
    changed = tags.remove(session, taken, source, by, now) + tags.add(session, given, source, by, now)
    return Window(len(rows), changed, rows[-1][0] if len(rows) == limit else None)


def note_evaluated(session: Session, name: str, now: datetime) -> None:
    counted = execute_hot(
        session,
        "select count(distinct customer_id) from customer_tag where source = %s",
        (f"rule:{name}",),
        prepare=False,
    ).fetchone()
    session.execute(
        update(tag_rule)
        .where(tag_rule.c.name == name)
        .values(evaluated_at=now, tagged_count=counted[0] if counted else 0)
    )


def change(
    session: Session,
    conditions: Mapping[str, Any],
    tagging: tuple[str, str, datetime | None],
    by: str,
    after: UUID,
    limit: int,
    now: datetime,
) -> Window:
    """A bulk change for the next ``limit`` customers beyond ``after``; ``tagging`` is what to do (add, remove), the tag
    and its end."""
    action, tag, expires_at = tagging
    wanted, parameters = conditions_of(session, conditions, now)
    ids = [
        customer_id
        for (customer_id,) in execute_hot(
            session,
            f"select c.customer_id from customer c where {' and '.join(wanted)} and c.customer_id > %(after)s::uuid"
            " order by c.customer_id limit %(limit)s",
            parameters | {"after": after, "limit": limit},
            prepare=False,
        ).fetchall()
    ]
    changed = change_these(session, ids, (action, tag, expires_at), by, now)
    return Window(len(ids), changed, ids[-1] if len(ids) == limit else None)


def change_these(
    session: Session,
    ids: Sequence[UUID],
    tagging: tuple[str, str, datetime | None],
    by: str,
    now: datetime,
) -> int:
    """The same for customers by id; returns how many have other tags than before."""
    action, tag, expires_at = tagging
    if action == "remove":
        return tags.remove(session, [(customer_id, tag) for customer_id in ids], None, by, now)
    return tags.add(
        session, [Tagging(customer_id, tag, expires_at) for customer_id in ids], tags.BULK, by, now
    )


def conditions_of(
    session: Session, wanted: Mapping[str, Any], now: datetime
) -> tuple[list[str], dict[str, Any]]:
    """SQL conditions on ``customer c``, active customers only, and their parameters.

    Raises Invalid ``attribute_filter_invalid``, ``area_unknown``.
    """
    facets, measured = customer_lists.of_attributes(
        session,
        wanted.get("attribute", ()),
        wanted.get("attribute_gte", ()),
        wanted.get("attribute_lt", ()),
    )
    conditions, parameters = customer_lists.conditions_of(
        Filter(
            facets=customer_lists.facets_of({name: wanted.get(name, ()) for name in FACETS}) + facets,
            measured=measured,
            sources=tuple(wanted.get("source", ())),
            external_ids=tuple(wanted.get("external_id", ())),
            created_at=_range(wanted, "created_at"),
            registered_at=_since(wanted, "registered", now) or _range(wanted, "registered_at"),
            last_purchase_at=_since(wanted, "purchased", now) or _range(wanted, "last_purchase_at"),
            areas=regions.asked(session, wanted.get("area", ())),
        )
    )
    if without := wanted.get("without_tag"):
        conditions.append("not (c.facets && %(without)s::text[])")
        parameters["without"] = [f"tag={tag}" for tag in without]
    bought = "from purchase p where p.customer_id = c.customer_id"
    if days := wanted.get("counted_days"):
        bought += " and p.occurred_at >= %(counted_since)s::timestamptz"
        parameters["counted_since"] = now - timedelta(days=days)
    net = "p.accounting_total_minor - p.accounting_returned_minor"
    for name, number in (
        ("purchase_count", f"(select count(*) {bought} and {net} > 0)"),
        ("net_revenue_minor", f"(select coalesce(sum({net}), 0) {bought})"),
    ):
        for suffix, sign in (("gte", ">="), ("lt", "<")):
            if (bound := wanted.get(f"{name}_{suffix}")) is not None:
                conditions.append(f"{number} {sign} %({name}_{suffix})s::bigint")
                parameters[f"{name}_{suffix}"] = bound
    return conditions, parameters


def _range(wanted: Mapping[str, Any], name: str) -> Range:
    gte, lt = (wanted.get(f"{name}_{suffix}") for suffix in ("gte", "lt"))
    return Range(gte and datetime.fromisoformat(gte), lt and datetime.fromisoformat(lt))


def _since(wanted: Mapping[str, Any], verb: str, now: datetime) -> Range:
    """``…_within_days`` and ``…_days_ago``: relative to the moment of the evaluation."""
    within, ago = wanted.get(f"{verb}_within_days"), wanted.get(f"{verb}_days_ago")
    return Range(within and now - timedelta(days=within), ago and now - timedelta(days=ago))
