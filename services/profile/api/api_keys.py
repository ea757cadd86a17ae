"""/api-keys: who may call."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel, Field, StrictStr, StringConstraints

from services.profile.api.fields import Label
from services.profile.domain import api_keys
from shared.auth.keys import ActiveKeys
from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.idempotency import Once
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router

router = Router(prefix="/v1/api-keys", tags=["api keys"])

Scope = Annotated[StrictStr, StringConstraints(pattern=r"^(\*|[a-z][a-z_]{0,30}:([a-z_]{1,30}|\*))$")]


class ApiKeyIn(BaseModel):
    name: Label = Field(examples=["online shop"])
    scopes: list[Scope] = Field(
        min_length=1,
        max_length=100,
        examples=[["purchases:write", "profile:write"]],
        description="`area:action`, `area:*` or `*`; no more than the caller has",
    )


class ApiKeyOut(BaseModel):
    id: UUID
    name: str
    scopes: list[str]
    created_at: datetime
    created_by: str
    revoked_at: datetime | None
    revoked_by: str | None


class NewApiKeyOut(ApiKeyOut):
    key: str = Field(description="the key in clear, shown this once")


@router.post("", scopes=["keys:write"], status_code=201, response_model=NewApiKeyOut)
def issue_api_key(
    body: ApiKeyIn, session: Transaction, now: Now, caller: Caller_, once: Once, response: Response
) -> Any:
    """Issue a key. It is shown in this answer and never again; every service knows it within seconds."""

    def issue() -> NewApiKeyOut:
        row, clear = api_keys.issue(session, body.name, body.scopes, caller, now)
        response.headers["Cache-Control"] = "no-store"
        return NewApiKeyOut.model_validate(dict(row._mapping) | {"id": row.api_key_id, "key": clear})

    return once(NewApiKeyOut, issue)


@router.get("", scopes=["keys:read"])
def list_api_keys(session: Transaction, page: Page) -> PageOf[ApiKeyOut]:
    """Every key that was ever issued, oldest first."""
    rows = api_keys.page(session, page.after(("created_at", "id")), page.limit + 1)
    shown = [dict(row._mapping) | {"id": row.api_key_id} for row in rows]
    return page_of(ApiKeyOut, shown, page, key=lambda row: (row["created_at"], row["id"]))  # type: ignore[return-value]


@router.get("/active", scopes=["keys:read"])
def list_active_api_keys(session: Transaction) -> ActiveKeys:
    """The keys in force with their HMACs, for the services of the suite."""
    return ActiveKeys(items=api_keys.active(session))


@router.delete("/{api_key_id}", scopes=["keys:write"], response_model=ApiKeyOut)
def revoke_api_key(api_key_id: UUID, session: Transaction, now: Now, caller: Caller_) -> Any:
    """Revoke a key, for good. Every service refuses it within seconds."""
    row = api_keys.revoke(session, api_key_id, caller.name, now)
    return dict(row._mapping) | {"id": row.api_key_id}
