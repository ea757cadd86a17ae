"""Contacts with a person: recorded, read, and followed up. What was said lies under seal and is never announced."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, Row, Text, cast, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.profile.domain import customers, pricing
from services.profile.domain.reach import facets_within
from services.profile.domain.recording import Outcome
from services.profile.rules.facts import CustomerRef
from services.profile.tables import customer, interaction
from shared import sealing
from shared.auth.callers import Reach
from shared.errors import Conflict, Fault, Invalid, NotFound, Refusal
from shared.events.profile_behaviour import InteractionRecorded
from shared.ids import uuid7
from shared.messaging.outbox import announce

_COARSE = ("kind", "direction", "channel", "store", "staff_id", "outcome", "case_id", "next_step_due_at")


class InteractionFacts(NamedTuple):
    """A contact as somebody reports it. ``notes`` and ``next_step`` are free text; ``occurred_at`` None = now."""

    customer: CustomerRef
    kind: str
    direction: str
    occurred_at: datetime | None = None
    source: str | None = None
    external_id: str | None = None
    channel: str | None = None
    store: str | None = None
    staff_id: str | None = None
    outcome: str | None = None
    case_id: UUID | None = None
    notes: str | None = None
    next_step: str | None = None
    next_step_due_at: datetime | None = None


class Texts(NamedTuple):
    """The free text of an interaction, in clear."""

    notes: str | None
    next_step: str | None


_KNOWN = text(
    """
    select i.* from unnest(cast(:sources as text[]), cast(:external_ids as text[])) as n (source, external_id)
    join interaction i using (source, external_id)
    """
)


def record(session: Session, facts: InteractionFacts, by: str, now: datetime) -> tuple[Row[Any], bool]:
    """Record a contact and announce it; the row, and False if it was recorded before under this name.

    Raises Invalid ``customer_unknown``, ``interaction_half_named``, ``next_step_without_date``,
    ``occurred_in_the_future``; Gone; Conflict ``interaction_differs``.
    """
    outcome = record_many(session, [facts], by, now)[0]
    if outcome.problem is not None:
        raise outcome.problem
    assert outcome.id is not None
    return get(session, outcome.id), outcome.state == "recorded"


def record_many(session: Session, facts: Sequence[InteractionFacts], by: str, now: datetime) -> list[Outcome]:
    """Record up to some thousand contacts in a constant number of statements, each by itself; outcomes in their order."""
    owners = customers.resolve_and_lock(session, (one.customer for one in facts))
    outcomes: dict[int, Outcome] = {}
    waiting: dict[int, tuple[InteractionFacts, customers.Known]] = {}
    for position, one in enumerate(facts):
        try:
            _check(one, now)
            known = customers.owner_of(one.customer, owners, create=False)
        except Refusal as problem:
            outcomes[position] = Outcome("refused", problem=problem)
        else:
            assert known is not None
            waiting[position] = (one, known)
    while waiting:
        waiting = _round(session, waiting, outcomes, by, now)
    return [outcomes[position] for position in range(len(facts))]


def get(session: Session, interaction_id: UUID) -> Row[Any]:
    """Raises NotFound ``interaction_not_found``."""
    wanted = select(interaction).where(interaction.c.interaction_id == interaction_id)
    row = session.execute(wanted).one_or_none()
    if row is None:
        raise NotFound("interaction_not_found", "no such interaction")
    return row


def of_customer(
    session: Session,
    customer_id: UUID,
    after: tuple[datetime, UUID] | None,
    limit: int,
    kinds: Sequence[str] = (),
) -> Sequence[Row[Any]]:
    """Latest first, by ``(occurred_at, interaction_id)``."""
    order = (interaction.c.occurred_at, interaction.c.interaction_id)
    rows = select(interaction).where(interaction.c.customer_id == customer_id)
    if kinds:
        rows = rows.where(interaction.c.kind.in_(kinds))
    if after is not None:
        rows = rows.where(tuple_(*order) < tuple_(*after))
    return session.execute(rows.order_by(*(column.desc() for column in order)).limit(limit)).all()


def next_steps(
    session: Session,
    after: tuple[datetime, UUID] | None,
    limit: int,
    *,
    staff_ids: Sequence[str] = (),
    due_before: datetime | None = None,
    reach: Reach | None = None,
) -> Sequence[Row[Any]]:
    """What is still to be done, among the customers within ``reach``, by ``(next_step_due_at, interaction_id)``."""
    order = (interaction.c.next_step_due_at, interaction.c.interaction_id)
    rows = select(interaction).where(
        interaction.c.next_step_due_at.is_not(None), interaction.c.next_step_done_at.is_(None)
    )
    if staff_ids:
        rows = rows.where(interaction.c.staff_id.in_(staff_ids))
    if due_before is not None:
        rows = rows.where(interaction.c.next_step_due_at < due_before)
    if reach is not None:
        theirs = select(customer.c.customer_id).where(
            customer.c.customer_id == interaction.c.customer_id,
            customer.c.facets.bool_op("&&")(cast(list(facets_within(reach)), ARRAY(Text))),
        )
        rows = rows.where(theirs.exists())
    if after is not None:
        rows = rows.where(tuple_(*order) > tuple_(*after))
    return session.execute(rows.order_by(*order).limit(limit)).all()


def complete(session: Session, interaction_id: UUID, by: str, now: datetime) -> Row[Any]:
    """The next step was taken. Done twice changes nothing. Raises NotFound, Conflict ``no_next_step``."""
    table = interaction.c
    done = session.execute(
        update(interaction)
        .where(
            table.interaction_id == interaction_id,
            table.next_step_due_at.is_not(None),
            table.next_step_done_at.is_(None),
        )
        .values(next_step_done_at=now, next_step_done_by=by)
        .returning(interaction)
    ).one_or_none()
    if done is not None:
        return done
    row = get(session, interaction_id)
    if row.next_step_due_at is None:
        raise Conflict("no_next_step", "nothing was to be done after this contact")
    return row


def texts_of(session: Session, rows: Sequence[Row[Any]]) -> list[Texts]:
    """What was said and what comes next, in clear: for callers who may see personal data."""
    clear = iter(
        sealing.unseal_many(
            session,
            [
                (str(row.recorded_customer_id), _place(column, row.interaction_id), getattr(row, column))
                for row in rows
                for column in ("notes_sealed", "next_step_sealed")
            ],
        )
    )
    return [Texts(next(clear), next(clear)) for _ in rows]


def _check(facts: InteractionFacts, now: datetime) -> None:
    if facts.occurred_at is not None:
        pricing.check_time(facts.occurred_at, now)
    if (facts.source is None) != (facts.external_id is None):
        raise _invalid("external_id", "interaction_half_named", "give source and external_id, or neither")
    if facts.next_step is not None and facts.next_step_due_at is None:
        raise _invalid("next_step", "next_step_without_date", "say by when it is to be done")


def _round(
    session: Session,
    waiting: Mapping[int, tuple[InteractionFacts, customers.Known]],
    outcomes: dict[int, Outcome],
    by: str,
    now: datetime,
) -> dict[int, tuple[InteractionFacts, customers.Known]]:
    named = [one for one, _ in waiting.values() if one.source is not None]
    known = {}
    if named:
        rows = session.execute(
            _KNOWN,
            {"sources": [one.source for one in named], "external_ids": [one.external_id for one in named]},
        ).all()
        known = {
            (row.source, row.external_id): (row, texts)
            for row, texts in zip(rows, texts_of(session, rows), strict=True)
        }
    new: dict[Any, int] = {}
    again = {}
    for position, (one, owner) in waiting.items():
        name = (one.source, one.external_id) if one.source is not None else position
        if name in known:
            row, texts = known[name]
            outcomes[position] = _compared(one, owner, row, texts)
        elif new.setdefault(name, position) != position:
            again[position] = (one, owner)
    lost = _insert(session, {position: waiting[position] for position in new.values()}, outcomes, by, now)
    return again | lost


def _compared(one: InteractionFacts, owner: customers.Known, row: Row[Any], texts: Texts) -> Outcome:
    same = (
        all(getattr(one, field) == getattr(row, field) for field in _COARSE)
        and one.occurred_at in (None, row.occurred_at)
        and owner.customer_id == row.customer_id
        and ((one.notes or None), (one.next_step or None)) == texts
    )
    problem = None if same else Conflict("interaction_differs", "this contact was recorded with other facts")
    return Outcome("unchanged" if same else "differs", row.interaction_id, row.customer_id, problem)


def _insert(
    session: Session,
    new: Mapping[int, tuple[InteractionFacts, customers.Known]],
    outcomes: dict[int, Outcome],
    by: str,
    now: datetime,
) -> dict[int, tuple[InteractionFacts, customers.Known]]:
    """Record and announce; returns those whose name somebody else took in this moment."""
    if not new:
        return {}
    rows = {}
    texts = []
    for position, (one, owner) in new.items():
        interaction_id = uuid7()
        occurred_at = one.occurred_at or now
        rows[interaction_id] = (
            position,
            {
                "interaction_id": interaction_id,
                "source": one.source,
                "external_id": one.external_id,
                "customer_id": owner.customer_id,
                "recorded_customer_id": owner.recorded_customer_id,
                "occurred_at": occurred_at,
                "recorded_at": now,
                "recorded_by": by,
                "historical": customers.is_historical(session, occurred_at, now),
                "notes_sealed": None,
                "next_step_sealed": None,
                **{field: getattr(one, field) for field in _COARSE},
            },
        )
        for column, plain in (("notes_sealed", one.notes), ("next_step_sealed", one.next_step)):
            if plain:
                texts.append((interaction_id, column, str(owner.recorded_customer_id), plain))
    sealed = sealing.seal_many(
        session, [(subject, _place(column, id_), plain) for id_, column, subject, plain in texts]
    )
    for (id_, column, _, _), content in zip(texts, sealed, strict=True):
        rows[id_][1][column] = content
    inserted = set(
        session.scalars(
            insert(interaction).on_conflict_do_nothing().returning(interaction.c.interaction_id),
            [row for _, row in rows.values()],
        )
    )
    lost = {}
    for id_, (position, row) in rows.items():
        if id_ in inserted:
            outcomes[position] = Outcome("recorded", id_, row["customer_id"])
            _announce(session, row)
        else:
            lost[position] = new[position]
    return lost


def _announce(session: Session, row: Mapping[str, Any]) -> None:
    owner, recorded = row["customer_id"], row["recorded_customer_id"]
    told = {field: row[field] for field in InteractionRecorded.model_fields if field in row}
    announce(
        session,
        InteractionRecorded(**told | {"recorded_customer_id": recorded if recorded != owner else None}),
    )


def _place(column: str, interaction_id: UUID) -> str:
    return f"interaction.{column}:{interaction_id}"


def _invalid(field: str, code: str, message: str) -> Invalid:
    return Invalid(code, message, faults=[Fault(f"/{field}", code, message)])
