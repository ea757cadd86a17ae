"""Policies as people work on them: drafted, tried (domain/backtests.py), published. What is published stays as it is."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from services.scoring.rules.policy import Policy, parse
from services.scoring.rules.policy_faults import faults, merged
from shared import audit
from shared.errors import Conflict, Fault, NotFound
from shared.ids import uuid7

# One is published at a time: each gets the next version.
_PUBLISHING = 7_348_207_202

_COLUMNS = """
    policy_id, version, content, based_on, note, revision, created_at, created_by, updated_at, published_at, published_by
"""

# What was published by somebody, for the entry of the audit log that stands for it; the first policy came with the service.
_DIGEST = "encode(sha256(convert_to(concat_ws('|', version, content), 'UTF8')), 'hex')"
AUDITED_ROWS = {
    "tier_policy_published": (
        f"select cast(policy_id as text) as subject, {_DIGEST} as digest from policy where published_by is not null"
    )
}


def listed(session: Session, after: tuple[Any, ...] | None, size: int) -> Sequence[Row[Any]]:
    """Drafts and versions, the one begun last first."""
    created_at, policy_id = after or (None, None)
    return session.execute(
        text(f"""
            select {_COLUMNS} from policy
            where cast(:policy_id as uuid) is null or (created_at, policy_id) < (:created_at, cast(:policy_id as uuid))
            order by created_at desc, policy_id desc limit :size
        """),
        {"created_at": created_at, "policy_id": policy_id, "size": size},
    ).all()


def find(session: Session, policy_id: UUID, *, lock: bool = False) -> Row[Any]:
    row = session.execute(
        text(f"select {_COLUMNS} from policy where policy_id = :id {'for no key update' if lock else ''}"),
        {"id": policy_id},
    ).one_or_none()
    if row is None:
        raise NotFound("tier_policy_not_found", f"there is no policy {policy_id}")
    return row


def find_draft(session: Session, policy_id: UUID) -> Row[Any]:
    """A draft, locked; raises Conflict ``tier_policy_published`` for one that is a draft no more."""
    row = find(session, policy_id, lock=True)
    if row.version is not None:
        raise Conflict("tier_policy_published", "what is published stays as it is: begin a draft from it")
    return row


def draft(session: Session, changes: Mapping[str, Any], note: str | None, by: str) -> Row[Any]:
    """Begin a draft from the latest version with ``changes`` (a JSON merge patch)."""
    latest = session.execute(
        text("select version, content from policy where version is not null order by version desc limit 1")
    ).one()
    return session.execute(
        text(f"""
            insert into policy (policy_id, content, based_on, note, created_by)
            values (:id, :content, :based_on, :note, :by) returning {_COLUMNS}
        """).bindparams(bindparam("content", type_=JSONB)),
        {
            "id": uuid7(),
            "content": merged(latest.content, changes),
            "based_on": latest.version,
            "note": note,
            "by": by,
        },
    ).one()


def edit(session: Session, current: Row[Any], content: Mapping[str, Any], note: str | None) -> Row[Any]:
    """Replace the content of a draft (locked)."""
    return session.execute(
        text(f"""
            update policy set content = :content, note = :note, revision = revision + 1, updated_at = now()
            where policy_id = :id returning {_COLUMNS}
        """).bindparams(bindparam("content", type_=JSONB)),
        {"id": current.policy_id, "content": dict(content), "note": note},
    ).one()


def discard(session: Session, current: Row[Any]) -> None:
    """Throw a draft (locked) away, and what was tried with it."""
    found = {"id": current.policy_id}
    session.execute(
        text("""
            delete from backtest_example where backtest_id in (select backtest_id from backtest where policy_id = :id)
        """),
        found,
    )
    session.execute(text("delete from backtest where policy_id = :id"), found)
    session.execute(text("delete from policy where policy_id = :id"), found)


def publish(session: Session, current: Row[Any], by: str) -> Row[Any]:
    """Make a draft (locked) the version that the next calibration follows. Raises Conflict ``tier_policy_not_whole``, with
    every fault."""
    whole(current)
    session.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _PUBLISHING})
    published = session.execute(
        text(f"""
            update policy set version = (select max(version) + 1 from policy), published_at = now(), published_by = :by,
                revision = revision + 1, updated_at = now()
            where policy_id = :id returning {_COLUMNS}, {_DIGEST} as digest
        """),
        {"id": current.policy_id, "by": by},
    ).one()
    audit.record(
        session,
        "tier_policy_published",
        by=by,
        subject=str(current.policy_id),
        version=published.version,
        rows=published.digest,
    )
    return published


def whole(row: Row[Any]) -> Policy:
    """The policy, if it is one; version 0 while it is a draft. Raises Conflict ``tier_policy_not_whole``, with every fault."""
    found = faults(row.content)
    if found:
        raise Conflict(
            "tier_policy_not_whole",
            f"{len(found)} places keep this from being a policy",
            faults=[Fault(f"/content{each.pointer}", each.code, each.message) for each in found],
        )
    return parse(row.version or 0, row.content)
