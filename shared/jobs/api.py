"""/v1/jobs: long work that was asked for, its progress, and what it refused."""

import csv
import io
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Header, Query
from pydantic import BaseModel, Field
from sqlalchemy import select, tuple_
from starlette.responses import Response

from shared.http.dependencies import Transaction
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router
from shared.jobs import jobs
from shared.jobs.tables import job, job_error

router = Router(prefix="/v1/jobs", tags=["jobs"])

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class Progress(BaseModel):
    """Rows so far; ``total`` is null until it is known."""

    total: int | None
    processed: int
    failed: int


class JobFault(BaseModel):
    """Why a job as a whole failed."""

    code: str
    message: str


class JobOut(BaseModel):
    """A job. ``report`` is what its kind has to say, and grows while it runs."""

    id: UUID
    kind: str
    state: State
    progress: Progress
    report: dict[str, Any]
    parameters: dict[str, Any]
    error: JobFault | None
    created_by: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested: bool = Field(description="it stops between two of its chunks")


class JobErrorOut(BaseModel):
    """One refused row. ``line`` counts from 1 and includes the header."""

    line: int | None
    column: str | None
    pointer: str | None
    code: str
    message: str


@router.get("", scopes=["jobs:read"])
def list_jobs(
    session: Transaction,
    page: Page,
    state: Annotated[list[State] | None, Query(description="repeat for several")] = None,
    kind: Annotated[str | None, Query(max_length=100)] = None,
) -> PageOf[JobOut]:
    """Jobs, the newest first."""
    statement = select(job).order_by(job.c.created_at.desc(), job.c.id.desc()).limit(page.limit + 1)
    if state:
        statement = statement.where(job.c.state.in_(state))
    if kind:
        statement = statement.where(job.c.kind == kind)
    if (last := page.after(("created_at", "id"))) is not None:
        statement = statement.where(tuple_(job.c.created_at, job.c.id) < last)
    rows = session.execute(statement).mappings().all()
    found = page_of(dict, rows, page, key=lambda row: (row["created_at"], row["id"]))
    return PageOf[JobOut](items=[shown(row) for row in found["items"]], next_cursor=found["next_cursor"])


@router.get("/{job_id}", scopes=["jobs:read"])
def get_job(job_id: UUID, session: Transaction) -> JobOut:
    """A job's state, progress and report."""
    return shown(jobs.get(session, job_id))


@router.get(
    "/{job_id}/errors",
    scopes=["jobs:read"],
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
def list_job_errors(
    job_id: UUID,
    session: Transaction,
    page: Page,
    accept: Annotated[str, Header(max_length=200)] = "application/json",
    format: Annotated[  # noqa: A002 - the parameter's name outside
        Literal["json", "csv"] | None,
        Query(description="csv: all of them as a file; so does `Accept: text/csv`"),
    ] = None,
) -> PageOf[JobErrorOut]:
    """What a job refused, in the order in which it was found."""
    jobs.get(session, job_id)
    columns = job_error.c
    statement = select(job_error).where(columns.job_id == job_id).order_by(columns.id)
    if format == "csv" or (format is None and accept.strip().startswith("text/csv")):
        rows = session.execute(statement).mappings()
        disposition = f'attachment; filename="job-{job_id}-errors.csv"'
        content = "".join(_as_csv(rows))
        return Response(  # type: ignore[return-value]
            content, media_type="text/csv; charset=utf-8", headers={"Content-Disposition": disposition}
        )
    if (last := page.after(("id",))) is not None:
        statement = statement.where(columns.id > last[0])
    found = page_of(
        dict,
        session.execute(statement.limit(page.limit + 1)).mappings().all(),
        page,
        key=lambda row: (row["id"],),
    )
    items = [
        JobErrorOut(
            line=row["line"],
            column=row["column_name"],
            pointer=row["pointer"],
            code=row["code"],
            message=row["message"],
        )
        for row in found["items"]
    ]
    return PageOf[JobErrorOut](items=items, next_cursor=found["next_cursor"])


@router.post("/{job_id}/cancel", scopes=["jobs:write"])
def cancel_job(job_id: UUID, session: Transaction) -> JobOut:
    """Stop a job between two of its chunks; what it has committed stays, and it can be resumed."""
    return shown(jobs.cancel(session, job_id))


@router.post("/{job_id}/resume", scopes=["jobs:write"])
def resume_job(job_id: UUID, session: Transaction) -> JobOut:
    """Let a failed or cancelled job go on where it stopped."""
    return shown(jobs.resume(session, job_id))


def shown(row: Any) -> JobOut:
    """A row of the job table as the API shows it."""
    return JobOut(
        id=row["id"],
        kind=row["kind"],
        state=row["state"],
        progress=Progress(total=row["total"], processed=row["processed"], failed=row["failed"]),
        report=row["report"],
        parameters=row["parameters"],
        error=JobFault(code=row["error_code"], message=row["error_message"] or "")
        if row["error_code"]
        else None,
        created_by=row["created_by"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        cancel_requested=row["cancel_requested_at"] is not None,
    )


def _as_csv(rows: Any) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(("line", "column", "pointer", "code", "message"))
    for row in rows:
        writer.writerow(
            [row["line"], *(_inert(row[name]) for name in ("column_name", "pointer", "code", "message"))]
        )
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _inert(cell: str | None) -> str:
    """A spreadsheet must not take what stood in a file's header for a formula."""
    return "'" + cell if cell and cell[0] in "=+-@\t\r\0" else cell or ""
