"""Two records turn out to be one customer, and sometimes two after all.

The loser keeps its row, its names and its identities, and answers as the winner; its facts belong to the winner as long as
the merge lasts. Facts keep under whom they were recorded, so an unmerge knows which of them go back, also those that were
told meanwhile. Merges form a forest (``tables/merges``); undoing one takes the loser out with all that hangs on it.

Both hold every row of the trees concerned (``customers.lock_trees``): nobody records for one of them meanwhile.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, func, insert, or_, select, text, tuple_, update
from sqlalchemy.orm import Session

from services.profile.domain import attributes, customers, merge_consents, merge_fields, tags
from services.profile.domain.merge_fields import Plan
from services.profile.rules.merging import Strategy
from services.profile.tables import customer, merge, metadata
from shared import audit
from shared.errors import Conflict, NotFound
from shared.events.profile import CustomersMerged, CustomersUnmerged
from shared.ids import uuid7
from shared.messaging.outbox import announce

UNDOABLE_FOR = timedelta(days=30)

# What belongs to a customer and says under whom it was recorded: all of it, so that no new table is forgotten.
MOVES = tuple(
    sorted(
        table.name
        for table in metadata.tables.values()
        if {"customer_id", "recorded_customer_id"} <= set(table.columns.keys())
    )
)


class Preview(NamedTuple):
    """What a merge would do. ``moved`` counts what would change its owner, by table; ``refusals`` are the purposes and
    channels where a refusal of one side would stop a later grant of the other."""

    winner: Row[Any]
    loser: Row[Any]
    plan: Plan
    moved: Mapping[str, int]
    refusals: Sequence[merge_consents.Topic]


def preview(session: Session, winner_id: UUID, loser_id: UUID, strategies: Mapping[str, Strategy]) -> Preview:
    """Raises as ``join``; writes and locks nothing."""
    ids = [winner_id, loser_id]
    rows = {
        row.customer_id: row
        for row in session.execute(
            select(customer).where(
                or_(
                    customer.c.customer_id.in_(ids),
                    customer.c.customer_id.in_(
                        select(customer.c.merged_into).where(customer.c.customer_id.in_(ids))
                    ),
                )
            )
        )
    }
    winner, loser = _two(rows, winner_id, loser_id)
    before = merge_consents.standing_of(session, [winner.customer_id, loser.customer_id])
    moved = {
        name: session.scalar(
            select(func.count()).where(metadata.tables[name].c.customer_id == loser.customer_id)
        )
        or 0
        for name in MOVES
    }
    return Preview(
        winner,
        loser,
        merge_fields.plan(session, winner, loser, strategies),
        {name: count for name, count in moved.items() if count},
        sorted(merge_consents.stricter_of(before, winner.customer_id, loser.customer_id)),
    )


def join(
    session: Session,
    winner_id: UUID,
    loser_id: UUID,
    strategies: Mapping[str, Strategy],
    by: str,
    now: datetime,
    *,
    origin: str = "person",
) -> tuple[Row[Any], bool]:
    """Merge the loser into the winner and announce it; returns the merge, and False if exactly this holds already.

    A winner who was merged before means whom it answers as; a loser who was is refused. Raises NotFound
    ``customer_not_found``, Gone ``customer_erased``, Conflict ``already_merged``, ``already_one_customer``,
    ``kinds_differ``, Invalid ``strategy_unfit``.
    """
    rows = customers.lock_trees(session, [winner_id, loser_id])
    if known := _repeated(session, rows, winner_id, loser_id):
        return known, False
    winner, loser = _two(rows, winner_id, loser_id)
    winner_id = winner.customer_id
    plan = merge_fields.plan(session, winner, loser, strategies)
    before = merge_consents.standing_of(session, [winner_id, loser_id])

    merge_id = uuid7()
    edge = session.execute(
        insert(merge)
        .values(
            merge_id=merge_id,
            winner_id=winner_id,
            loser_id=loser_id,
            origin=origin,
            strategies=dict(strategies),
            changes_sealed=merge_fields.sealed(session, merge_id, winner_id, plan),
            last_consent=merge_consents.last_number(session),
            merged_at=now,
            merged_by=by,
            undo_until=now + UNDOABLE_FOR,
        )
        .returning(merge)
    ).one()
    _move(session, loser_id, winner_id)
    _answer_as(session, winner_id, [loser_id, *_aliases(rows, loser_id)])
    repeated = merge_consents.stricter_of(before, winner_id, loser_id)
    merge_consents.repeat(session, repeated.values(), merge_id, winner_id, by, now)
    merge_fields.apply(session, winner, plan, now)
    tags.add_up(session, [winner_id], "merge", now)

    _announce(session, CustomersMerged, edge, now)
    after = merge_consents.standing_of(session, [winner_id])
    merge_consents.announce_changes(session, before, after, now)
    audit.record(
        session,
        "customers_merged",
        by=by,
        subject=str(loser_id),
        winner_id=str(winner_id),
        merge_id=str(merge_id),
        origin=origin,
    )
    return edge, True


def undo(session: Session, merge_id: UUID, by: str, now: datetime) -> tuple[Row[Any], bool]:
    """Make two customers of one again and announce it; returns the merge, and False if it was undone before.

    The loser gets back what was recorded under it or under those who hang on it, before the merge or since; the winner
    its fields, where they still have the value that the merge gave them. What was refused meanwhile holds for both.
    Raises NotFound ``merge_not_found``, Gone ``customer_erased``, Conflict ``unmerge_too_late``.
    """
    edge = get(session, merge_id)
    if edge.undone_at is not None:
        return edge, False
    rows = customers.lock_trees(session, [edge.loser_id, edge.winner_id])
    edge = get(session, merge_id)
    if edge.undone_at is not None:
        return edge, False
    if rows[edge.loser_id].state == "erased":
        raise customers.erased()
    if now > edge.undo_until:
        raise Conflict("unmerge_too_late", f"a merge can be undone for {UNDOABLE_FOR.days} days")
    loser_id, root_id = edge.loser_id, rows[edge.loser_id].merged_into
    edges = {
        row.loser_id: row
        for row in session.execute(
            select(merge).where(merge.c.loser_id.in_(rows), merge.c.undone_at.is_(None))
        )
    }
    subtree = _hanging_on(loser_id, edges)
    before = merge_consents.standing_of(session, [root_id])
    refused = merge_consents.refusals_while_merged(session, edge, root_id, subtree)

    undone = session.execute(
        update(merge)
        .where(merge.c.merge_id == merge_id)
        .values(undone_at=now, undone_by=by, changes_sealed=None)
        .returning(merge)
    ).one()
    _move(session, root_id, loser_id, recorded=subtree)
    _answer_as(session, None, [loser_id])
    _answer_as(session, loser_id, subtree - {loser_id})
    merge_consents.give_back(session, merge_id)
    sides = {True: (edge.winner_id, root_id), False: (loser_id, loser_id)}
    merge_consents.hold_for_both(session, refused, merge_id, sides, by)
    _give_back_fields(session, edge, edges, now)
    tags.add_up(session, [root_id, loser_id], "merge", now)

    _announce(session, CustomersUnmerged, edge, now)
    after = merge_consents.standing_of(session, [root_id, loser_id])
    merge_consents.announce_changes(session, before, after, now)
    audit.record(
        session,
        "customers_unmerged",
        by=by,
        subject=str(loser_id),
        winner_id=str(edge.winner_id),
        merge_id=str(merge_id),
    )
    return undone, True


def personal_attributes(session: Session) -> set[str]:
    """The defined attributes that may not be shown to everybody."""
    return {name for name, one in attributes.definitions(session).items() if one.personal}


def get(session: Session, merge_id: UUID) -> Row[Any]:
    """Raises NotFound ``merge_not_found``."""
    row = session.execute(select(merge).where(merge.c.merge_id == merge_id)).one_or_none()
    if row is None:
        raise NotFound("merge_not_found", "no such merge")
    return row


def page(
    session: Session,
    after: tuple[datetime, UUID] | None,
    limit: int,
    *,
    customer_id: UUID | None = None,
    undone: bool | None = None,
) -> Sequence[Row[Any]]:
    """Latest first, by ``(merged_at, merge_id)``."""
    order = (merge.c.merged_at, merge.c.merge_id)
    wanted = select(merge)
    if customer_id is not None:
        wanted = wanted.where(or_(merge.c.winner_id == customer_id, merge.c.loser_id == customer_id))
    if undone is not None:
        wanted = wanted.where(merge.c.undone_at.is_not(None) == undone)
    if after is not None:
        wanted = wanted.where(tuple_(*order) < tuple_(*after))
    return session.execute(wanted.order_by(*(column.desc() for column in order)).limit(limit)).all()


def _two(rows: Mapping[UUID, Row[Any]], winner_id: UUID, loser_id: UUID) -> tuple[Row[Any], Row[Any]]:
    """The two customers of a merge, the winner as whom it answers as. Raises NotFound, Gone, Conflict."""
    for asked in (winner_id, loser_id):
        if asked not in rows:
            raise customers.not_found()
        if rows[asked].state == "erased":
            raise customers.erased()
    winner, loser = rows[rows[winner_id].merged_into or winner_id], rows[loser_id]
    if winner.customer_id == (loser.merged_into or loser_id):
        raise Conflict("already_one_customer", "these two are one customer already")
    if loser.merged_into is not None:
        raise Conflict(
            "already_merged",
            f"this customer answers as {loser.merged_into}: undo that merge, or merge that one",
        )
    if winner.kind != loser.kind:
        raise Conflict("kinds_differ", "a person and an organisation are never one customer")
    return winner, loser


def _repeated(
    session: Session, rows: Mapping[UUID, Row[Any]], winner_id: UUID, loser_id: UUID
) -> Row[Any] | None:
    """The merge that says exactly this and lasts."""
    return session.execute(
        select(merge).where(
            merge.c.loser_id == loser_id,
            merge.c.undone_at.is_(None),
            merge.c.winner_id == winner_id,
            merge.c.loser_id.in_([row.customer_id for row in rows.values() if row.state == "merged"]),
        )
    ).one_or_none()


def _aliases(rows: Mapping[UUID, Row[Any]], root_id: UUID) -> list[UUID]:
    return [customer_id for customer_id, row in rows.items() if row.merged_into == root_id]


def _hanging_on(loser_id: UUID, edges: Mapping[UUID, Row[Any]]) -> set[UUID]:
    """The loser and everybody below it."""
    found = {loser_id}
    while more := {each for each, edge in edges.items() if edge.winner_id in found} - found:
        found |= more
    return found


def _move(session: Session, owner: UUID, new_owner: UUID, recorded: Collection[UUID] | None = None) -> None:
    for name in MOVES:
        only = "" if recorded is None else "and recorded_customer_id = any(cast(:recorded as uuid[]))"
        session.execute(
            text(f"update {name} set customer_id = :new_owner where customer_id = :owner {only}"),
            {"owner": owner, "new_owner": new_owner}
            | ({} if recorded is None else {"recorded": list(recorded)}),
        )


def _answer_as(session: Session, root_id: UUID | None, ids: Iterable[UUID]) -> None:
    session.execute(
        update(customer)
        .where(customer.c.customer_id.in_(list(ids)))
        .values(
            merged_into=root_id,
            state="active" if root_id is None else "merged",
            version=customer.c.version + 1,
        )
    )


def _give_back_fields(
    session: Session, edge: Row[Any], edges: Mapping[UUID, Row[Any]], now: datetime
) -> None:
    """From the winner of the undone merge up to the root: nobody keeps what came from the loser."""
    gone = merge_fields.give_back(session, edge, _row(session, edge.winner_id), now)
    above = edges.get(edge.winner_id)
    while gone and above is not None:
        gone = merge_fields.disinherit(session, above, _row(session, above.winner_id), gone, now)
        above = edges.get(above.winner_id)


def _row(session: Session, customer_id: UUID) -> Row[Any]:
    return session.execute(select(customer).where(customer.c.customer_id == customer_id)).one()


def _announce(
    session: Session,
    event: type[CustomersMerged | CustomersUnmerged],
    edge: Row[Any],
    now: datetime,
) -> None:
    """Under both keys. The consumers keep the forest by the loser's copies: nobody else's place in it changes."""
    announce(
        session,
        *(
            event(customer_id=customer_id, winner_id=edge.winner_id, loser_id=edge.loser_id, effective_at=now)
            for customer_id in (edge.winner_id, edge.loser_id)
        ),
    )
