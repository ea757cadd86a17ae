"""What campaigns asks the other services, at the moment of use; nothing of it is kept."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, TypeAdapter

from shared.auth.client import ServiceClient
from shared.settings import Settings


class ContactPoint(BaseModel):
    """Where a customer may be reached, or the ``reason`` why not; good until ``valid_until`` (60 s)."""

    customer_id: UUID
    address: str | None
    reason: str | None = None
    name: str | None = None
    language: str | None = None
    consent_id: UUID | None = None
    valid_until: datetime | None = None
    preferences_url: str | None = None
    unsubscribe_url: str | None = None
    reference: str | None = None


class InvitationLink(BaseModel):
    """The link of a survey invitation: a credential."""

    invitation_id: UUID
    url: str
    language: str | None = None


class ConfirmationLink(BaseModel):
    """The link by which a customer confirms something to profile: a credential."""

    confirmation_id: UUID
    url: str
    language: str | None = None


class CaseMessage(BaseModel):
    """What staff wrote to a customer."""

    message_id: UUID
    text: str
    case_number: str
    language: str | None = None


_CONTACT_POINTS = TypeAdapter(list[ContactPoint])
_LINKS = TypeAdapter(list[InvitationLink])
_CONFIRMATIONS = TypeAdapter(list[ConfirmationLink])
_MESSAGES = TypeAdapter(list[CaseMessage])


@dataclass(frozen=True)
class Neighbours:
    """The services that campaigns may ask. Every method raises Unavailable or CallRefused."""

    profile: ServiceClient
    feedback: ServiceClient

    def contact_points(
        self, customer_ids: Sequence[UUID], purpose: str, channel: str
    ) -> dict[UUID, ContactPoint]:
        """Asked of profile, which records the disclosure."""
        asked: dict[str, Any] = {
            "customer_ids": [str(each) for each in dict.fromkeys(customer_ids)],
            "purpose": purpose,
            "channel": channel,
        }
        reply = self.profile.post("/v1/contact-points/lookup", asked)
        return {each.customer_id: each for each in _CONTACT_POINTS.validate_python(reply["items"])}

    def suppress_dead(
        self, customer_id: UUID, channel: str, reference: str | None, *, idempotency_key: str
    ) -> None:
        """Tell profile that nobody can be reached at the address that it gave for this customer."""
        told = {"customer_id": str(customer_id), "channel": channel, "reason": "bounce"}
        if reference is not None:
            told["reference"] = reference
        self.profile.post("/v1/suppressions", told, idempotency_key=idempotency_key)

    def invitation_links(self, invitation_ids: Sequence[UUID]) -> dict[UUID, InvitationLink]:
        asked = {"invitation_ids": [str(each) for each in invitation_ids]}
        reply = self.feedback.post("/v1/invitation-links/lookup", asked)
        return {each.invitation_id: each for each in _LINKS.validate_python(reply["items"])}

    def confirmation_links(self, confirmation_ids: Sequence[UUID]) -> dict[UUID, ConfirmationLink]:
        asked = {"confirmation_ids": [str(each) for each in confirmation_ids]}
        reply = self.profile.post("/v1/confirmation-links/lookup", asked)
        return {each.confirmation_id: each for each in _CONFIRMATIONS.validate_python(reply["items"])}

    def case_messages(self, message_ids: Sequence[UUID]) -> dict[UUID, CaseMessage]:
        asked = {"message_ids": [str(each) for each in message_ids]}
        reply = self.feedback.post("/v1/case-messages/lookup", asked)
        return {each.message_id: each for each in _MESSAGES.validate_python(reply["items"])}


@contextmanager
def neighbours(settings: Settings) -> Iterator[Neighbours]:
    """Connections to the other services for one batch of work."""
    with ServiceClient(settings, "profile") as profile, ServiceClient(settings, "feedback") as feedback:
        yield Neighbours(profile, feedback)
