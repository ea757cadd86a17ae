"""By which tier a purchase earns: that of whoever owned it when it was recorded, in force just before.

From a merge on the winner's tier counts, for what was recorded under the loser, too; once the merge is undone, the
loser's own, as if it had never been. A tier, or a merge, that is heard of late books the difference.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import cast
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.campaigns.domain import ledger, purchases
from services.campaigns.domain.ledger import Movement
from services.campaigns.rules import earning
from services.campaigns.tables import customer
from shared.customers import Owners, lock_owners, recorded_customer, tree_below
from shared.events.envelope import Event
from shared.events.profile import PurchaseRecorded
from shared.events.scoring import TierChanged
from shared.merges import Moves


def tiers_before(
    session: Session, events: Sequence[PurchaseRecorded], owners: Owners
) -> Sequence[str | None]:
    """The tier that rates each of these purchases, whose customers are locked; None = none yet."""
    values = {
        "customers": [
            owners.tree.owner(cast("UUID", recorded_customer(event)), event.recorded_at) for event in events
        ],
        "moments": [event.recorded_at for event in events],
    }
    return session.scalars(_TIERS_BEFORE, values).all()


def follow_tiers(session: Session, events: Sequence[TierChanged]) -> None:
    """Keep the tier history, and correct the points of purchases that were recorded after a tier change but booked
    before it was heard of."""
    owners = lock_owners(session, customer, {event.customer_id for event in events})
    heard = {event.id: event for event in events if owners.counted(event.customer_id) is not None}
    if not heard:
        return
    rows = {
        "events": list(heard),
        "customers": [event.customer_id for event in heard.values()],
        "tiers": [event.tier for event in heard.values()],
        "effective": [event.effective_at for event in heard.values()],
    }
    session.execute(_ADD_TIERS, rows)
    concerned = [owners.counted(event.customer_id) for event in heard.values()]
    merged = tree_below(session, customer, {each for each in concerned if each is not None})
    recorded, since, rated_by = _columns(merged.owners_in_time(merged.parents))
    late = session.execute(
        _RATED_BY, rows | {"owners": concerned, "merged": recorded, "since": since, "rated_by": rated_by}
    ).all()
    _rate_again(
        session,
        [(row.purchase_id, heard[row.event_id].tier) for row in late],
        {row.purchase_id: (heard[row.event_id], heard[row.event_id].reason) for row in late},
        "tier",
    )


def follow_merges(session: Session, moves: Moves) -> None:
    """Rate the purchases of everybody concerned by the tiers of those who own them now as of when they were recorded."""
    if moves.since is None:
        return
    everybody = sorted(moves.after)
    recorded, since, rated_by = _columns(moves.tree.owners_in_time(everybody))
    rated = session.execute(
        _RATED_NOW,
        {
            "customers": sorted(set(moves.after.values())),
            "from": moves.since,
            "merged": recorded,
            "since": since,
            "rated_by": rated_by,
        },
    ).all()
    _rate_again(
        session,
        [(row.purchase_id, row.tier) for row in rated],
        {row.purchase_id: (moves.cause_of(row.customer_id), "merge") for row in rated},
        "merge",
    )


def _rate_again(
    session: Session,
    rated: Sequence[tuple[UUID, str | None]],
    causes: Mapping[UUID, tuple[Event, str]],
    why: str,
) -> None:
    """Correct what these purchases brought to the multiplier of the tier that each should have been rated by."""
    if not rated:
        return
    settings = purchases.settings_of(session)
    known = purchases.load(session, [purchase_id for purchase_id, _ in rated])
    touched, movements = [], []
    for purchase_id, tier in rated:
        purchase, (event, reason) = known[purchase_id], causes[purchase_id]
        percent = earning.percent_of(tier, settings.multipliers)
        if percent == purchase.percent:
            continue
        purchase.percent = percent
        touched.append(purchase)
        if points := purchase.settle(settings.points_per_unit):
            movements.append(
                Movement(
                    customer_id=purchase.customer_id,
                    recorded_customer_id=purchase.recorded_customer_id,
                    points=points,
                    kind="adjusted",
                    cause=f"{why}:{event.id}:{purchase_id}",
                    source=f"purchase:{purchase_id}",
                    reason=reason,
                    effective_at=cast("datetime", purchase.recorded_at),
                    historical=getattr(event, "historical", False) or purchase.historical,
                    because=event,
                )
            )
    purchases.save(session, touched)
    ledger.book(session, movements)


def _columns(lines: Sequence[tuple[UUID, datetime, UUID]]) -> tuple[list[UUID], list[datetime], list[UUID]]:
    return [line[0] for line in lines], [line[1] for line in lines], [line[2] for line in lines]


# Just before: a change that this very purchase caused has its recorded_at as effective_at and does not count yet.
_TIERS_BEFORE = text("""
    select (
        select tier from tier_change
        where customer_id = each.customer_id and effective_at < each.moment
        order by effective_at desc, position desc limit 1
    )
    from unnest(cast(:customers as uuid[]), cast(:moments as timestamptz[]))
        with ordinality as each (customer_id, moment, number)
    order by number
""")

_ADD_TIERS = text("""
    insert into tier_change (event_id, customer_id, tier, effective_at)
    select event_id, customer_id, tier, effective_at
    from unnest(cast(:events as uuid[]), cast(:customers as uuid[]), cast(:tiers as text[]),
                cast(:effective as timestamptz[]))
        with ordinality as each (event_id, customer_id, tier, effective_at, number)
    order by number
""")

# Who owned a purchase when it was recorded, by the merges that stand: from ``since`` on ``rated_by``, before it itself.
_RATED = """
    left join lateral (
        select rated_by from unnest(cast(:merged as uuid[]), cast(:since as timestamptz[]), cast(:rated_by as uuid[]))
            as line (recorded, since, rated_by)
        where line.recorded = p.recorded_customer_id and line.since <= p.recorded_at
        order by line.since desc limit 1
    ) owned on true
"""

# The purchases that one of these changes rates now: recorded after it, and no other change in between.
_RATED_BY = text(f"""
    select p.purchase_id, rated.event_id
    from (
        select customer_id, min(effective_at) as effective_at
        from unnest(cast(:owners as uuid[]), cast(:effective as timestamptz[])) as each (customer_id, effective_at)
        group by customer_id
    ) changed
    join purchase p on p.customer_id = changed.customer_id and p.recorded_at > changed.effective_at
    {_RATED}
    cross join lateral (
        select event_id from tier_change t
        where t.customer_id = coalesce(owned.rated_by, p.recorded_customer_id) and t.effective_at < p.recorded_at
        order by t.effective_at desc, t.position desc limit 1
    ) rated
    where rated.event_id = any(cast(:events as uuid[]))
    order by p.customer_id, p.recorded_at, p.purchase_id
""")

_RATED_NOW = text(f"""
    select p.purchase_id, p.customer_id, rated.tier
    from purchase p
    {_RATED}
    left join lateral (
        select tier from tier_change t
        where t.customer_id = coalesce(owned.rated_by, p.recorded_customer_id) and t.effective_at < p.recorded_at
        order by t.effective_at desc, t.position desc limit 1
    ) rated on true
    where p.customer_id = any(cast(:customers as uuid[])) and p.recorded_at >= :from
    order by p.customer_id, p.recorded_at, p.purchase_id
""")
