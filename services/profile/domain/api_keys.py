"""API keys: made once, kept as an HMAC, revoked for good; every service polls the list of those in force."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, insert, select, tuple_, update
from sqlalchemy.orm import Session

from services.profile.tables import api_key
from shared import audit
from shared.auth.callers import Caller
from shared.auth.keys import Credential, new_key
from shared.errors import Forbidden, NotFound
from shared.ids import uuid7


def issue(
    session: Session, name: str, scopes: Sequence[str], issuer: Caller, now: datetime
) -> tuple[Row[Any], str]:
    """A new key and its clear text, which is kept nowhere. Raises Forbidden ``scope_not_yours``: nobody gives away
    more than they have."""
    missing = sorted(scope for scope in set(scopes) if not issuer.may(scope))
    if missing:
        raise Forbidden("scope_not_yours", f"you cannot grant what you do not have: {', '.join(missing)}")
    clear, hmac = new_key(session.info["settings"].key_pepper)
    row = session.execute(
        insert(api_key)
        .values(
            api_key_id=uuid7(),
            name=name,
            hmac=hmac,
            scopes=sorted(set(scopes)),
            created_at=now,
            created_by=issuer.name,
        )
        .returning(api_key)
    ).one()
    audit.record(
        session, "api_key_issued", by=issuer.name, subject=str(row.api_key_id), scopes=" ".join(row.scopes)
    )
    return row, clear


def page(session: Session, after: tuple[datetime, UUID] | None, limit: int) -> Sequence[Row[Any]]:
    """All keys ever issued, oldest first, by ``(created_at, api_key_id)``."""
    order = (api_key.c.created_at, api_key.c.api_key_id)
    rows = select(api_key)
    if after is not None:
        rows = rows.where(tuple_(*order) > tuple_(*after))
    return session.execute(rows.order_by(*order).limit(limit)).all()


def revoke(session: Session, api_key_id: UUID, by: str, now: datetime) -> Row[Any]:
    """Revoke a key; a revoked one stays as it is. Raises NotFound ``api_key_not_found``."""
    revoked = session.execute(
        update(api_key)
        .where(api_key.c.api_key_id == api_key_id, api_key.c.revoked_at.is_(None))
        .values(revoked_at=now, revoked_by=by)
    )
    if revoked.rowcount:  # type: ignore[attr-defined]
        audit.record(session, "api_key_revoked", by=by, subject=str(api_key_id))
    row = session.execute(select(api_key).where(api_key.c.api_key_id == api_key_id)).one_or_none()
    if row is None:
        raise NotFound("api_key_not_found", "no such key")
    return row


def active(session: Session) -> list[Credential]:
    """The keys in force, for whoever has to know them."""
    rows = session.execute(
        select(api_key).where(api_key.c.revoked_at.is_(None)).order_by(api_key.c.api_key_id)
    )
    return [
        Credential(id=str(row.api_key_id), name=row.name, scopes=row.scopes, hmac=row.hmac) for row in rows
    ]
