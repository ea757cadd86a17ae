"""What happens to points, offers and messages when customers are merged, unmerged or erased."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, text, tuple_
from sqlalchemy.orm import Session

from services.campaigns.domain import deliveries, ledger, rating
from services.campaigns.domain.ledger import Movement
from services.campaigns.tables import customer, points_parted
from shared import merges
from shared.customers import lock_owners
from shared.events.campaigns import ErasureCompletedInCampaigns
from shared.events.profile import CustomerErased
from shared.ids import uuid7
from shared.merges import Merge, Moves

FACTS = (
    "purchase",
    "unmatched_return",
    "redemption",
    "offer",
    "delivery",
    "promotion_pause",
    "open_case",
)


def follow(session: Session, events: Sequence[Merge]) -> None:
    """Everything goes to whom it belongs now; points change hands, and what tiers they were earned by is seen again."""
    moves = merges.follow(session, customer, events)
    if moves is None:
        return
    merges.move(session, FACTS, moves)
    rating.follow_merges(session, moves)
    _hand_over(session, moves)


def erase(session: Session, events: Sequence[CustomerErased]) -> None:
    """No message leaves any more; points and purchases stay as numbers of nobody, so that the books stay true."""
    owners = lock_owners(session, customer, {event.customer_id for event in events})
    erased = merges.erase(session, customer, events)
    everywhere = {
        "ids": erased,
        "owners": [owner for each in erased if (owner := owners.counted(each)) is not None],
    }
    deliveries.cancel(session, erased, everywhere["owners"])
    for name in ("promotion_pause", "open_case"):
        session.execute(
            text(
                f"delete from {name} where customer_id = any(cast(:owners as uuid[]))"
                " and recorded_customer_id = any(cast(:ids as uuid[]))"
            ),
            everywhere,
        )
    merges.announce_erased(session, ErasureCompletedInCampaigns, events, erased)


def parted(session: Session, after: tuple[datetime, UUID] | None, limit: int) -> Sequence[Any]:
    """Unmerges that took points away from a winner, the latest first."""
    query = select(
        points_parted.c.parted_id.label("id"),
        *(points_parted.c[name] for name in points_parted.c.keys() if name != "parted_id"),  # noqa: SIM118
    )
    if after is not None:
        query = query.where(tuple_(points_parted.c.unmerged_at, points_parted.c.parted_id) < after)
    return session.execute(
        query.order_by(points_parted.c.unmerged_at.desc(), points_parted.c.parted_id.desc()).limit(limit)
    ).all()


def _hand_over(session: Session, moves: Moves) -> None:
    """Give every owner the own points of everybody in its tree, and leave the others nothing."""
    accounts = ledger.own_points(session, sorted(moves.after))
    due = dict.fromkeys(moves.after, 0)
    for each, owner in moves.after.items():
        due[owner] += accounts[each][1]
    movements = []
    for each in sorted(due):
        if points := due[each] - accounts[each][0]:
            cause: Any = moves.cause_of(each)
            undone = cause.loser_id in moves.undone
            movements.append(
                Movement(
                    customer_id=each,
                    points=points,
                    kind="transferred",
                    cause=f"transfer:{cause.id}:{each}",
                    source=f"{'unmerge' if undone else 'merge'}:{cause.loser_id}",
                    reason="merge",
                    effective_at=cause.effective_at,
                    because=cause,
                )
            )
    ledger.book(session, movements)
    rows = [
        {
            "parted_id": uuid7(),
            "customer_id": winner,
            "loser_id": loser,
            "merged_at": merged_at,
            "unmerged_at": moves.causes[loser].effective_at,  # type: ignore[attr-defined]
            "returned_points": sum(accounts[each][1] for each in moves.after if _went(moves, each, loser)),
            "spent_points": session.scalar(_SPENT, {"winner": winner, "since": merged_at}),
            "balance_left": due[winner],
        }
        for loser, merged_at in moves.undone.items()
        if (winner := moves.before[loser]) != moves.after[loser]
    ]
    if rows:
        session.execute(insert(points_parted), rows)


def _went(moves: Moves, customer_id: UUID, loser: UUID) -> bool:
    """Whether this customer left the winner's tree with the loser."""
    return moves.before[customer_id] == moves.before[loser] and moves.after[customer_id] == moves.after[loser]


_SPENT = text("""
    select coalesce(sum(points), 0)::bigint from redemption
    where customer_id = :winner and recorded_customer_id = :winner and redeemed_at >= :since
""")
