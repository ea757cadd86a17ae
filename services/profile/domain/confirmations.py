"""What only the holder of a signed link can answer: to agree (double opt-in), or to bring the own data up to date.

Asking announces an event with neither link nor address; the sender makes a message of it and asks for the link at that
moment. The answer is the proof: whoever holds the link reads what is sent to the address it was asked for.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, func, insert, select, tuple_, update
from sqlalchemy.orm import Session

from services.profile.domain import consent_texts, consents, customer_profiles, suppressions
from services.profile.domain.consents import GivenConsent
from services.profile.domain.links import links_of, settings_of
from services.profile.rules.consents import ADDRESSES
from services.profile.tables import confirmation, customer
from shared.errors import Conflict, Gone, NotFound
from shared.events.profile import ConfirmationRequested
from shared.ids import uuid7
from shared.messaging.outbox import announce

# Nobody's mailbox is filled by whoever asks again and again in the customer's name.
PAUSE = timedelta(hours=1)

REFRESH = "refresh"


class Asked(NamedTuple):
    """A confirmation as its link shows it. ``state``: open, confirmed, expired, or withdrawn (the customer was erased
    or has another address now)."""

    row: Row[Any]
    state: str
    language: str | None


def ask(
    session: Session,
    customer_id: UUID,
    kind: str,
    channel: str,
    purposes: Sequence[str],
    by: str,
    now: datetime,
) -> Row[Any]:
    """Ask a customer, on a channel, to agree to ``purposes`` on it or to refresh the own data. Raises NotFound, Gone,
    Conflict ``no_contact_point``, ``asked_recently`` (this was asked within the hour)."""
    owner = customer_profiles.lock(session, customer_id)
    address = suppressions.address_of(session, owner, channel)
    if address is None and channel in ADDRESSES:
        raise Conflict("no_contact_point", "this customer has no address on this channel")
    if asked_recently(session, owner.customer_id, kind, channel, now):
        raise Conflict("asked_recently", "the customer was asked this within the last hour")
    token = suppressions.address_token(session, channel, address) if address is not None else None
    row = session.execute(
        insert(confirmation)
        .values(
            confirmation_id=uuid7(),
            kind=kind,
            customer_id=owner.customer_id,
            recorded_customer_id=customer_id,
            channel=channel,
            purposes=consent_texts.versions_shown(session, purposes),
            address_token=token,
            requested_at=now,
            requested_by=by,
            expires_at=now + timedelta(days=settings_of(session).confirmation_days),
        )
        .returning(confirmation)
    ).one()
    announce(
        session,
        ConfirmationRequested(
            customer_id=owner.customer_id,
            recorded_customer_id=customer_id if customer_id != owner.customer_id else None,
            confirmation_id=row.confirmation_id,
            kind=kind,
            channel=channel,
            effective_at=now,
            expires_at=row.expires_at,
        ),
    )
    return row


def asked_recently(session: Session, customer_id: UUID, kind: str, channel: str, now: datetime) -> bool:
    """Whether a request of this kind is open and younger than the pause."""
    return bool(
        session.scalar(
            select(func.count())
            .select_from(confirmation)
            .where(
                confirmation.c.customer_id == customer_id,
                confirmation.c.kind == kind,
                confirmation.c.channel == channel,
                confirmation.c.confirmed_at.is_(None),
                confirmation.c.requested_at > now - PAUSE,
            )
        )
    )


def asked(session: Session, confirmation_id: UUID | None, now: datetime) -> Asked | None:
    """What a link asks; None for one of nothing that is known."""
    if confirmation_id is None:
        return None
    row = session.execute(
        select(confirmation).where(confirmation.c.confirmation_id == confirmation_id)
    ).one_or_none()
    if row is None:
        return None
    try:
        whose = customer_profiles.get(session, row.customer_id)
    except (Gone, NotFound):
        return Asked(row, "withdrawn", None)
    return Asked(row, _state(session, row, whose, now), whose.language)


def confirm(session: Session, confirmation_id: UUID, now: datetime) -> Row[Any]:
    """The holder of the link agrees: each purpose that was asked for is granted. Raises NotFound, Gone
    (``confirmation_expired``, ``…_withdrawn``), Conflict ``confirmed_already``."""
    row, _ = take(session, confirmation_id, now)
    for purpose, version in sorted(row.purposes.items()):
        given = GivenConsent(
            "granted",
            text_version=version,
            evidence=f"Confirmed by the link {row.confirmation_id}, which {row.requested_by} asked for at"
            f" {row.requested_at.isoformat()}.",
            collected_where="signed link",
        )
        consents.record(session, row.recorded_customer_id, purpose, row.channel, given, "customer")
    return row


def take(session: Session, confirmation_id: UUID, now: datetime) -> tuple[Row[Any], Row[Any]]:
    """Use a link up: the request, and the customer, who is held. Raises as ``confirm``."""
    found = session.execute(
        select(confirmation.c.customer_id).where(confirmation.c.confirmation_id == confirmation_id)
    ).one_or_none()
    if found is None:
        raise NotFound("confirmation_not_found", "no such request")
    whose = customer_profiles.lock(session, found.customer_id)
    row = session.execute(
        select(confirmation).where(confirmation.c.confirmation_id == confirmation_id).with_for_update()
    ).one()
    state = _state(session, row, whose, now)
    if state == "confirmed":
        raise Conflict("confirmed_already", "this link was used before")
    if state != "open":
        raise Gone(f"confirmation_{state}", "this link is no longer valid")
    session.execute(
        update(confirmation).where(confirmation.c.confirmation_id == confirmation_id).values(confirmed_at=now)
    )
    return row, whose


def page(
    session: Session, customer_id: UUID, after: tuple[Any, ...] | None, limit: int
) -> Sequence[Row[Any]]:
    """What a customer was asked, the latest first, by ``(requested_at, confirmation_id)``."""
    order = (confirmation.c.requested_at, confirmation.c.confirmation_id)
    rows = select(confirmation).where(confirmation.c.customer_id == customer_id)
    if after is not None:
        rows = rows.where(tuple_(*order) < tuple_(*after))
    return session.execute(rows.order_by(*(column.desc() for column in order)).limit(limit)).all()


class Link(NamedTuple):
    """For the message that carries it."""

    confirmation_id: UUID
    kind: str
    url: str
    language: str | None


def links(session: Session, confirmation_ids: Sequence[UUID], now: datetime) -> list[Link]:
    """The links of requests that can still be answered, for the sender at the moment of sending."""
    rows = session.execute(
        select(confirmation, customer.c.language)
        .join(customer, customer.c.customer_id == confirmation.c.customer_id)
        .where(
            confirmation.c.confirmation_id.in_(confirmation_ids),
            confirmation.c.confirmed_at.is_(None),
            confirmation.c.expires_at > now,
            customer.c.state == "active",
        )
        .order_by(confirmation.c.confirmation_id)
    ).all()
    made = links_of(session)
    return [
        Link(
            row.confirmation_id,
            row.kind,
            made.to_confirm(row.confirmation_id, refresh=row.kind == REFRESH),
            row.language,
        )
        for row in rows
    ]


def state_at(row: Row[Any], now: datetime) -> str:
    """``open``, ``confirmed`` or ``expired``, as far as the request itself knows."""
    if row.confirmed_at is not None:
        return "confirmed"
    return "expired" if row.expires_at <= now else "open"


def _state(session: Session, row: Row[Any], whose: Row[Any], now: datetime) -> str:
    state = state_at(row, now)
    if state == "open" and row.address_token is not None:
        address = suppressions.address_of(session, whose, row.channel)
        token = suppressions.address_token(session, row.channel, address) if address is not None else None
        if token != bytes(row.address_token):
            return "withdrawn"
    return state
