"""/consent-texts: what customers read before they agree."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import Path, Response
from pydantic import BaseModel, Field, StrictStr

from services.profile.api.consents import Purpose
from services.profile.domain import consent_texts
from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router

router = Router(prefix="/v1/consent-texts", tags=["consents"])

Words = Annotated[StrictStr, Field(min_length=1, max_length=2000)]
Version = Annotated[
    str, Path(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9._-]+$", examples=["2026-03"])
]


class TextsIn(BaseModel):
    """In each of the pages' languages."""

    en: Words = Field(examples=["You may send me offers and news."])
    zh: Words = Field(examples=["同意向我发送优惠信息和新闻。"])


class ConsentTextIn(BaseModel):
    texts: TextsIn
    valid_days: int | None = Field(
        default=None,
        strict=True,
        gt=0,
        le=36_500,
        description="a consent to this text ends after so many days",
    )


class ConsentTextOut(BaseModel):
    purpose: str
    version: str
    texts: dict[str, str]
    valid_days: int | None
    created_at: datetime
    created_by: str


@router.put(
    "/{purpose}/{version}",
    scopes=["consents:write"],
    status_code=201,
    response_model=ConsentTextOut,
    responses={200: {"model": ConsentTextOut, "description": "This version is there already"}},
)
def publish_consent_text(
    purpose: Purpose,
    version: Version,
    body: ConsentTextIn,
    session: Transaction,
    now: Now,
    caller: Caller_,
    response: Response,
) -> Any:
    """A new version of what customers read, shown from now on. A version never changes: another text is refused (409)."""
    row, new = consent_texts.publish(
        session, purpose, version, body.texts.model_dump(), body.valid_days, caller.name, now
    )
    response.status_code = 201 if new else 200
    return row


@router.get("/{purpose}/{version}", scopes=["consents:read"], response_model=ConsentTextOut, reach="anyone")
def get_consent_text(purpose: Purpose, version: Version, session: Transaction) -> Any:
    """One version."""
    return consent_texts.get(session, purpose, version)


@router.get("", scopes=["consents:read"], reach="anyone")
def list_consent_texts(session: Transaction, page: Page) -> PageOf[ConsentTextOut]:
    """All versions, by purpose and version."""
    rows = consent_texts.page(session, page.after(("purpose", "version")), page.limit + 1)
    return page_of(ConsentTextOut, rows, page, key=lambda row: (row.purpose, row.version))  # type: ignore[return-value]
