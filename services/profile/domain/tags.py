"""Tags: given by hand, by a rule, in bulk or by an import, each for its own reason and until its own end.

A customer has a tag as long as one reason for it stands; ``customer.tags`` is what the reasons add up to, and
``tag_change`` is how they came and went. Everything here works on many customers at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, select, text, tuple_
from sqlalchemy.orm import Session

from services.profile.domain import customers
from services.profile.rules.facts import CustomerRef
from services.profile.tables import customer_tag, tag_change
from shared.events.profile_behaviour import TagsChanged
from shared.messaging.outbox import announce

HAND, BULK, IMPORT = "hand", "bulk", "import"


class Tagging(NamedTuple):
    """A tag for one customer; without ``expires_at`` it stays until somebody takes it away."""

    customer_id: UUID
    tag: str
    expires_at: datetime | None = None


_HOLD = text(
    """
    select customer_id from customer where customer_id = any(cast(:ids as uuid[])) and state = 'active'
    order by customer_id for no key update
    """
)
_ADD = text(
    """
    with given as (
        insert into customer_tag as t (recorded_customer_id, tag, source, customer_id, since, expires_at, given_by)
        select recorded, tag, :source, owner, cast(:now as timestamptz), expires_at, :by
        from unnest(cast(:recorded as uuid[]), cast(:owners as uuid[]), cast(:tags as text[]),
            cast(:ends as timestamptz[])) as n (recorded, owner, tag, expires_at)
        order by recorded, tag
        on conflict (recorded_customer_id, tag, source) do update set expires_at = excluded.expires_at,
            given_by = excluded.given_by
        where t.expires_at is distinct from excluded.expires_at
        returning t.*
    )
    insert into tag_change (customer_id, recorded_customer_id, tag, action, source, expires_at, changed_at, changed_by)
    select customer_id, recorded_customer_id, tag, 'added', source, expires_at, cast(:now as timestamptz), given_by
    from given order by recorded_customer_id, tag
    """
)
# A rule's own reason is its own affair: what a person takes away, the rule would give again.
_REMOVE = text(
    """
    with gone as (
        delete from customer_tag t
        using unnest(cast(:owners as uuid[]), cast(:tags as text[])) as n (owner, tag)
        where t.customer_id = n.owner and t.tag = n.tag
            and (t.source = :source or cast(:source as text) is null and t.source not like 'rule:%')
        returning t.*
    )
    insert into tag_change (customer_id, recorded_customer_id, tag, action, source, changed_at, changed_by)
    select customer_id, recorded_customer_id, tag, 'removed', source, cast(:now as timestamptz), :by
    from gone order by recorded_customer_id, tag
    """
)
_EXPIRED = text(
    """
    select distinct customer_id from (
        select customer_id from customer_tag where expires_at <= now() order by expires_at limit :most
    ) over
    """
)
_EXPIRE = text(
    """
    with gone as (
        delete from customer_tag where customer_id = any(cast(:owners as uuid[])) and expires_at <= now() returning *
    )
    insert into tag_change (customer_id, recorded_customer_id, tag, action, source, expires_at, changed_at, changed_by)
    select customer_id, recorded_customer_id, tag, 'expired', source, expires_at, now(), 'expiry'
    from gone order by recorded_customer_id, tag
    """
)
_ADD_UP = text(
    """
    with sums as materialized (
        select c.customer_id, c.tags as before, coalesce((
            select array_agg(distinct t.tag collate "C" order by t.tag collate "C") from customer_tag t
            where t.customer_id = c.customer_id), '{}') as after
        from customer c where c.customer_id = any(cast(:owners as uuid[]))
    )
    update customer c set tags = s.after, version = c.version + 1, updated_at = cast(:now as timestamptz)
    from sums s where s.customer_id = c.customer_id and s.before <> s.after
    returning c.customer_id, s.before, s.after
    """
)


def add(session: Session, taggings: Sequence[Tagging], source: str, by: str, now: datetime) -> int:
    """Give tags for the reason ``source``; returns how many customers have other tags than before.

    What was given for this reason before changes its end only. Erased and unknown customers are passed over.
    """
    owners = hold(session, (one.customer_id for one in taggings))
    latest = {(one.customer_id, one.tag): one for one in taggings if one.customer_id in owners}
    if not latest:
        return 0
    _give(session, list(latest.values()), owners, source, by, now)
    return add_up(session, owners.values(), source, now)


def remove(
    session: Session, pairs: Sequence[tuple[UUID, str]], source: str | None, by: str, now: datetime
) -> int:
    """Take tags away that were given for the reason ``source`` (None: for any but a rule's); returns how many customers
    have other tags than before."""
    owners = hold(session, (customer_id for customer_id, _ in pairs))
    wanted = sorted({(owners[customer_id], tag) for customer_id, tag in pairs if customer_id in owners})
    if not wanted:
        return 0
    session.execute(
        _REMOVE,
        {
            "owners": [owner for owner, _ in wanted],
            "tags": [tag for _, tag in wanted],
            "source": source,
            "by": by,
            "now": now,
        },
    )
    return add_up(session, owners.values(), source or HAND, now)


def begin_by_hand(session: Session, customer_id: UUID, tags: Sequence[str], by: str, now: datetime) -> None:
    """The tags that a customer was made with."""
    if tags:
        _give(session, [Tagging(customer_id, tag) for tag in tags], {customer_id: customer_id}, HAND, by, now)


def replace_by_hand(
    session: Session, customer_id: UUID, before: Sequence[str], wanted: Sequence[str], by: str, now: datetime
) -> int:
    """Somebody wrote the list of a customer's tags: ``wanted`` instead of ``before``. What is new is given by hand, what
    is missing is taken away – unless a rule says so, which then still holds."""
    gone = [(customer_id, tag) for tag in sorted(set(before) - set(wanted))]
    new = [Tagging(customer_id, tag) for tag in sorted(set(wanted) - set(before))]
    return remove(session, gone, None, by, now) + add(session, new, HAND, by, now)


def expire(session: Session, most: int) -> int:
    """End what has come to its end, of up to ``most`` taggings; returns how many customers that concerned."""
    now = session.execute(text("select now()")).scalar_one()
    owners = list(hold(session, session.scalars(_EXPIRED, {"most": most})).values())
    if owners:
        session.execute(_EXPIRE, {"owners": owners})
        add_up(session, owners, "expiry", now)
    return len(owners)


def add_up(session: Session, owners: Iterable[UUID], source: str, now: datetime) -> int:
    """Bring ``customer.tags`` of locked customers up to date and announce what changed; returns how many changed.

    Whoever moves taggings between customers (a merge, its undoing) calls this for both sides.
    """
    rows = session.execute(_ADD_UP, {"owners": sorted(set(owners)), "now": now}).all()
    announce(
        session,
        *(
            TagsChanged(
                customer_id=row.customer_id,
                tags=tuple(row.after),
                added=tuple(sorted(set(row.after) - set(row.before))),
                removed=tuple(sorted(set(row.before) - set(row.after))),
                source=source,
                effective_at=now,
            )
            for row in sorted(rows, key=lambda row: row.customer_id)
        ),
    )
    return len(rows)


def hold(session: Session, ids: Iterable[UUID]) -> dict[UUID, UUID]:
    """Lock the owners of these customers for writing, in the order of their ids; gives the owner of each id.

    A merge locks the owner first: held, it stays the owner. If one was merged while this waited, everything is let go
    and looked at anew.
    """
    refs = [CustomerRef(customer_id=customer_id) for customer_id in sorted(set(ids))]
    while refs:
        with session.begin_nested() as savepoint:
            owners = _owners(session, refs)
            held = set(session.scalars(_HOLD, {"ids": sorted(set(owners.values()))}))
            if held == set(owners.values()) and _owners(session, refs) == owners:
                return owners
            savepoint.rollback()
    return {}


def of_customer(session: Session, customer_id: UUID) -> Sequence[Row[Any]]:
    """Every reason for every tag, by tag."""
    rows = select(customer_tag).where(customer_tag.c.customer_id == customer_id)
    return session.execute(
        rows.order_by(customer_tag.c.tag, customer_tag.c.source, customer_tag.c.since)
    ).all()


def history(session: Session, customer_id: UUID, after: tuple[int] | None, limit: int) -> Sequence[Row[Any]]:
    """How tags came and went, latest first, by ``change_id``."""
    rows = select(tag_change).where(tag_change.c.customer_id == customer_id)
    if after is not None:
        rows = rows.where(tuple_(tag_change.c.change_id) < tuple_(*after))
    return session.execute(rows.order_by(tag_change.c.change_id.desc()).limit(limit)).all()


def _give(
    session: Session,
    taggings: Sequence[Tagging],
    owners: Mapping[UUID, UUID],
    source: str,
    by: str,
    now: datetime,
) -> None:
    session.execute(
        _ADD,
        {
            "recorded": [one.customer_id for one in taggings],
            "owners": [owners[one.customer_id] for one in taggings],
            "tags": [one.tag for one in taggings],
            "ends": [one.expires_at for one in taggings],
            "source": source,
            "by": by,
            "now": now,
        },
    )


def _owners(session: Session, refs: Sequence[CustomerRef]) -> dict[UUID, UUID]:
    found = customers.resolve_many(session, refs)
    return {
        ref.customer_id: known.customer_id
        for ref, known in found.items()
        if ref.customer_id is not None and known.state == "active"
    }
