"""/import-mappings, /import-presets and /imports: files of purchases, customers and everything else."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Path, Query, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import RowMapping
from starlette.concurrency import run_in_threadpool

from services.profile.domain import imports
from services.profile.rules.mapping import AnyMapping, read_mapping
from services.profile.rules.mapping_presets import PRESETS
from shared.database import Sessions
from shared.errors import Invalid
from shared.http.bodies import PATIENCE, TooSlow, UnsupportedMediaType
from shared.http.dependencies import Caller_, Transaction
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router
from shared.http.versions import IfMatch, check_version, etag
from shared.jobs import jobs, uploads

router = Router(prefix="/v1", tags=["imports"])

Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", examples=["online-retail"])]

Kind = Literal["purchases", "customers", "products", "activities", "interactions", "consents", "tags"]

_MEDIA = {
    "text/csv": "csv",
    "application/csv": "csv",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/gzip": None,
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/octet-stream": None,
    "": None,
}


class ImportMappingOut(BaseModel):
    """A saved mapping."""

    name: str
    version: int
    mapping: AnyMapping
    created_at: datetime
    updated_at: datetime
    updated_by: str


class ImportPresetOut(BaseModel):
    """A mapping that fits a common export: copy it, name your source, and save it as your own."""

    name: str
    kind: Kind
    title: str
    mapping: AnyMapping


class ImportPresetsOut(BaseModel):
    items: list[ImportPresetOut]


class ImportOut(BaseModel):
    """An import that was taken; its job is at the Location."""

    id: UUID
    kind: str
    state: str
    dry_run: bool = Field(description="nothing will be recorded; the report says what would be")


@router.put(
    "/import-mappings/{name}",
    scopes=["imports:write"],
    response_model=ImportMappingOut,
    responses={201: {"model": ImportMappingOut, "description": "It is new."}},
)
def save_import_mapping(
    name: Name,
    body: AnyMapping,
    session: Transaction,
    caller: Caller_,
    response: Response,
    if_match: IfMatch = None,
) -> Any:
    """Save how a kind of file is read.

    With If-Match only the version named is changed; without it the mapping is made or replaced. The version moves
    only if something is different.
    """
    if if_match is not None:
        check_version(if_match, imports.find_mapping(session, name, lock=True)["version"])
    saved = imports.save_mapping(session, name, body, caller.name)
    response.status_code = 201 if saved.created else 200
    return _shown(saved.mapping, response)


@router.get("/import-mappings/{name}", scopes=["imports:read"], response_model=ImportMappingOut)
def get_import_mapping(name: Name, session: Transaction, response: Response) -> Any:
    """Read a saved mapping."""
    return _shown(imports.find_mapping(session, name), response)


@router.get("/import-mappings", scopes=["imports:read"])
def list_import_mappings(session: Transaction, page: Page) -> PageOf[ImportMappingOut]:
    """List saved mappings by name."""
    after = page.after(("name",))
    rows = imports.list_mappings(session, after[0] if after else None, page.limit + 1)
    return page_of(ImportMappingOut, [_out(row) for row in rows], page, key=lambda row: (row.name,))  # type: ignore[return-value]


@router.get("/import-presets", scopes=["imports:read"])
def list_import_presets() -> ImportPresetsOut:
    """List ready-made mappings of common exports.

    None of them is used by itself: put the mapping of one under a name of your own, changed as your export needs it.
    """
    return ImportPresetsOut(
        items=[
            ImportPresetOut(name=name, kind=preset.mapping.kind, title=preset.title, mapping=preset.mapping)
            for name, preset in PRESETS.items()
        ]
    )


@router.post(
    "/imports",
    scopes=["imports:write"],
    streaming=True,
    status_code=202,
    response_model=ImportOut,
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The file, of any length, as it is or compressed with gzip.",
            "content": {
                "text/csv": {"schema": {"type": "string", "minLength": 1}},
                "application/x-ndjson": {"schema": {"type": "string", "minLength": 1}},
                "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": {
                    "schema": {"type": "string", "format": "binary", "minLength": 1}
                },
                "application/gzip": {"schema": {"type": "string", "format": "binary", "minLength": 1}},
            },
        }
    },
)
async def start_import(
    request: Request,
    response: Response,
    caller: Caller_,
    kind: Annotated[Kind, Query(description="what the rows are")],
    mapping: Annotated[str, Query(min_length=1, max_length=64, description="name of a saved mapping")],
    dry_run: Annotated[bool, Query(description="report what would happen and record nothing")] = False,
) -> Any:
    """Import a file.

    The upload is kept sealed; a job then reads it and records its orders or records. Progress, the list of refused rows
    and the quality report are the job's. The same file again changes nothing. Only the kind consents touches consent.
    An .xlsx has at most 32 MB; a CSV or NDJSON has no limit.
    """
    declared = _declared_format(request)
    sessions: Sessions = request.app.state.sessions
    blocks = _blocks(request)
    first = await anext(blocks, b"")
    if not first:
        raise Invalid("empty_file", "the body is empty")
    job_id = await run_in_threadpool(_take, sessions, kind, mapping, dry_run, declared, caller.name, first)
    try:
        number = 0
        async for block in blocks:
            number += 1
            await run_in_threadpool(_keep, sessions, job_id, number, block)
        await run_in_threadpool(_start, sessions, job_id)
    except BaseException:
        # Nothing of half a file is imported; if this fails too, the job is never released and forgotten in time.
        await asyncio.shield(run_in_threadpool(_give_up, sessions, job_id))
        raise
    response.headers["Location"] = f"/profile/v1/jobs/{job_id}"
    return ImportOut(id=job_id, kind=f"import_{kind}", state="queued", dry_run=dry_run)


def _declared_format(request: Request) -> str | None:
    """The format that the headers name, if they do. Whether the body is compressed, its first bytes say."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in _MEDIA:
        raise UnsupportedMediaType(
            "unsupported_media_type", "send text/csv, application/x-ndjson or an .xlsx"
        )
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("identity", "gzip"):
        raise UnsupportedMediaType("unsupported_encoding", "send the file as it is or compressed with gzip")
    return _MEDIA[media]


