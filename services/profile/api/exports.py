"""/exports: files of what profile knows."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import Row
from starlette.responses import StreamingResponse

from services.profile.api.fields import Id, Label, When
from services.profile.domain import exports
from services.profile.rules.exports import FILTERS, KINDS, is_personal
from shared.auth.callers import Caller
from shared.errors import Forbidden
from shared.http.dependencies import Caller_, Transaction
from shared.http.idempotency import Once
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router

router = Router(prefix="/v1/exports", tags=["exports"])

Kind = Literal["customers", "purchases", "purchase_lines", "returns", "consents", "products"]
Labels = Annotated[list[Label], Field(max_length=100)]
_MEDIA = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}


class ExportFilters(BaseModel):
    """Which rows; of several values of one field one has to be true. A kind knows some of them only."""

    model_config = ConfigDict(extra="forbid")

    country: Labels = []
    kind: list[Literal["person", "organisation"]] = Field(default=[], max_length=2)
    tag: Labels = []
    source: Annotated[list[Id], Field(max_length=100)] = []
    channel: Labels = []
    store: Labels = []
    purpose: Labels = []
    consent_channel: Labels = []
    state: Labels = []
    brand: Labels = []
    active: bool | None = None
    created_at_gte: When | None = None
    created_at_lt: When | None = None
    occurred_at_gte: When | None = None
    occurred_at_lt: When | None = None

    def given(self) -> dict[str, Any]:
        told = self.model_dump(mode="json", exclude_defaults=True)
        return {name: value for name, value in told.items() if value not in ([], None)}


class ExportIn(BaseModel):
    """What to export. Without `fields` every field that is not personal; with a personal one somebody else has to
    approve."""

    kind: Kind
    format: Literal["csv", "ndjson"] = "csv"
    byte_order_mark: bool = Field(default=False, description="for spreadsheets that would not know UTF-8")
    fields: (
        Annotated[list[Annotated[str, Field(max_length=50)]], Field(min_length=1, max_length=50)] | None
    ) = Field(default=None, examples=[["id", "country", "tags"]])
    filters: ExportFilters = Field(default_factory=ExportFilters, examples=[{"country": ["CN"]}])
    reason: Annotated[str, Field(min_length=1, max_length=500)] | None = Field(
        default=None, description="for whoever approves; never personal data", examples=["yearly audit"]
    )

    @model_validator(mode="after")
    def _kind_knows_them(self) -> "ExportIn":
        known = KINDS[self.kind]
        for field in self.fields or ():
            if field not in known:
                raise PydanticCustomError("unknown_field", "there are: {known}", {"known": ", ".join(known)})
        for name in self.filters.given():
            if name not in FILTERS[self.kind]:
                raise PydanticCustomError(
                    "unknown_filter", "there are: {known}", {"known": ", ".join(FILTERS[self.kind])}
                )
        return self

    def columns(self) -> list[str]:
        known = KINDS[self.kind]
        if self.fields is None:
            return [field for field, personal in known.items() if not personal]
        return list(dict.fromkeys(self.fields))


class ExportOut(BaseModel):
    """An export; its progress is the job's of the same id."""

    id: UUID
    kind: Kind
    format: Literal["csv", "ndjson"]
    byte_order_mark: bool
    fields: list[str]
    filters: dict[str, Any]
    personal: bool = Field(description="waits until another credential approves")
    reason: str | None
    state: Literal["awaiting_approval", "being_written", "ready", "forgotten"]
    requested_by: str
    requested_at: datetime
    approved_by: str | None
    approved_at: datetime | None
    row_count: int
    byte_count: int
    ready_at: datetime | None
    expires_at: datetime | None


@router.post("", scopes=["exports:write"], status_code=202, response_model=ExportOut)
def request_export(
    body: ExportIn, session: Transaction, caller: Caller_, once: Once, response: Response
) -> Any:
    """Ask for an export.

    A job writes the file; cells that a spreadsheet would obey are made inert. Personal fields need the scope pii:read, and
    the approval of another credential before the job starts. The file can be fetched for a day.
    """
    columns = body.columns()
    if is_personal(body.kind, columns):
        _demand_pii(caller)

    def ask() -> ExportOut:
        export_id = exports.request(
            session,
            kind=body.kind,
            form=body.format,
            byte_order_mark=body.byte_order_mark,
            fields=columns,
            filters=body.filters.given(),
            reason=body.reason,
            by=caller.name,
            credential=caller.credential_id,
        )
        response.headers["Location"] = f"/profile/v1/jobs/{export_id}"
        return _shown(exports.get(session, export_id))

    return once(ExportOut, ask)


@router.post("/{export_id}/approve", scopes=["exports:approve"], response_model=ExportOut)
def approve_export(export_id: UUID, session: Transaction, caller: Caller_) -> Any:
    """Approve an export of personal data.

    By another credential than the one that asked for it, with pii:read, too. Both are noted in the audit log.
    """
    _demand_pii(caller)
    return _shown(exports.approve(session, export_id, by=caller.name, credential=caller.credential_id))


@router.get("", scopes=["exports:read"])
def list_exports(session: Transaction, page: Page) -> PageOf[ExportOut]:
    """List exports, latest first."""
    rows = exports.page(session, page.after(("requested_at", "id")), page.limit + 1)
    return page_of(  # type: ignore[return-value]
        ExportOut, [_shown(row) for row in rows], page, key=lambda one: (one.requested_at, one.id)
    )


@router.get("/{export_id}", scopes=["exports:read"], response_model=ExportOut)
def get_export(export_id: UUID, session: Transaction) -> Any:
    """Read an export's state."""
    return _shown(exports.get(session, export_id))


@router.get(
    "/{export_id}/file",
    scopes=["exports:read"],
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The file",
            "content": {
                "text/csv": {"schema": {"type": "string"}, "example": '"id","country"\r\n"0199…","CN"\r\n'},
                "application/x-ndjson": {
                    "schema": {"type": "string"},
                    "example": '{"id": "0199…", "country": "CN"}\n',
                },
            },
        }
    },
)
def download_export(export_id: UUID, session: Transaction, caller: Caller_, request: Request) -> Response:
    """Fetch an export's file.

    Streamed. One with personal fields needs pii:read; every fetch is noted in the audit log.
    """
    found = exports.get(session, export_id)
    if found.personal:
        _demand_pii(caller)
    exports.open_file(session, export_id, caller.name)
    name = f"{found.kind}-{found.requested_at:%Y-%m-%d}.{found.format}"
    return StreamingResponse(
        exports.blocks(request.app.state.sessions, export_id),
        media_type=_MEDIA[found.format],
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Length": str(found.byte_count),
            "Cache-Control": "no-store",
        },
    )


def _demand_pii(caller: Caller) -> None:
    if not caller.may("pii:read"):
        raise Forbidden("insufficient_scope", "personal fields need the scope pii:read")


def _shown(row: Row[Any]) -> ExportOut:
    if row.destroyed_at is not None:
        state = "forgotten"
    elif row.ready_at is not None:
        state = "ready"
    else:
        state = "awaiting_approval" if row.personal and row.approved_at is None else "being_written"
    told = {name: row._mapping[name] for name in ExportOut.model_fields if name in row._mapping}
    return ExportOut(id=row.export_id, state=state, **told)
