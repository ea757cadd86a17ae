"""Customers who might be one: found by what they have in common, decided by a person.

Found set-based over blind tokens, without opening a seal. What very many have in common (a shop's own number, a default
address) says nothing and is passed over. The evidence names what is shared, never the value.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text, update
from sqlalchemy.orm import Session

from services.profile.domain import customer_profiles
from services.profile.tables import duplicate
from shared import audit
from shared.errors import NotFound
from shared.ids import uuid7

# Shared by more customers than this it is nobody's own.
MOST_SHARING = 20
# How much each kind of evidence says. Name alone is no evidence, nor is a birthday.
SCORES = {
    "email": 60,
    "phone": 60,
    "identity": 80,
    "name_and_birthday": 50,
    "name_and_postcode": 40,
    "proved": 90,
}

_NAMES = """
    select t.customer_id, array_agg(t.token order by t.token) as tokens
    from customer_token t where t.field = 'name' and t.holder_id = t.customer_id {among} group by t.customer_id
"""
# Everybody's searched fields that may tell two customers to be one: (customer, kind of evidence, what is the same).
_MARKS = f"""
    select t.customer_id, t.field as evidence, t.token as mark from customer_token t
    where t.field in ('email', 'phone') and t.holder_id = t.customer_id
    union all
    select i.customer_id, 'identity', i.token from customer_identity i where i.namespace not in ('cookie', 'device')
    union all
    select n.customer_id, 'name_and_birthday', sha256(convert_to(n.tokens::text || c.birth_month_day, 'UTF8'))
    from ({_NAMES.format(among="")}) n join customer c using (customer_id) where c.birth_month_day is not null
    union all
    select n.customer_id, 'name_and_postcode', sha256(convert_to(n.tokens::text || p.token::text, 'UTF8'))
    from ({_NAMES.format(among="")}) n join customer_token p using (customer_id)
    where p.field = 'postcode' and p.holder_id = p.customer_id
"""
_FIND_ALL = text(
    f"""
    with marks as materialized (
        select distinct coalesce(c.merged_into, c.customer_id) as customer_id, c.kind, m.evidence, m.mark
        from ({_MARKS}) m join customer c using (customer_id) where c.state <> 'erased'
    ), shared as (
        select evidence, mark from marks group by evidence, mark having count(*) between 2 and :most
    ), pairs as (
        select a.customer_id as first_id, b.customer_id as second_id, array_agg(distinct a.evidence) as evidence
        from shared join marks a using (evidence, mark) join marks b using (evidence, mark)
        where a.customer_id < b.customer_id and a.kind = b.kind
        group by 1, 2
    )
    insert into duplicate as d (duplicate_id, first_id, second_id, evidence, score, found_at)
    select gen_random_uuid(), first_id, second_id, evidence, (
        select least(100, sum(s.score)) from unnest(cast(:kinds as text[]), cast(:scores as int[])) as s (kind, score)
        where s.kind = any(evidence)
    ), cast(:now as timestamptz)
    from pairs order by first_id, second_id
    on conflict (first_id, second_id) do update set evidence = excluded.evidence, score = excluded.score
    where d.dismissed_at is null and d.evidence <> excluded.evidence and not d.evidence && :kept
    returning 1
    """
)
_NOTE = text(
    """
    insert into duplicate as d (duplicate_id, first_id, second_id, evidence, score, found_at)
    values (:id, :first, :second, :evidence, :score, cast(:now as timestamptz))
    on conflict (first_id, second_id) do update
    set evidence = array(select distinct unnest(d.evidence || excluded.evidence) order by 1),
        score = greatest(d.score, excluded.score)
    where d.dismissed_at is null
    """
)
# Whoever was merged or erased since is no question any more.
_OPEN = """
    select d.* from duplicate d
    join customer a on a.customer_id = d.first_id and a.state = 'active'
    join customer b on b.customer_id = d.second_id and b.state = 'active'
    where (d.dismissed_at is not null) = :dismissed and {only}
    order by d.score desc, d.duplicate_id desc limit :limit
"""


def find_all(session: Session, now: datetime) -> int:
    """Look at everybody; returns how many pairs are new or have other evidence than before. Pairs of whom somebody said
    that they are two stay so."""
    found = session.execute(
        _FIND_ALL,
        {
            "most": MOST_SHARING,
            "kinds": list(SCORES),
            "scores": list(SCORES.values()),
            "kept": [
                "proved_email",
                "proved_phone",
                "proved_wechat_openid",
                "proved_wechat_unionid",
                "proved_pos_card",
            ],
            "now": now,
        },
    )
    return len(found.all())


def note(session: Session, one: UUID, other: UUID, evidence: Sequence[str], now: datetime) -> None:
    """Two customers who might be one, for a reason of its own."""
    first, second = sorted((one, other))
    session.execute(
        _NOTE,
        {
            "id": uuid7(),
            "first": first,
            "second": second,
            "evidence": list(evidence),
            "score": SCORES["proved"],
            "now": now,
        },
    )


def page(
    session: Session,
    after: tuple[int, UUID] | None,
    limit: int,
    *,
    customer_id: UUID | None = None,
    dismissed: bool = False,
) -> Sequence[Row[Any]]:
    """The likeliest first, by ``(score, duplicate_id)``. Raises NotFound, Gone for a ``customer_id`` who is nobody."""
    only = ["true"]
    parameters: dict[str, Any] = {"dismissed": dismissed, "limit": limit}
    if customer_id is not None:
        only.append("(d.first_id = :customer_id or d.second_id = :customer_id)")
        parameters["customer_id"] = customer_profiles.get(session, customer_id).customer_id
    if after is not None:
        only.append("(d.score, d.duplicate_id) < (:score, :id)")
        parameters |= {"score": after[0], "id": after[1]}
    return session.execute(text(_OPEN.format(only=" and ".join(only))), parameters).all()


def dismiss(session: Session, duplicate_id: UUID, by: str, now: datetime) -> Row[Any]:
    """Somebody says that these are two; they are not listed again. Raises NotFound ``duplicate_not_found``."""
    said = (
        update(duplicate)
        .where(duplicate.c.duplicate_id == duplicate_id, duplicate.c.dismissed_at.is_(None))
        .values(dismissed_at=now, dismissed_by=by)
        .returning(duplicate)
    )
    row = session.execute(said).one_or_none()
    if row is not None:
        audit.record(session, "duplicate_dismissed", by=by, subject=str(duplicate_id))
        return row
    known = session.execute(duplicate.select().where(duplicate.c.duplicate_id == duplicate_id)).one_or_none()
    if known is None:
        raise NotFound("duplicate_not_found", "no such pair of customers")
    return known
