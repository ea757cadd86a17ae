"""Referrals: who brought whom, and whether it came to anything.

A referral's state follows from facts alone – what the referee bought since and has not brought back, whether both sides
are one customer, what a review decided – and is derived anew whenever one of them changed (services/profile/reactions).
So it does not matter in which order facts come, and undoing a merge or a return undoes what followed from it.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, insert, select, text, tuple_, update
from sqlalchemy.orm import Session

from services.profile.domain import customers, pricing, referral_codes, referral_flags
from services.profile.domain.referral_flags import Sides
from services.profile.rules.facts import CustomerRef
from services.profile.rules.referrals import needs_review
from services.profile.tables import referral, referral_party
from shared.errors import Conflict, NotFound
from shared.events.profile import PurchaseFact
from shared.events.profile_behaviour import ReferralRecorded
from shared.ids import uuid7
from shared.messaging.outbox import announce


class ReferralFacts(NamedTuple):
    """Somebody came with a code. ``device_id`` is the referee's, if it is known; ``referred_at`` None = now."""

    code: str
    referee: CustomerRef
    referred_at: datetime | None = None
    device_id: str | None = None


_SIDES = """
    select r.*, p.customer_id as referrer_id, p.recorded_customer_id as recorded_referrer_id,
        e.customer_id as referee_id, e.recorded_customer_id as recorded_referee_id
    from referral r
    join referral_party p on p.referral_id = r.referral_id and p.role = 'referrer'
    join referral_party e on e.referral_id = r.referral_id and e.role = 'referee'
    """
_LOCK = text(
    """
    select referral_id from referral where referral_id = any(cast(:ids as uuid[])) order by referral_id
    for no key update
    """
)
# A purchase counts as long as something of it is left. Of a referral that was voided by a return, the next purchase is
# a first net purchase again.
_DERIVE = text(
    f"""
    with sides as materialized ({_SIDES} where r.referral_id = any(cast(:ids as uuid[]))),
    facts as (
        select s.*, b.bought, q.purchase_id as counted_id from sides s
        left join lateral (
            select true as bought from purchase p where p.customer_id = s.referee_id and p.occurred_at >= s.referred_at
                and (s.qualify_until is null or p.occurred_at < s.qualify_until) limit 1
        ) b on true
        left join lateral (
            select p.purchase_id from purchase p where p.customer_id = s.referee_id and p.occurred_at >= s.referred_at
                and (s.qualify_until is null or p.occurred_at < s.qualify_until)
                and p.accounting_total_minor > p.accounting_returned_minor
            order by p.occurred_at, p.purchase_id limit 1
        ) q on true
    ), derived as (
        select f.*, case
            when review = 'rejected' then 'voided'
            when referrer_id = referee_id and review is distinct from 'approved' then 'voided'
            when counted_id is not null then case review when 'required' then 'pending' else 'qualified' end
            when bought then 'voided'
            when qualify_until <= cast(:now as timestamptz) then 'voided'
            else 'pending' end as derived
        from facts f
    )
    update referral r set state = d.derived, state_since = cast(:now as timestamptz),
        purchase_id = case d.derived when 'qualified' then d.counted_id end
    from derived d
    where r.referral_id = d.referral_id
        and (r.state, r.purchase_id)
            is distinct from (d.derived, case d.derived when 'qualified' then d.counted_id end)
    returning r.referral_id, d.state as previous_state, r.state, r.flags, r.review, r.purchase_id, r.referred_at,
        d.referrer_id, d.recorded_referrer_id, d.referee_id, d.recorded_referee_id
    """
)
_CONCERNED = text(
    """
    select distinct p.referral_id from referral_party p where p.customer_id in (
        select coalesce(merged_into, customer_id) from customer where customer_id = any(cast(:ids as uuid[]))
    )
    """
)
_OVERDUE = text(
    """
    select referral_id from referral where state = 'pending' and qualify_until <= now()
    order by referral_id limit :most
    """
)


