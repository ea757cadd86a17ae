"""/sign-up-sources: where people are asked to sign up by themselves; each with its link and its QR code."""

from collections.abc import Sequence
from datetime import datetime
from io import BytesIO
from typing import Any, Literal
from uuid import UUID

import segno
from fastapi import Response
from pydantic import BaseModel, Field
from sqlalchemy import Row
from sqlalchemy.orm import Session

from services.profile.api.consents import Purpose
from services.profile.api.fields import Label
from services.profile.domain import sign_ups
from services.profile.domain.links import links_of
from services.profile.domain.sign_ups import NewSource
from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.idempotency import Once
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router

router = Router(prefix="/v1/sign-up-sources", tags=["sign-ups"])


class SignUpSourceIn(BaseModel):
    name: Label = Field(examples=["Poster at the till, Nanjing Road"])
    kind: Literal["store", "staff", "campaign", "web"] = Field(
        description="becomes the acquisition channel of whoever signs up here"
    )
    reference: Label | None = Field(
        default=None, description="which store, member of staff or campaign", examples=["store-012"]
    )
    purposes: list[Purpose] = Field(
        default=["marketing"], max_length=5, description="what the form asks to agree to; nothing is ticked"
    )
    language: Literal["en", "zh"] | None = Field(
        default=None, description="of the form; the browser's where none is said"
    )


class SignUpSourceOut(BaseModel):
    id: UUID
    name: str
    kind: str
    reference: str | None
    purposes: list[str]
    language: str | None
    url: str = Field(description="the form; signed, so that nobody makes up a source")
    sign_up_count: int
    created_at: datetime
    created_by: str
    closed_at: datetime | None


@router.post("", scopes=["sign_ups:write"], status_code=201, response_model=SignUpSourceOut)
def create_sign_up_source(
    body: SignUpSourceIn, session: Transaction, now: Now, caller: Caller_, once: Once
) -> Any:
    """A new place where people can sign up: a store's poster, a member of staff, a campaign, a web page."""

    def create() -> SignUpSourceOut:
        row = sign_ups.create_source(session, NewSource(**body.model_dump()), caller.name, now)
        return _shown(session, [row])[0]

    return once(SignUpSourceOut, create)


@router.get("", scopes=["sign_ups:read"])
def list_sign_up_sources(session: Transaction, page: Page) -> PageOf[SignUpSourceOut]:
    """All sources, the oldest first, with how many forms came in by each."""
    rows = sign_ups.page_of_sources(session, page.after(("created_at", "id")), page.limit + 1)
    shown = _shown(session, rows)
    return page_of(SignUpSourceOut, shown, page, key=lambda one: (one.created_at, one.id))  # type: ignore[return-value]


@router.get("/{source_id}", scopes=["sign_ups:read"], response_model=SignUpSourceOut)
def get_sign_up_source(source_id: UUID, session: Transaction) -> Any:
    """One source with its link."""
    return _shown(session, [sign_ups.get_source(session, source_id)])[0]


@router.get(
    "/{source_id}/qr-code",
    scopes=["sign_ups:read"],
    response_class=Response,
    responses={
        200: {
            "content": {
                "image/svg+xml": {
                    "schema": {"type": "string"},
                    "example": '<svg xmlns="http://www.w3.org/2000/svg" width="296" height="296">…</svg>',
                }
            },
            "description": "The image",
        }
    },
)
def get_sign_up_qr_code(source_id: UUID, session: Transaction) -> Response:
    """The link as a QR code, an SVG to print: error correction Q, so that a scratched poster still works."""
    url = links_of(session).to_sign_up(sign_ups.get_source(session, source_id).source_id)
    image = BytesIO()
    segno.make(url, error="q", micro=False).save(image, kind="svg", scale=8, border=4)
    return Response(image.getvalue(), media_type="image/svg+xml")


@router.post("/{source_id}/close", scopes=["sign_ups:write"], response_model=SignUpSourceOut)
def close_sign_up_source(source_id: UUID, session: Transaction, now: Now) -> Any:
    """Nobody can sign up here any more; the link says so. The same again changes nothing."""
    return _shown(session, [sign_ups.close_source(session, source_id, now)])[0]


def _shown(session: Session, rows: Sequence[Row[Any]]) -> list[SignUpSourceOut]:
    counts = sign_ups.counts(session, [row.source_id for row in rows])
    links = links_of(session)
    return [
        SignUpSourceOut.model_validate(
            dict(row._mapping)
            | {
                "id": row.source_id,
                "url": links.to_sign_up(row.source_id),
                "sign_up_count": counts.get(row.source_id, 0),
            }
        )
        for row in rows
    ]
