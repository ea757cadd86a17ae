"""Offers: what a customer may use at the next purchase."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import select, text, tuple_
from sqlalchemy.orm import Session

from services.campaigns.domain import deliveries, reports
from services.campaigns.domain.deliveries import Delivery
from services.campaigns.rules import earning
from services.campaigns.settings import CampaignsSettings
from services.campaigns.tables import customer, offer
from shared.customers import lock_owners, whose
from shared.events.campaigns import OfferIssued
from shared.events.scoring import TierChanged
from shared.ids import uuid7
from shared.messaging.outbox import announce

TIER_UPGRADE = "tier_upgrade"
PERCENTAGE = "percentage"

# Without 0, O, 1, I, L: codes are read out on the phone.
_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"


def congratulate(session: Session, events: Sequence[TierChanged]) -> None:
    """An offer and a message for everybody who rose to a higher tier just now.

    Nobody is congratulated on a migration (``initial``) or on old facts (``historical``): those are counted.
    """
    settings = cast("CampaignsSettings", session.info["settings"])
    risen = [
        event
        for event in events
        if event.tier in settings.tier_offers
        and earning.is_upgrade(event.previous_tier, event.tier, settings.multipliers)
    ]
    owners = lock_owners(session, customer, {event.customer_id for event in risen}).active
    risen = [event for event in risen if event.customer_id in owners]
    reports.hold_back(session, TIER_UPGRADE, "initial", sum(event.initial for event in risen))
    reports.hold_back(
        session, TIER_UPGRADE, "historical", sum(event.historical and not event.initial for event in risen)
    )
    fresh = [event for event in risen if not event.initial and not event.historical]
    if not fresh:
        return

    ids = [uuid7() for _ in fresh]
    expiries = [event.effective_at + settings.tier_offer_validity for event in fresh]
    issued = set(
        session.scalars(
            _ISSUE,
            {
                "offers": ids,
                "campaign": TIER_UPGRADE,
                "customers": [owners[event.customer_id] for event in fresh],
                "recorded": [event.customer_id for event in fresh],
                "entries": [str(event.id) for event in fresh],
                "kind": PERCENTAGE,
                "percents": [settings.tier_offers[event.tier] for event in fresh],
                "tiers": [event.tier for event in fresh],
                "codes": [_code() for _ in fresh],
                "expiries": expiries,
            },
        )
    )
    new = [each for each in zip(ids, fresh, expiries, strict=True) if each[0] in issued]
    announce(
        session,
        *(
            OfferIssued(
                **whose(owners[event.customer_id], event.customer_id),
                offer_id=offer_id,
                campaign_id=TIER_UPGRADE,
                kind=PERCENTAGE,
                effective_at=event.effective_at,
                expires_at=expires_at,
            ).because(event)
            for offer_id, event, expires_at in new
        ),
    )
    deliveries.plan(
        session,
        [
            Delivery(
                TIER_UPGRADE,
                owners[event.customer_id],
                event.customer_id,
                str(event.id),
                "email",
                "marketing",
                offer_id,
                event.id,
            )
            for offer_id, event, _ in new
        ],
    )


def of_customer(
    session: Session, customer_id: UUID, after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[Any]:
    """The customer's offers, the latest first."""
    query = select(
        offer.c.offer_id.label("id"),
        offer.c.campaign_id,
        offer.c.kind,
        offer.c.percent,
        offer.c.tier,
        offer.c.code,
        offer.c.issued_at,
        offer.c.expires_at,
    ).where(offer.c.customer_id == customer_id)
    if after is not None:
        query = query.where(tuple_(offer.c.issued_at, offer.c.offer_id) < after)
    return session.execute(
        query.order_by(offer.c.issued_at.desc(), offer.c.offer_id.desc()).limit(limit)
    ).all()


def of_ids(session: Session, offer_ids: Sequence[UUID]) -> dict[UUID, Any]:
    found = session.execute(select(offer).where(offer.c.offer_id.in_(offer_ids)))
    return {row.offer_id: row for row in found}


def _code() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(12))


_ISSUE = text("""
    insert into offer
        (offer_id, campaign_id, customer_id, recorded_customer_id, entry, kind, percent, tier, code, expires_at)
    select offer_id, :campaign, customer_id, recorded_customer_id, entry, :kind, percent, tier, code, expires_at
    from unnest(
        cast(:offers as uuid[]), cast(:customers as uuid[]), cast(:recorded as uuid[]), cast(:entries as text[]),
        cast(:percents as integer[]), cast(:tiers as text[]), cast(:codes as text[]), cast(:expiries as timestamptz[])
    ) as each (offer_id, customer_id, recorded_customer_id, entry, percent, tier, code, expires_at)
    on conflict (campaign_id, customer_id, entry) do nothing
    returning offer_id
""")