def record(session: Session, facts: ReferralFacts, now: datetime) -> tuple[Row[Any], bool]:
    """Record that a customer came with another's code; the referral with its sides, and False if it was known.

    Raises Invalid ``referral_code_unknown``, ``customer_unknown``, ``occurred_in_the_future``; Gone; Conflict
    ``already_referred``.
    """
    referred_at = facts.referred_at or now
    pricing.check_time(referred_at, now)
    code = referral_codes.find(session, facts.code)
    referrer_ref = CustomerRef(customer_id=code.recorded_customer_id)
    owners = customers.resolve_and_lock(session, [referrer_ref, facts.referee])
    referrer = customers.owner_of(referrer_ref, owners, create=False)
    referee = customers.owner_of(facts.referee, owners, create=False)
    assert referrer is not None
    assert referee is not None
    terms = referral_codes.programme(session)
    # Whoever counts against a referrer's limit waits here for whoever is counted.
    _hold_codes(session, referrer.customer_id)
    if known := _known(session, referee):
        if known.code == code.code:
            return known, False
        raise Conflict("already_referred", "this customer was brought by somebody before")

    sides = Sides(referrer.customer_id, referee.customer_id, referred_at)
    flags, device = referral_flags.of(session, sides, facts.device_id, terms, now)
    referral_id = uuid7()
    within = terms.qualify_within_days
    session.execute(
        insert(referral).values(
            referral_id=referral_id,
            code=code.code,
            flags=flags,
            review="required" if needs_review(flags) else None,
            device_token=device,
            referred_at=referred_at,
            recorded_at=now,
            qualify_until=None if within is None else referred_at + timedelta(days=within),
            state_since=now,
        )
    )
    session.execute(
        insert(referral_party).values(
            [
                {
                    "referral_id": referral_id,
                    "role": role,
                    "customer_id": side.customer_id,
                    "recorded_customer_id": side.recorded_customer_id,
                    "referred_at": referred_at,
                }
                for role, side in (("referrer", referrer), ("referee", referee))
            ]
        )
    )
    row = get(session, referral_id)
    historical = customers.is_historical(session, referred_at, now)
    _announce(session, row, None, now, historical=historical)
    if derive(session, [referral_id], now):
        row = get(session, referral_id)
    return row, True


def derive(
    session: Session,
    ids: Collection[UUID],
    now: datetime,
    causes: Mapping[UUID, PurchaseFact] | None = None,
) -> int:
    """Bring the states of these referrals up to date and announce what changed; returns how many changed.

    ``causes`` are the facts that may have moved them, by the referee under whom they were recorded. The referrals are
    locked first and the facts read after, so that of two at once the later sees what the earlier saw, and more.
    """
    if not ids:
        return 0
    wanted = {"ids": sorted(ids), "now": now}
    session.execute(_LOCK, wanted)
    rows = session.execute(_DERIVE, wanted).all()
    for row in sorted(rows, key=lambda row: row.referral_id):
        cause = (causes or {}).get(row.recorded_referee_id)
        effective_at = now if cause is None else cause.recorded_at
        historical = cause is not None and cause.historical
        _announce(session, row, row.previous_state, effective_at, historical=historical, cause=cause)
    return len(rows)


def concerned(session: Session, customer_ids: Collection[UUID]) -> Sequence[UUID]:
    """The referrals on whose sides these customers, or who they answer as, stand now."""
    return session.scalars(_CONCERNED, {"ids": sorted(customer_ids)}).all()


def sweep(session: Session, most: int, now: datetime) -> int:
    """Void what did not qualify in time, up to ``most``; returns how many were looked at."""
    ids = session.scalars(_OVERDUE, {"most": most}).all()
    derive(session, ids, now)
    return len(ids)


