"""What a customer chooses on the own preference page: each topic and channel, and everything at once."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.orm import Session

from services.profile.domain import consent_texts, consents, customer_profiles, suppressions
from services.profile.domain.consents import GivenConsent
from services.profile.rules.consents import ADDRESSES, CHANNELS, PURPOSES, state_of

WHERE = "preference page"
BY = "customer"

Choice = tuple[str, str]
"""Purpose and channel."""


class Topic(NamedTuple):
    """One purpose with its text as it is shown, and per channel whether it is granted."""

    purpose: str
    text: consent_texts.Shown
    granted: Mapping[str, bool]


def topics(session: Session, row: Row[Any]) -> list[Topic]:
    """What there is to choose: every purpose, on the channels that reach the customer or were spoken of."""
    states = _states(session, row.customer_id)
    reachable = {
        channel for channel in ADDRESSES if suppressions.address_of(session, row, channel) is not None
    }
    shown = [
        channel
        for channel in CHANNELS
        if channel in reachable or any((purpose, channel) in states for purpose in PURPOSES)
    ]
    if not shown:
        return []
    texts = consent_texts.shown(session, PURPOSES)
    return [
        Topic(
            purpose,
            texts[purpose],
            {channel: states.get((purpose, channel)) == "granted" for channel in shown},
        )
        for purpose in PURPOSES
    ]


def choose(
    session: Session,
    customer_id: UUID,
    agree: Collection[Choice],
    agreed: Collection[Choice],
    versions: Mapping[str, str],
) -> None:
    """Record what was changed on the page: ``agree`` is what is ticked now, ``agreed`` what was when it was opened, so
    that a page left open does not bring back what was withdrawn elsewhere. Raises NotFound, Gone."""
    customer_profiles.lock(session, customer_id)
    current = consent_texts.versions_shown(session, {purpose for purpose, _ in agree})
    for purpose, channel in sorted(set(agree) - set(agreed)):
        given = GivenConsent(
            "granted",
            text_version=versions.get(purpose, current[purpose]),
            evidence="Ticked on the preference page, opened by a signed link.",
            collected_where=WHERE,
        )
        consents.record(session, customer_id, purpose, channel, given, BY)
    for purpose, channel in sorted(set(agreed) - set(agree)):
        withdraw(session, customer_id, purpose, channel, "Unticked on the preference page.", WHERE)


def withdraw_all(session: Session, customer_id: UUID) -> None:
    """Take back whatever is granted. Raises NotFound, Gone."""
    owner = customer_profiles.lock(session, customer_id).customer_id
    for (purpose, channel), state in sorted(_states(session, owner).items()):
        if state == "granted":
            withdraw(
                session, customer_id, purpose, channel, "Stopped everything on the preference page.", WHERE
            )


def withdraw(
    session: Session, customer_id: UUID, purpose: str, channel: str, evidence: str, where: str
) -> None:
    """The customer takes a consent back, whether or not one was given. Raises NotFound, Gone."""
    given = GivenConsent("withdrawn", evidence=evidence, collected_where=where)
    consents.record(session, customer_id, purpose, channel, given, BY)


def _states(session: Session, customer_id: UUID) -> dict[Choice, str | None]:
    rows = consents.all_in_force(session, customer_id)
    now = consents.clock(session)
    return {(row.purpose, row.channel): state_of(row, now) for row in rows}
