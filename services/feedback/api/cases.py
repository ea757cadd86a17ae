"""/cases"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy import Row
from sqlalchemy.orm import Session

from services.feedback.domain import cases, customers
from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.fields import Moment
from shared.http.idempotency import Once
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router
from shared.http.versions import IfMatch, check_version, etag

router = Router(prefix="/v1/cases", tags=["cases"])

Subject = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=20_000, strip_whitespace=True)]
Category = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,49}$")]


class CaseIn(BaseModel):
    """``text`` is what the customer said; it becomes the first message of the case."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "customer_id": "0192b3c4-0000-7000-8000-000000000001",
                    "subject": "Cup arrived broken",
                    "text": "Two of the six cups were broken.",
                    "category": "complaint",
                    "channel": "phone",
                }
            ]
        },
    )

    customer_id: UUID
    subject: Subject
    text: Text | None = None
    category: Category = Field(
        default="complaint", description="complaint, question, request, or one of your own"
    )
    severity: Literal["low", "normal", "high", "urgent"] = "normal"
    channel: Literal["web", "app", "email", "phone", "chat", "social", "store"] = "web"
    purchase_id: UUID | None = Field(default=None, description="the purchase it is about")


class MessageIn(BaseModel):
    """``reply`` goes out to the customer, ``note`` stays inside, ``customer`` records what the customer said."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"text": "We are sending you two new ones."}]}
    )

    text: Text
    kind: Literal["reply", "note", "customer"] = "reply"


class CaseOut(BaseModel):
    """``first_response_due_at`` and ``first_responded_at`` are of the current opening: reopening starts the clock
    again. ``subject`` is null once the customer has been erased."""

    id: UUID
    number: str
    customer_id: UUID
    subject: str | None
    category: str
    severity: str
    channel: str
    state: str
    purchase_id: UUID | None
    answer_id: UUID | None
    tier: str | None
    opened_at: datetime
    opened_by: str | None
    first_response_due_at: datetime
    first_responded_at: datetime | None
    resolved_at: datetime | None
    reopened_count: int
    version: int


class MessageOut(BaseModel):
    """``text`` is null once the customer has been erased."""

    id: UUID
    case_id: UUID
    kind: str
    text: str | None
    author: str | None
    written_at: datetime


@router.get("", scopes=["cases:read"], response_model=PageOf[CaseOut])
def list_cases(
    session: Transaction,
    page: Page,
    customer_id: UUID | None = None,
    state: Annotated[list[Literal["open", "resolved"]] | None, Query(description="repeat for OR")] = None,
    first_response_due_at_lt: Annotated[
        Moment | None,
        Query(description="only those without a first response that are due before this moment"),
    ] = None,
) -> Any:
    """The cases, newest first. A merged customer's are its winner's."""
    rows = cases.listed(
        session,
        customer_id=None if customer_id is None else customers.answering(session, customer_id),
        states=state or (),
        due_before=first_response_due_at_lt,
        after=page.after(("opened_at", "id")),
        most=page.limit + 1,
    )
    return page_of(CaseOut, _cases(session, rows), page, key=lambda case: (case.opened_at, case.id))


@router.post("", status_code=201, scopes=["cases:write"], response_model=CaseOut)
def open_case(
    body: CaseIn, session: Transaction, now: Now, caller: Caller_, once: Once, response: Response
) -> Any:
    """Open a case; the first response is due by what the customer's tier is promised."""

    def opened() -> CaseOut:
        values = body.model_dump() | {"customer_id": customers.lock(session, body.customer_id)}
        return _shown(session, response, cases.open_case(session, **values, opened_by=caller.name, now=now))

    return once(CaseOut, opened)


@router.get("/{case_id}", scopes=["cases:read"], response_model=CaseOut)
def get_case(case_id: UUID, session: Transaction, response: Response) -> Any:
    """One case."""
    return _shown(session, response, cases.find(session, case_id))


@router.get("/{case_id}/messages", scopes=["cases:read"], response_model=PageOf[MessageOut])
def list_case_messages(case_id: UUID, session: Transaction, page: Page) -> Any:
    """The thread of a case, oldest first."""
    cases.find(session, case_id)
    rows = cases.messages(session, case_id, page.after(("written_at", "id")), page.limit + 1)
    texts = cases.texts(session, rows)
    shown = [_message(row, text) for row, text in zip(rows, texts, strict=True)]
    return page_of(MessageOut, shown, page, key=lambda message: (message.written_at, message.id))


@router.post("/{case_id}/messages", status_code=201, scopes=["cases:write"], response_model=MessageOut)
def add_case_message(
    case_id: UUID, body: MessageIn, session: Transaction, now: Now, caller: Caller_, once: Once
) -> Any:
    """Answer the customer (sent by campaigns), or write a note."""

    def added() -> MessageOut:
        case = cases.find(session, case_id, lock=True)
        return _message(cases.add_message(session, case, body.kind, body.text, caller.name, now), body.text)

    return once(MessageOut, added)


@router.post("/{case_id}/resolve", scopes=["cases:write"], response_model=CaseOut)
def resolve_case(
    case_id: UUID, session: Transaction, now: Now, once: Once, response: Response, if_match: IfMatch = None
) -> Any:
    """Close a case as solved. If-Match is optional: it refuses when somebody wrote into the case meanwhile."""

    def resolved() -> CaseOut:
        case = _locked(session, case_id, if_match)
        return _shown(session, response, cases.resolve(session, case, now))

    return once(CaseOut, resolved)


@router.post("/{case_id}/reopen", scopes=["cases:write"], response_model=CaseOut)
def reopen_case(
    case_id: UUID, session: Transaction, now: Now, once: Once, response: Response, if_match: IfMatch = None
) -> Any:
    """Open a resolved case again; its first response is due anew."""

    def reopened() -> CaseOut:
        case = _locked(session, case_id, if_match)
        return _shown(session, response, cases.reopen(session, case, now))

    return once(CaseOut, reopened)


def _locked(session: Session, case_id: UUID, if_match: str | None) -> Row[Any]:
    case = cases.find(session, case_id, lock=True)
    if if_match is not None:
        check_version(if_match, case.version)
    return case


def _cases(session: Session, rows: Sequence[Row[Any]]) -> list[CaseOut]:
    subjects = cases.subjects(session, rows)
    return [
        CaseOut(**{**row._mapping, "id": row.case_id, "subject": subject})
        for row, subject in zip(rows, subjects, strict=True)
    ]


def _shown(session: Session, response: Response, row: Row[Any]) -> CaseOut:
    response.headers["ETag"] = etag(row.version)
    return _cases(session, [row])[0]


def _message(row: Row[Any], text: str | None) -> MessageOut:
    return MessageOut(**{**row._mapping, "id": row.message_id, "text": text})