async def _blocks(request: Request) -> AsyncIterator[bytes]:
    """The body in blocks as they are kept. A sender may take as long as the file needs, but may not fall silent."""
    pending = bytearray()
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(PATIENCE):
                piece = await anext(stream, None)
        except TimeoutError:
            raise TooSlow("body_too_slow", f"nothing arrived for {PATIENCE:.0f} s") from None
        if piece is None:
            break
        pending += piece
        while len(pending) >= uploads.BLOCK:
            yield bytes(pending[: uploads.BLOCK])
            del pending[: uploads.BLOCK]
    if pending:
        yield bytes(pending)


def _take(
    sessions: Sessions,
    kind: str,
    mapping: str,
    dry_run: bool,
    declared: str | None,
    caller: str,
    first: bytes,
) -> UUID:
    """A job with the mapping as it is now and the first block of its file, held until the last one is here."""
    with sessions.begin() as session:
        job_id = imports.take(session, mapping, by=caller, kind=kind, dry_run=dry_run, declared=declared)
        uploads.append(session, job_id, 0, first)
    return job_id


def _keep(sessions: Sessions, job_id: UUID, number: int, block: bytes) -> None:
    with sessions.begin() as session:
        uploads.append(session, job_id, number, block)


def _start(sessions: Sessions, job_id: UUID) -> None:
    with sessions.begin() as session:
        jobs.release(session, job_id)


def _give_up(sessions: Sessions, job_id: UUID) -> None:
    with sessions.begin() as session:
        uploads.destroy(session, job_id)
        jobs.cancel(session, job_id)


def _out(saved: RowMapping) -> ImportMappingOut:
    return ImportMappingOut(
        name=saved["name"],
        version=saved["version"],
        mapping=read_mapping(saved["definition"]),
        created_at=saved["created_at"],
        updated_at=saved["updated_at"],
        updated_by=saved["updated_by"],
    )


def _shown(saved: RowMapping, response: Response) -> ImportMappingOut:
    response.headers["ETag"] = etag(saved["version"])
    return _out(saved)
