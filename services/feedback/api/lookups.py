"""What campaigns asks when it sends: links and texts, which are in no event"""

from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.feedback.api.dependencies import OwnSettings
from services.feedback.domain import cases, customers, invitations
from shared import languages
from shared.http.dependencies import Transaction
from shared.http.routing import Router

router = Router(prefix="/v1", tags=["lookups"])

Ids = Annotated[list[UUID], Field(min_length=1, max_length=1_000)]


class InvitationIds(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"invitation_ids": ["0192b3c4-0000-7000-8000-000000000001"]}]},
    )

    invitation_ids: Ids


class InvitationLink(BaseModel):
    invitation_id: UUID
    url: str
    language: str


class InvitationLinks(BaseModel):
    items: list[InvitationLink]


class MessageIds(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"message_ids": ["0192b3c4-0000-7000-8000-000000000001"]}]},
    )

    message_ids: Ids


class CaseMessageText(BaseModel):
    message_id: UUID
    text: str
    case_number: str
    language: str


class CaseMessageTexts(BaseModel):
    items: list[CaseMessageText]


@router.post("/invitation-links/lookup", scopes=["links:read"], response_model=InvitationLinks)
def look_up_invitation_links(body: InvitationIds, session: Transaction, settings: OwnSettings) -> Any:
    """The links of invitations that can still be answered; one that is missing from the answer is not to be sent."""
    rows = invitations.languages_of(session, body.invitation_ids)
    return InvitationLinks(
        items=[
            InvitationLink(
                invitation_id=row.invitation_id,
                url=settings.answer_url(row.invitation_id),
                language=languages.chosen(None, row.language, None),
            )
            for row in rows
        ]
    )


@router.post("/case-messages/lookup", scopes=["links:read"], response_model=CaseMessageTexts)
def look_up_case_messages(body: MessageIds, session: Transaction) -> Any:
    """The texts of replies to customers; a note is never in the answer, nor what was erased."""
    rows = cases.replies(session, body.message_ids)
    spoken = customers.languages(session, (row.customer_id for row in rows))
    return CaseMessageTexts(
        items=[
            CaseMessageText(
                message_id=row.message_id,
                text=text,
                case_number=row.number,
                language=languages.chosen(None, spoken.get(row.customer_id), None),
            )
            for row, text in zip(rows, cases.texts(session, rows), strict=True)
            if text is not None
        ]
    )
