"""/customers/{id}/access-requests and /access-requests: everything that is held about a person, to see and to take away."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query, Response
from pydantic import BaseModel, Field
from sqlalchemy import Row
from sqlalchemy.orm import Session

from services.profile.domain import access
from services.profile.rules.readable import as_html
from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.idempotency import Once
from shared.http.routing import Router
from shared.jobs import jobs

router = Router(prefix="/v1", tags=["rights"])


class AccessRequestOut(BaseModel):
    """A request for a copy. Progress, cancel and resume are its job's, which has the same id."""

    id: UUID
    customer_id: UUID
    requested_at: datetime
    requested_by: str
    state: Literal["gathering", "ready", "failed", "cancelled", "destroyed"]
    gathered_at: datetime | None
    expires_at: datetime | None = Field(description="until then the copy can be taken; then it is destroyed")


class CopyOut(BaseModel):
    """Service → section → rows."""

    customer_id: UUID
    gathered_at: datetime
    services: dict[str, dict[str, list[dict[str, Any]]]]


@router.post(
    "/customers/{customer_id}/access-requests",
    scopes=["rights:write"],
    owner="customer_id",
    status_code=202,
    response_model=AccessRequestOut,
)
def request_access(
    customer_id: UUID, session: Transaction, now: Now, caller: Caller_, once: Once, response: Response
) -> Any:
    """Ask for a copy of everything that all four services hold about a person.

    A job gathers it: `GET /v1/jobs/{id}`. The copy is kept sealed for seven days under a key that is destroyed with it.
    """

    def ask() -> AccessRequestOut:
        request_id = access.request(session, customer_id, caller.name, now)
        response.headers["Location"] = f"/profile/v1/access-requests/{request_id}"
        return _shown(session, access.get(session, request_id))

    return once(AccessRequestOut, ask)


@router.get("/access-requests/{request_id}", scopes=["rights:read"])
def get_access_request(request_id: UUID, session: Transaction) -> AccessRequestOut:
    """How far a request is."""
    return _shown(session, access.get(session, request_id))


@router.get(
    "/access-requests/{request_id}/content",
    scopes=["rights:read", "pii:read"],
    response_model=CopyOut,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}},
)
def get_access_content(
    request_id: UUID,
    session: Transaction,
    caller: Caller_,
    format: Annotated[  # noqa: A002 - the parameter's name outside
        Literal["json", "html"], Query(description="json to take away, html to read")
    ] = "json",
    language: Annotated[Literal["zh", "en"], Query(description="of the page")] = "en",
) -> Any:
    """Take the copy.

    409 `access_request_not_ready` while it is gathered, 409 `customer_changed` where customers were merged or unmerged
    since (ask for a new one), 410 `access_request_expired` afterwards.
    """
    row, copy = access.hand_out(session, request_id, caller.name)
    headers = {
        "Cache-Control": "no-store",
        "Content-Disposition": f'attachment; filename="personal-data-{row.customer_id}.{format}"',
        "X-Content-Type-Options": "nosniff",
    }
    if format == "html":
        return Response(as_html(copy, language), media_type="text/html; charset=utf-8", headers=headers)
    content = CopyOut(customer_id=row.customer_id, gathered_at=row.gathered_at, services=copy)
    return Response(content.model_dump_json(), media_type="application/json", headers=headers)


def _shown(session: Session, row: Row[Any]) -> AccessRequestOut:
    state = "gathering"
    if row.destroyed_at is not None:
        state = "destroyed"
    elif row.gathered_at is not None:
        state = "ready"
    elif (job := jobs.get(session, row.request_id)["state"]) in ("failed", "cancelled"):
        state = job
    return AccessRequestOut.model_validate(dict(row._mapping) | {"id": row.request_id, "state": state})