def review(session: Session, referral_id: UUID, decision: str, by: str, now: datetime) -> Row[Any]:
    """Somebody looked: ``approved`` counts in spite of its flags, ``rejected`` counts for nothing. Raises NotFound."""
    done = session.execute(
        update(referral)
        .where(referral.c.referral_id == referral_id)
        .values(review=decision, reviewed_at=now, reviewed_by=by)
        .returning(referral.c.referral_id)
    ).one_or_none()
    if done is None:
        raise _not_found()
    derive(session, [referral_id], now)
    return get(session, referral_id)


def get(session: Session, referral_id: UUID) -> Row[Any]:
    """A referral with ``referrer_id`` and ``referee_id``. Raises NotFound ``referral_not_found``."""
    found = session.execute(text(f"{_SIDES} where r.referral_id = :id"), {"id": referral_id}).one_or_none()
    if found is None:
        raise _not_found()
    return found


def of_customer(
    session: Session,
    customer_id: UUID,
    role: str,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> Sequence[Row[Any]]:
    """Those in which a customer is the referrer or the referee, latest first, by ``(referred_at, referral_id)``."""
    party = referral_party.c
    order = (party.referred_at, party.referral_id)
    ids = select(party.referral_id).where(party.customer_id == customer_id, party.role == role)
    if after is not None:
        ids = ids.where(tuple_(*order) < tuple_(*after))
    found = session.scalars(ids.order_by(*(column.desc() for column in order)).limit(limit)).all()
    return _in_order(session, found)


def for_review(session: Session, after: tuple[datetime, UUID] | None, limit: int) -> Sequence[Row[Any]]:
    """Flagged ones that nobody looked at yet, oldest first, by ``(recorded_at, referral_id)``."""
    order = (referral.c.recorded_at, referral.c.referral_id)
    ids = select(referral.c.referral_id).where(referral.c.review == "required")
    if after is not None:
        ids = ids.where(tuple_(*order) > tuple_(*after))
    return _in_order(session, session.scalars(ids.order_by(*order).limit(limit)).all())


def _in_order(session: Session, ids: Sequence[UUID]) -> list[Row[Any]]:
    statement = text(f"{_SIDES} where r.referral_id = any(cast(:ids as uuid[]))")
    rows = {row.referral_id: row for row in session.execute(statement, {"ids": list(ids)})}
    return [rows[referral_id] for referral_id in ids]


def _known(session: Session, referee: customers.Known) -> Row[Any] | None:
    """The referral by which somebody came, under any of the names it answers to."""
    statement = text(
        f"{_SIDES} where e.customer_id = :owner or e.recorded_customer_id = :recorded"
        " order by r.referred_at, r.referral_id limit 1"
    )
    values = {"owner": referee.customer_id, "recorded": referee.recorded_customer_id}
    return session.execute(statement, values).one_or_none()


def _hold_codes(session: Session, referrer_id: UUID) -> None:
    statement = text(
        "select code from referral_code where customer_id = :owner order by code for no key update"
    )
    session.execute(statement, {"owner": referrer_id})


def _announce(
    session: Session,
    row: Row[Any],
    previous_state: str | None,
    effective_at: datetime,
    *,
    historical: bool,
    cause: PurchaseFact | None = None,
) -> None:
    """Under both keys; each copy says on which side its customer is."""
    for role, owner, recorded in (
        ("referrer", row.referrer_id, row.recorded_referrer_id),
        ("referee", row.referee_id, row.recorded_referee_id),
    ):
        event = ReferralRecorded(
            customer_id=owner,
            recorded_customer_id=recorded if recorded != owner else None,
            referral_id=row.referral_id,
            role=role,
            referrer_id=row.referrer_id,
            referee_id=row.referee_id,
            state=row.state,
            previous_state=previous_state,
            flags=tuple(row.flags),
            review=row.review,
            purchase_id=row.purchase_id,
            referred_at=row.referred_at,
            effective_at=effective_at,
            historical=historical,
        )
        announce(session, event if cause is None else event.because(cause))


def _not_found() -> NotFound:
    return NotFound("referral_not_found", "no such referral")
