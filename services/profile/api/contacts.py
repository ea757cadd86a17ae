"""/customers/{id}/contacts: the people of an organisation."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel, Field
from sqlalchemy import Row
from sqlalchemy.orm import Session

from services.profile.api.customer_bodies import may_see_personal
from services.profile.api.fields import Label, Language
from services.profile.domain import contacts
from shared.auth.callers import Caller
from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.idempotency import Once
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router
from shared.http.versions import IfMatch, check_version, etag

router = Router(prefix="/v1/customers/{customer_id}/contacts", tags=["contacts"])


class ContactIn(BaseModel):
    """Somebody who speaks for an organisation. A field that is absent stays as it is, null removes it."""

    role: Label | None = Field(default=None, examples=["purchasing"])
    name: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(default=None, examples=["李雷"])
    email: Annotated[str, Field(max_length=254)] | None = Field(default=None, examples=["li.lei@example.com"])
    phone: Annotated[str, Field(max_length=40)] | None = Field(
        default=None,
        description="without + it is a number of the organisation's country",
        examples=["+8613912345678"],
    )
    language: Language | None = None


class ContactOut(BaseModel):
    """Name, e-mail and phone are shown to callers with the scope pii:read and to the organisation."""

    id: UUID
    role: str | None
    personal_data: Literal["shown", "withheld"]
    name: str | None
    email: str | None
    phone: str | None
    language: str | None
    created_at: datetime
    updated_at: datetime
    version: int


@router.post("", scopes=["profile:write"], owner="customer_id", status_code=201, response_model=ContactOut)
def create_contact(
    customer_id: UUID,
    body: ContactIn,
    session: Transaction,
    now: Now,
    caller: Caller_,
    once: Once,
    response: Response,
) -> Any:
    """Add a contact to an organisation."""

    def create() -> ContactOut:
        row = contacts.add(session, customer_id, body.model_dump(exclude_unset=True), now)
        response.headers["Location"] = f"/profile/v1/customers/{customer_id}/contacts/{row.contact_id}"
        return _shown(session, row, caller, response)

    return once(ContactOut, create)


@router.get("", scopes=["profile:read"], owner="customer_id")
def list_contacts(customer_id: UUID, session: Transaction, page: Page, caller: Caller_) -> PageOf[ContactOut]:
    """The contacts of an organisation, in the order in which they were added."""
    rows = contacts.page(session, customer_id, page.after(("created_at", "id")), page.limit + 1)
    return page_of(  # type: ignore[return-value]
        ContactOut, _all_shown(session, rows, caller), page, key=lambda one: (one.created_at, one.id)
    )


@router.get("/{contact_id}", scopes=["profile:read"], owner="customer_id", response_model=ContactOut)
def get_contact(
    customer_id: UUID, contact_id: UUID, session: Transaction, caller: Caller_, response: Response
) -> Any:
    """A contact of an organisation."""
    return _shown(session, contacts.get(session, customer_id, contact_id), caller, response)


@router.patch("/{contact_id}", scopes=["profile:write"], owner="customer_id", response_model=ContactOut)
def update_contact(
    customer_id: UUID,
    contact_id: UUID,
    body: ContactIn,
    session: Transaction,
    now: Now,
    caller: Caller_,
    response: Response,
    if_match: IfMatch = None,
) -> Any:
    """Change some fields (JSON merge patch): null removes, absent stays. Needs If-Match."""
    row = contacts.lock(session, customer_id, contact_id)
    check_version(if_match, row.version)
    changed = contacts.change(session, row, body.model_dump(exclude_unset=True), now)
    return _shown(session, changed, caller, response)


@router.delete("/{contact_id}", scopes=["profile:write"], owner="customer_id", status_code=204)
def delete_contact(customer_id: UUID, contact_id: UUID, session: Transaction) -> None:
    """Remove a contact: nothing of it is kept."""
    contacts.remove(session, contacts.lock(session, customer_id, contact_id))


def _shown(session: Session, row: Row[Any], caller: Caller, response: Response) -> ContactOut:
    response.headers["ETag"] = etag(row.version)
    return _all_shown(session, [row], caller)[0]


def _all_shown(session: Session, rows: Sequence[Row[Any]], caller: Caller) -> list[ContactOut]:
    may_see = may_see_personal(caller)
    personal = contacts.personal_of(session, rows) if may_see else [{}] * len(rows)
    return [
        ContactOut.model_validate(
            dict.fromkeys(contacts.PERSONAL)
            | dict(row._mapping)
            | clear
            | {"id": row.contact_id, "personal_data": "shown" if may_see else "withheld"}
        )
        for row, clear in zip(rows, personal, strict=True)
    ]
