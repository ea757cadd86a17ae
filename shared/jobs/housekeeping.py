"""What every service's ``work`` tidies up in the tables of shared/."""

from datetime import timedelta

from sqlalchemy import text

from shared.audit import anchors
from shared.http.idempotency import forget_expired
from shared.jobs import uploads
from shared.jobs.schedule import Context, Step
from shared.webhooks import queue

# How long a failed or cancelled job can still be resumed with what was uploaded for it.
KEEP_UPLOADS = timedelta(days=7)
# An upload that stopped arriving: its job was never released.
KEEP_UNFINISHED = timedelta(hours=24)


def forget_uploads(context: Context) -> int:
    """Destroy uploads that no job needs any more; returns how many."""
    with context.sessions.begin() as session:
        over = session.scalars(
            text(
                """
                select id from shared.job
                where (state in ('succeeded', 'failed', 'cancelled') and finished_at < now() - cast(:keep as interval)
                       or state = 'queued' and due_at is null and created_at < now() - cast(:unfinished as interval))
                  and exists (select from shared.upload_block where job_id = job.id)
                limit 100
                for update skip locked
                """
            ),
            {"keep": KEEP_UPLOADS, "unfinished": KEEP_UNFINISHED},
        ).all()
        for job_id in over:
            uploads.destroy(session, job_id)
        session.execute(
            text(
                "update shared.job set state = 'cancelled', finished_at = now()"
                " where id = any(:over) and state = 'queued'"
            ),
            {"over": over},
        )
    return len(over)


def forget_replies(context: Context) -> int:
    """Delete replies to idempotency keys that have expired."""
    with context.sessions.begin() as session:
        return forget_expired(session)


def anchor_audit_log(context: Context) -> int:
    """Tell the head of the audit log outside of the database once more: a process may have died between a commit and
    telling of it, and that nothing was done is worth knowing, too."""
    with context.sessions.begin() as session:
        row = session.execute(
            text("select number, hash, clock_timestamp() from shared.audit_head where number > 0")
        ).one_or_none()
    if row is not None:
        anchors.put(context.settings, [anchors.Anchor(row[0], bytes(row[1]), row[2])])
    return 0


def forget_calls(context: Context) -> int:
    """Delete calls of webhooks that arrived or failed long ago."""
    with context.sessions.begin() as session:
        return queue.forget_finished(session)


STEPS = (
    Step("anchor audit log", anchor_audit_log, every=timedelta(minutes=5)),
    Step("forget uploads", forget_uploads, every=timedelta(minutes=10)),
    Step("forget replies", forget_replies, every=timedelta(minutes=10)),
    Step("forget webhook calls", forget_calls, every=timedelta(minutes=10)),
)
