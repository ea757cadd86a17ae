"""/v1/audit: the audit log, and whether it is what was recorded."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import select

from shared.audit.tables import audit_entry
from shared.audit.verification import Covered, verify
from shared.http.dependencies import Transaction
from shared.http.fields import Moment
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router

# What one request verifies: about a fifth of a second.
MOST = 10_000
LARGEST = 2**63 - 1


class AuditEntryOut(BaseModel):
    """Something that somebody did. Entries count on without a gap."""

    number: int
    at: datetime
    action: str = Field(examples=["api_key_issued"])
    by: str = Field(description="the name of the credential that did it")
    subject: str | None = Field(description="the id of what it was done to")
    facts: dict[str, str | int | bool | None]
    hash: str = Field(description="HMAC-SHA256 over this entry and the hash before it, hexadecimal")


class FindingOut(BaseModel):
    """Something that the log's writers never make."""

    code: str = Field(
        description="`entry_changed`, `entry_missing`, `entry_unexpected`, `head_changed`, `cut_off`, `anchor_differs`,"
        " `anchor_forged`, `rows_changed`, `rows_unrecorded`"
    )
    number: int | None
    message: str


class VerificationOut(BaseModel):
    """What was found; ``intact`` where that is nothing."""

    intact: bool
    first: int
    last: int = Field(description="the last entry that was looked at; 0 where there is none")
    entries: int
    anchors: int = Field(description="heads told outside of the database that were compared with the entries")
    complete: bool = Field(description="false where entries follow: ask again from `last`")
    findings: list[FindingOut] = Field(description="the first 100")


def audit_router(covered: Covered) -> Router:
    """The routes of a service whose log also stands for the rows that ``covered`` names."""
    router = Router(prefix="/v1/audit", tags=["audit"])

    @router.get("", scopes=["audit:read"])
    def list_audit_entries(
        session: Transaction,
        page: Page,
        action: Annotated[list[str] | None, Query(description="repeat for several")] = None,
        by: Annotated[str | None, Query(max_length=200)] = None,
        subject: Annotated[str | None, Query(max_length=200)] = None,
        at_gte: Moment | None = None,
        at_lt: Moment | None = None,
    ) -> PageOf[AuditEntryOut]:
        """What was done, the newest first."""
        columns = audit_entry.c
        rows = select(audit_entry).order_by(columns.number.desc()).limit(page.limit + 1)
        if action:
            rows = rows.where(columns.action.in_(action))
        if by is not None:
            rows = rows.where(columns.actor == by)
        if subject is not None:
            rows = rows.where(columns.subject == subject)
        if at_gte is not None:
            rows = rows.where(columns.at >= at_gte)
        if at_lt is not None:
            rows = rows.where(columns.at < at_lt)
        if (last := page.after(("number",))) is not None:
            rows = rows.where(columns.number < last[0])
        shown = [
            dict(row._mapping) | {"by": row.actor, "hash": bytes(row.hash).hex()}
            for row in session.execute(rows)
        ]
        return page_of(AuditEntryOut, shown, page, key=lambda row: (row["number"],))  # type: ignore[return-value]

    @router.get("/verification", scopes=["audit:read"])
    def verify_audit_log(
        session: Transaction,
        first: Annotated[int, Query(ge=1, le=LARGEST, description="the entry to begin with")] = 1,
    ) -> VerificationOut:
        """Compare entries with their hashes, with what they cover and with the heads told outside of the database.

        At most 10,000 entries at a time; `complete` says whether more follow. The command `audit verify` looks at all of
        them, and at anchors that were gathered elsewhere.
        """
        found: Any = verify(session, covered, first=first, most=MOST)
        return VerificationOut.model_validate(found, from_attributes=True)

    return router
