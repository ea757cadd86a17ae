"""How the chain grows: at the commit, in one order, under the last lock that a transaction takes.

``record`` only buffers. Just before the commit – after the outbox, so that every transaction takes these locks in one
order – the row of the head is locked, the entries are numbered and hashed, and entries and head are written: two
statements. So there is never an entry that is not chained, and nobody has to seal what others left behind. What it
costs: audited acts commit one after the other, about a millisecond each on an idle disk; a lookup of 1,000 contact
points is one entry, which holds the lock for that millisecond and not while addresses are opened.

The key of the hashes is in the environment (``REGULARS_AUDIT_KEY``), so whoever owns the database cannot make a chain
that fits. After the commit each entry is told to the world outside of the database (anchors.py).
"""

import hmac
import json
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.orm import Session, SessionTransaction

from shared.audit import anchors
from shared.database import execute_hot
from shared.messaging import outbox

Fact = str | int | bool | None

# What the first entry has before it.
BEGINNING = bytes(32)

_BUFFER = "audited"
_MARKS = "audited_before_savepoint"
_CHAINED = "chained"


class Act(NamedTuple):
    """What an entry says. ``facts`` is JSON, its names sorted."""

    action: str
    actor: str
    subject: str | None
    facts: str


def record(session: Session, action: str, *, by: str, subject: str | None = None, **facts: Fact) -> None:
    """Note in the audit log, if this transaction commits, that ``by`` did ``action`` (past tense, ``api_key_issued``).

    ``subject`` is the id of what it was done to. Neither it nor ``facts`` may be personal data: the log outlives an
    erasure.
    """
    if not session.in_transaction():
        session.begin()
    buffer = session.info.setdefault(_BUFFER, [])
    buffer.append(Act(action, by, subject, canonical(facts)))


def canonical(value: Any) -> str:
    """One text for one JSON value, however the database keeps it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def entry_hash(key: bytes, service: str, number: int, at: datetime, act: Act, before: bytes) -> bytes:
    """HMAC-SHA256 over the entry, its place and the hash of the entry before it."""
    moment = at.astimezone(UTC).isoformat(timespec="microseconds")
    content = canonical([service, number, moment, *act, before.hex()])
    return hmac.digest(key, b"audit entry:" + content.encode(), "sha256")


_LOCK_HEAD = "select number, hash, clock_timestamp() from shared.audit_head for update"
# A head that somebody deleted; that it was away does not show, that entries are away does (verification.py).
_NEW_HEAD = """
insert into shared.audit_head (number, hash)
select coalesce(max(number), 0), coalesce((array_agg(hash order by number desc))[1], %s) from shared.audit_entry
on conflict do nothing
"""
_APPEND = """
with e as (
    insert into shared.audit_entry (number, at, action, actor, subject, facts, hash)
    select number, %s, action, actor, subject, facts::jsonb, hash
    from unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bytea[])
        as e (number, action, actor, subject, facts, hash)
)
update shared.audit_head set number = %s, hash = %s
"""


def _write(session: Session) -> None:
    """before_commit: chain what was recorded."""
    buffer: list[Act] | None = session.info.get(_BUFFER)
    if not buffer or session.in_nested_transaction():
        return
    session.flush()
    settings = session.info["settings"]
    head = execute_hot(session, _LOCK_HEAD, ()).fetchone()
    if head is None:
        execute_hot(session, _NEW_HEAD, (BEGINNING,))
        head = execute_hot(session, _LOCK_HEAD, ()).fetchone()
    assert head is not None
    number, before, at = head
    chained = []
    for act in buffer:
        number += 1
        before = entry_hash(settings.audit_secrets[0], settings.service, number, at, act, before)
        chained.append(anchors.Anchor(number, before, at, act.action, act.subject, act.facts))
    columns = [list(column) for column in zip(*buffer, strict=True)]
    numbers, hashes = [anchor.number for anchor in chained], [anchor.hash for anchor in chained]
    execute_hot(session, _APPEND, (at, numbers, *columns, hashes, number, before))
    session.info[_CHAINED] = chained
    buffer.clear()


def _tell(session: Session) -> None:
    """after_commit: the new heads, outside of the database."""
    if not session.in_nested_transaction() and (chained := session.info.pop(_CHAINED, None)):
        anchors.put(session.info["settings"], chained)


def _remember(session: Session, transaction: SessionTransaction) -> None:
    """after_transaction_create: how much had been recorded before this savepoint."""
    if transaction.nested and session.info.get(_BUFFER):
        session.info.setdefault(_MARKS, {})[transaction] = len(session.info[_BUFFER])


def _forget(session: Session, transaction: SessionTransaction) -> None:
    """after_soft_rollback: a savepoint takes back what was recorded in it."""
    if transaction.nested and (buffer := session.info.get(_BUFFER)):
        del buffer[session.info.get(_MARKS, {}).get(transaction, 0) :]


def _close(session: Session, transaction: SessionTransaction) -> None:
    """after_transaction_end: nothing outlives the transaction, however it ended."""
    if transaction.parent is None:
        for name in (_BUFFER, _MARKS, _CHAINED):
            session.info.pop(name, None)


_HOOKS: dict[str, Any] = {
    "before_commit": _write,
    "after_commit": _tell,
    "after_transaction_create": _remember,
    "after_soft_rollback": _forget,
    "after_transaction_end": _close,
}

# Hooks run in the order in which they were set up: the outbox's first, always.
outbox.install()
for _name, _hook in _HOOKS.items():
    sqlalchemy_event.listen(Session, _name, _hook)
