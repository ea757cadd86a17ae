"""Erasure: a person is forgotten, the facts about what was bought stay and are nobody's.

Everything personal is sealed under the customer's own data key, which is destroyed; rows that tell of the person are
deleted, the others keep a customer id that nothing leads to any more (holdings.py says which). With a customer goes
everybody merged into it. The same transaction leaves blind tokens, so that nobody brings the person back unnoticed, an
entry in the audit log, whose copy outside of the database lets a restored backup forget again, and announces it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, select, text, tuple_
from sqlalchemy.orm import Session

from services.profile.domain import customer_profiles, customers, forgotten, identities
from services.profile.domain.holdings import DELETE, HOLDINGS, KEEP, Holding
from services.profile.tables import access_request, customer_external_id, customer_identity, erasure
from shared import audit, erasures, sealing
from shared.errors import NotFound
from shared.events.profile import CustomerErased
from shared.ids import uuid7
from shared.messaging.outbox import announce

# Who has to say that they have forgotten the customer, too.
SERVICES = ("scoring", "campaigns", "feedback")
# On which channels an address of an erased person is not used.
_CHANNELS = {"email": ("email",), "phone": ("sms", "phone")}


class Erased(NamedTuple):
    """What became of one id. ``receipts`` is when each other service had forgotten it, None as long as it has not."""

    customer_id: UUID
    root_id: UUID
    erased_at: datetime
    erased_by: str
    receipts: Mapping[str, datetime | None]

    @property
    def completed_at(self) -> datetime | None:
        times = list(self.receipts.values())
        return None if None in times or not times else max(time for time in times if time is not None)


def erase(session: Session, customer_id: UUID, by: str, now: datetime) -> UUID:
    """Forget a customer with everybody merged into it; the id under which all of them were one. Of somebody erased
    before nothing is done. Raises NotFound."""
    rows = customers.lock_trees(session, [customer_id])
    if customer_id not in rows:
        raise customers.not_found()
    if rows[customer_id].state == "erased":
        return root_of(session, customer_id)
    root = rows[customer_id].merged_into or customer_id
    _forget(session, root, sorted(rows), by, now)
    return root


def root_of(session: Session, customer_id: UUID) -> UUID:
    found: UUID | None = session.scalar(select(erasure.c.root_id).where(erasure.c.customer_id == customer_id))
    return found or customer_id


def _forget(session: Session, root: UUID, ids: Sequence[UUID], by: str, now: datetime) -> None:
    tokens = _tokens(session, ids)
    _note(session, dict.fromkeys(ids, root), by, now)
    _keep_tokens(session, tokens, now)
    _empty(session, ids)
    for customer_id in ids:
        audit.record(
            session,
            erasures.ACTION,
            by=by,
            subject=str(customer_id),
            root=str(root),
            names=" ".join(f"{field}:{token.hex()}" for field, token in tokens[customer_id]),
        )
    announce(session, *(CustomerErased(customer_id=one, erased_at=now) for one in ids))


def reapply(session: Session, forgotten_again: Sequence[erasures.Forgotten]) -> None:
    """After a restore: forget once more who was erased since the backup was made, known here or not.

    Nothing is announced, for everybody else has heard of it. What the backup held of their names is kept as tokens once
    more, and so is what stands in the audit log's lines outside, of those whom the backup never knew.
    """
    ids = sorted(one.customer_id for one in forgotten_again)
    customers.lock_trees(session, ids)
    tokens = _tokens(session, ids)
    roots = {}
    for one in forgotten_again:
        facts = json.loads(one.facts)
        roots[one.customer_id] = UUID(facts.get("root", str(one.customer_id)))
        for name in str(facts.get("names", "")).split():
            field, _, token = name.rpartition(":")
            tokens[one.customer_id].append((field, bytes.fromhex(token)))
    now = max(one.erased_at for one in forgotten_again)
    _note(session, roots, "restore", now)
    _keep_tokens(session, {one: sorted(set(found)) for one, found in tokens.items()}, now)
    _empty(session, ids)
    audit.record(session, "erasures_reapplied", by="restore", customers=len(ids))


def _empty(session: Session, ids: Sequence[UUID]) -> None:
    """Rows deleted or emptied, keys destroyed."""
    for statement in _STATEMENTS:
        session.execute(statement, {"ids": list(ids)})
    for customer_id in ids:
        sealing.destroy(session, str(customer_id))
    requests = session.scalars(
        select(access_request.c.request_id).where(
            access_request.c.customer_id.in_(ids), access_request.c.destroyed_at.is_(None)
        )
    ).all()
    destroy_copies(session, requests)


def destroy_copies(session: Session, requests: Iterable[UUID]) -> None:
    """The sealed copies of access requests, and the keys that open them."""
    requests = list(requests)
    if not requests:
        return
    session.execute(text("delete from access_block where request_id = any(:ids)"), {"ids": requests})
    session.execute(
        text("update access_request set destroyed_at = now() where request_id = any(:ids)"), {"ids": requests}
    )
    for request_id in requests:
        sealing.destroy(session, copy_subject(request_id))


def copy_subject(request_id: UUID) -> str:
    """Whose key seals the copy of an access request."""
    return f"access:{request_id}"


_Tokens = dict[UUID, list[tuple[str, bytes]]]


def _tokens(session: Session, ids: Sequence[UUID]) -> _Tokens:
    """By what each customer would be recognised: ``(field, blind token)``."""
    found: _Tokens = {customer_id: [] for customer_id in ids}
    names = session.execute(
        select(
            customer_external_id.c.customer_id,
            customer_external_id.c.source,
            customer_external_id.c.external_id,
        ).where(customer_external_id.c.customer_id.in_(ids))
    ).all()
    tokens = forgotten.external_name_tokens(session, [(row.source, row.external_id) for row in names])
    for row, token in zip(names, tokens, strict=True):
        found[row.customer_id].append((forgotten.EXTERNAL_NAME, token))
    rows = session.execute(
        text("select * from customer where customer_id = any(:ids)"), {"ids": list(ids)}
    ).all()
    personal = customer_profiles.personal_of(session, rows, ("email", "phone"))
    for row, clear in zip(rows, personal, strict=True):
        for field, value in clear.items():
            if value is not None:
                found[row.customer_id] += forgotten.address_tokens(session, field, value)
    known = session.execute(
        select(customer_identity).where(
            customer_identity.c.customer_id.in_(ids),
            customer_identity.c.namespace.not_in(identities.DEVICES),
        )
    ).all()
    for row, value in zip(known, identities.values_of(session, known), strict=True):
        if value is not None and row.namespace in _CHANNELS:
            found[row.customer_id] += forgotten.address_tokens(session, row.namespace, value)
        else:
            found[row.customer_id].append((f"identity:{row.namespace}", bytes(row.token)))
    return {customer_id: sorted(set(tokens)) for customer_id, tokens in found.items()}


_NOTE = text(
    """
    with noted as (
        insert into erasure (customer_id, root_id, erased_at, erased_by)
        select customer_id, root_id, :now, :by
        from unnest(cast(:ids as uuid[]), cast(:roots as uuid[])) as e (customer_id, root_id)
        on conflict (customer_id) do nothing
        returning customer_id
    )
    insert into erasure_receipt (customer_id, service)
    select customer_id, service from noted, unnest(cast(:services as text[])) as s (service)
    """
)
_KEEP_TOKENS = text(
    """
    insert into forgotten_name (token, customer_id, field, forgotten_at)
    select token, customer_id, field, :now
    from unnest(cast(:tokens as bytea[]), cast(:ids as uuid[]), cast(:fields as text[])) as t (token, customer_id, field)
    on conflict do nothing
    """
)
_SUPPRESS = text(
    """
    insert into suppression (suppression_id, channel, reason, address_token, set_at, set_by)
    select suppression_id, channel, 'erasure', token, :now, 'erasure'
    from unnest(cast(:ids as uuid[]), cast(:channels as text[]), cast(:tokens as bytea[]))
        as t (suppression_id, channel, token)
    where not exists (
        select from suppression s
        where s.address_token = t.token and s.channel = t.channel and s.reason = 'erasure' and s.lifted_at is null
    )
    """
)


def _note(session: Session, roots: Mapping[UUID, UUID], by: str, now: datetime) -> None:
    session.execute(
        _NOTE,
        {"ids": list(roots), "roots": list(roots.values()), "now": now, "by": by, "services": list(SERVICES)},
    )


def _keep_tokens(session: Session, tokens: _Tokens, now: datetime) -> None:
    """The names are known as erased from now on, and nobody writes to the addresses."""
    all_of = [(token, one, field) for one, several in tokens.items() for field, token in several]
    session.execute(
        _KEEP_TOKENS,
        {
            "tokens": [token for token, _, _ in all_of],
            "ids": [customer_id for _, customer_id, _ in all_of],
            "fields": [field for _, _, field in all_of],
            "now": now,
        },
    )
    addresses = sorted(
        {(channel, token) for token, _, field in all_of for channel in _CHANNELS.get(field, ())}
    )
    session.execute(
        _SUPPRESS,
        {
            "ids": [uuid7() for _ in addresses],
            "channels": [channel for channel, _ in addresses],
            "tokens": [token for _, token in addresses],
            "now": now,
        },
    )


def _statement(holding: Holding) -> str | None:
    """What an erasure does to one table, given ``ids``; None where nothing."""
    table = holding.table_name
    if holding.erasure == KEEP:
        return None
    if holding.parent is None:
        of = " and ".join(f"{owner} = any(:ids)" for owner in holding.owners)
    else:
        parent, column = holding.parent
        key = holding.bound_to.primary_key.columns.values()[0].name
        of = f"{column} in (select {key} from {parent} where customer_id = any(:ids))"
    if holding.erasure == DELETE:
        return f"delete from {table} where {of}"
    assert not isinstance(holding.erasure, str)
    become = dict.fromkeys(holding.sealed, "null") | dict(holding.erasure)
    return f"update {table} set {', '.join(f'{name} = {value}' for name, value in become.items())} where {of}"


_STATEMENTS = tuple(
    text(statement)
    for statement in (
        (
            "update export set expires_at = now() where personal and ready_at is not null and destroyed_at is null"
            " and cardinality(cast(:ids as uuid[])) > 0"
        ),
        "delete from customer_token where customer_id = any(:ids)",
        "delete from duplicate where first_id = any(:ids) or second_id = any(:ids)",
        "update merge set changes_sealed = null where winner_id = any(:ids) or loser_id = any(:ids)",
        *filter(None, map(_statement, HOLDINGS)),
    )
)


def get(session: Session, customer_id: UUID) -> Erased:
    """Raises NotFound ``erasure_not_found``."""
    found = _with_receipts(
        session, session.execute(select(erasure).where(erasure.c.customer_id == customer_id)).all()
    )
    if not found:
        raise NotFound("erasure_not_found", "this customer was not erased")
    return found[0]


def page(
    session: Session, after: tuple[datetime, UUID] | None, limit: int, *, outstanding: bool | None = None
) -> list[Erased]:
    """Erasures, the oldest first, by ``(erased_at, customer_id)``; ``outstanding``: a receipt is missing (or none is)."""
    order = (erasure.c.erased_at, erasure.c.customer_id)
    rows = select(erasure).order_by(*order).limit(limit)
    if after is not None:
        rows = rows.where(tuple_(*order) > tuple_(*after))
    if outstanding is not None:
        missing = (
            "exists (select from erasure_receipt r"
            " where r.customer_id = erasure.customer_id and r.completed_at is null)"
        )
        rows = rows.where(text(missing if outstanding else f"not {missing}"))
    return _with_receipts(session, session.execute(rows).all())


def _with_receipts(session: Session, rows: Sequence[Row[Any]]) -> list[Erased]:
    receipts: dict[UUID, dict[str, datetime | None]] = {row.customer_id: {} for row in rows}
    known = session.execute(
        text("select * from erasure_receipt where customer_id = any(:ids) order by service"),
        {"ids": list(receipts)},
    )
    for receipt in known:
        receipts[receipt.customer_id][receipt.service] = receipt.completed_at
    return [
        Erased(row.customer_id, row.root_id, row.erased_at, row.erased_by, receipts[row.customer_id])
        for row in rows
    ]


def note_receipts(session: Session, service: str, completed: Mapping[UUID, datetime]) -> None:
    """A service has forgotten these customers. A second receipt (a replay, a restored backup) changes nothing."""
    session.execute(
        text(
            """
            update erasure_receipt r set completed_at = c.completed_at
            from unnest(cast(:ids as uuid[]), cast(:times as timestamptz[])) as c (customer_id, completed_at)
            where r.customer_id = c.customer_id and r.service = :service and r.completed_at is null
            """
        ),
        {"ids": list(completed), "times": list(completed.values()), "service": service},
    )
