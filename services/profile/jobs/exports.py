"""Writing exports into sealed blocks, and forgetting them."""

from datetime import datetime

from services.profile.domain import exports
from services.profile.rules.exports import BYTE_ORDER_MARK, header, written
from shared.errors import Conflict
from shared.jobs.runner import RunningJob
from shared.jobs.schedule import Context

# Rows of one block and one transaction: some hundred bytes each.
ROWS = 2_000


def write_export(job: RunningJob, *, rows: int = ROWS) -> None:
    """A block of rows at a time; what is written and the cursor are committed together, so killed, it goes on where it
    stood. Rows that change meanwhile are exported as they are when their turn comes; where somebody was erased meanwhile,
    a file of personal data is begun anew."""
    while job.cursor.get("phase") != "done":
        number = job.cursor.get("number", 0)
        with job.chunk() as chunk:
            wanted = exports.get(chunk.session, job.id)
            if wanted.personal and wanted.approved_at is None:
                raise Conflict("approval_missing", "nobody has approved this export")
            found, after = exports.rows_of(chunk.session, wanted, job.cursor.get("after"), rows)
            text = written(found, wanted.fields, wanted.format)
            if number == 0:
                mark = BYTE_ORDER_MARK if wanted.byte_order_mark else ""
                text = mark + header(wanted.fields, wanted.format) + text
            if text:
                exports.keep(chunk.session, job.id, number, text.encode(), len(found))
                number += 1
            chunk.advance(processed=len(found))
            since = job.cursor.get("since") or exports.clock(chunk.session).isoformat()
            chunk.cursor = {"number": number, "after": after, "since": since}
            if (
                after is None
                and wanted.personal
                and exports.was_erased(chunk.session, datetime.fromisoformat(since))
            ):
                exports.begin_anew(chunk.session, job.id)
                chunk.advance(processed=-wanted.row_count - len(found))
                chunk.cursor = {}
            elif after is None:
                exports.finish(chunk.session, job.id)
                chunk.report = {"rows": wanted.row_count + len(found)}
                chunk.cursor = {"phase": "done"}


def forget_exports(context: Context) -> None:
    """Files whose time is over, in portions that commit by themselves."""
    while True:
        with context.sessions.begin() as session:
            if not exports.forget(session):
                return
