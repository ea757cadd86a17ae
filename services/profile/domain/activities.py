"""Activities: recorded in batches, known or anonymous, and attached to a person when they log in.

What a known customer does is announced; what a device does stays here until somebody logs in on it. A device is only a
blind token, and an activity tells of it as long as nobody else is meant.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select, text, tuple_
from sqlalchemy.orm import Session

from services.profile.domain import activity_types, customers, pricing
from services.profile.domain.recording import Outcome
from services.profile.rules.activities import ActivityFacts, fingerprint
from services.profile.tables import activity
from shared import sealing
from shared.blind_indexes import blind_many
from shared.errors import Conflict, Fault, Invalid, Refusal
from shared.events.profile_behaviour import Activity, ActivityRecorded
from shared.ids import uuid7
from shared.messaging.outbox import announce

# Which values share tokens: see shared/blind_indexes.
DEVICE = "identity:device"
# One event stays far below the 900 KB that an event may have.
ANNOUNCED_AT_ONCE = 500
# What one login takes over at most: the latest.
ATTACHED_AT_ONCE = 10_000

_KNOWN = text(
    """
    with n as materialized (
        select * from unnest(cast(:ids as uuid[]), cast(:sources as text[]), cast(:external_ids as text[]))
            with ordinality as n (activity_id, source, external_id, position)
    )
    select n.position, a.activity_id, a.customer_id, a.fingerprint from n join activity a using (source, external_id)
    union all
    select n.position, a.activity_id, a.customer_id, a.fingerprint from n join activity a using (activity_id)
    """
)
_RECORD = text(
    """
    insert into activity (activity_id, source, external_id, type, customer_id, recorded_customer_id, device_token,
        occurred_at, recorded_at, historical, channel, sku, category, page, query_sealed, result_count, quantity,
        campaign_id, properties, fingerprint)
    select activity_id, source, external_id, type, customer_id, recorded_customer_id, device_token, occurred_at,
        cast(:now as timestamptz), historical, channel, sku, category, page, query_sealed, result_count, quantity,
        campaign_id, properties, fingerprint
    from json_to_recordset(cast(:facts as json)) as f (activity_id uuid, source text, external_id text, type text,
        customer_id uuid, recorded_customer_id uuid, device_token bytea, occurred_at timestamptz, historical boolean,
        channel text, sku text, category text, page text, query_sealed bytea, result_count int, quantity int,
        campaign_id text, properties jsonb, fingerprint bytea)
    order by source, external_id, activity_id
    on conflict do nothing
    returning activity_id
    """
)
# The rows are locked in one order, so that two logins on one device wait for each other and the second finds none left.
_ATTACH = text(
    """
    with theirs as materialized (
        select activity_id from activity where customer_id is null and device_token = any(cast(:tokens as bytea[]))
        order by occurred_at desc, activity_id limit :most for update
    )
    update activity set customer_id = :owner, recorded_customer_id = :recorded
    from theirs where activity.activity_id = theirs.activity_id
    returning activity.*
    """
)
_FORGET = text(
    """
    delete from activity where activity_id = any(array(
        select activity_id from activity where occurred_at < now() - make_interval(days => :kept)
        order by occurred_at limit :most for update skip locked
    ))
    returning 1
    """
)


@dataclass(slots=True)
class _Candidate:
    position: int
    facts: ActivityFacts
    activity_id: UUID
    fingerprint: bytes
    device_token: bytes | None
    customer_id: UUID | None
    recorded_customer_id: UUID | None

    @property
    def name(self) -> tuple[str, str]:
        facts = self.facts
        return (facts.source, facts.external_id or "") if facts.source else ("", str(self.activity_id))


def record_many(session: Session, facts: Sequence[ActivityFacts], now: datetime) -> list[Outcome]:
    """Record up to some thousand activities and announce those of known customers, in a constant number of statements.

    Each stands or falls alone; outcomes are in the order of ``facts``. What was told before under the same name or id
    is ``unchanged``, or ``differs``. ``now`` is the transaction's database time.
    """
    owners = customers.resolve_and_lock(session, (one.customer for one in facts if one.customer is not None))
    definitions = activity_types.definitions(session, {one.type for one in facts})
    facts = [one._replace(device_id=(one.device_id or "").strip() or None) for one in facts]
    devices = sorted({one.device_id for one in facts if one.device_id is not None})
    tokens = dict(zip(devices, blind_many(session, DEVICE, devices), strict=True))
    outcomes: dict[int, Outcome] = {}
    candidates = []
    for position, one in enumerate(facts):
        try:
            _check(session, one, definitions, now)
            owner = (
                customers.owner_of(one.customer, owners, create=False) if one.customer is not None else None
            )
        except Refusal as problem:
            outcomes[position] = Outcome("refused", problem=problem)
            continue
        token = None if one.device_id is None else tokens[one.device_id]
        candidates.append(
            _Candidate(
                position,
                one,
                one.activity_id or uuid7(),
                fingerprint(one, token),
                token,
                owner and owner.customer_id,
                owner and owner.recorded_customer_id,
            )
        )
    while candidates:
        candidates = _round(session, candidates, outcomes, now)
    return [outcomes[position] for position in range(len(facts))]


def attach(session: Session, device_ids: Iterable[str], customer_id: UUID) -> int:
    """Somebody logged in: what was done on these devices and is nobody's yet is theirs; returns how much that was.

    At most the latest 10,000 activities. Announces them. Nothing happens to an erased customer. The caller has
    authenticated the person: activities alone never say who somebody is.
    """
    tokens = blind_many(session, DEVICE, sorted({device_id.strip() for device_id in device_ids}))
    owner = customers.lock_owners(session, [customer_id]).get(customer_id)
    if not tokens or owner is None:
        return 0
    rows = session.execute(
        _ATTACH, {"tokens": tokens, "most": ATTACHED_AT_ONCE, "owner": owner, "recorded": customer_id}
    ).all()
    _announce(session, [dict(row._mapping) for row in rows], attached=True)
    return len(rows)


def of_customer(
    session: Session,
    customer_id: UUID,
    after: tuple[datetime, UUID] | None,
    limit: int,
    types: Sequence[str] = (),
) -> Sequence[Row[Any]]:
    """Latest first, by ``(occurred_at, activity_id)``."""
    order = (activity.c.occurred_at, activity.c.activity_id)
    rows = select(activity).where(activity.c.customer_id == customer_id)
    if types:
        rows = rows.where(activity.c.type.in_(types))
    if after is not None:
        rows = rows.where(tuple_(*order) < tuple_(*after))
    return session.execute(rows.order_by(*(column.desc() for column in order)).limit(limit)).all()


def queries_of(session: Session, rows: Iterable[Row[Any]]) -> list[str | None]:
    """What was searched for, in clear: for callers who may see personal data."""
    return sealing.unseal_many(
        session, [(str(row.recorded_customer_id), _place(row.activity_id), row.query_sealed) for row in rows]
    )


def forget_old(session: Session, most: int) -> int:
    """Delete up to ``most`` activities that are older than the setting keeps them; returns how many went."""
    kept = session.info["settings"].activity_kept_days
    return len(session.execute(_FORGET, {"kept": kept, "most": most}).all())


def _check(
    session: Session,
    facts: ActivityFacts,
    definitions: Mapping[str, activity_types.Definition],
    now: datetime,
) -> None:
    """What can be wrong with an activity by itself. Raises Invalid."""
    pricing.check_time(facts.occurred_at, now)
    kept = session.info["settings"].activity_kept_days
    if now - facts.occurred_at > timedelta(days=kept):
        raise _invalid("occurred_at", "activity_too_old", f"activities are kept for {kept} days")
    if (facts.source is None) != (facts.external_id is None) or (facts.source is None) == (
        facts.activity_id is None
    ):
        raise _invalid("external_id", "activity_unnamed", "give source and external_id, or an id of your own")
    if facts.customer is None and facts.device_id is None:
        raise _invalid("customer", "activity_of_nobody", "give the customer, the device, or both")
    activity_types.check(facts, definitions)


def _round(
    session: Session, candidates: Sequence[_Candidate], outcomes: dict[int, Outcome], now: datetime
) -> list[_Candidate]:
    """Compare what is known, record the first of each name that is not; returns who has to be looked at again."""
    rows = session.execute(
        _KNOWN,
        {
            "ids": [one.facts.activity_id for one in candidates],
            "sources": [one.facts.source for one in candidates],
            "external_ids": [one.facts.external_id for one in candidates],
        },
    )
    existing = {candidates[row.position - 1].position: row for row in rows}
    new: dict[tuple[str, str], _Candidate] = {}
    again = []
    for one in candidates:
        if known := existing.get(one.position):
            outcomes[one.position] = _compared(one, known)
        elif new.setdefault(one.name, one) is not one:
            again.append(one)
    return again + _record(session, list(new.values()), outcomes, now)


def _compared(one: _Candidate, known: Row[Any]) -> Outcome:
    """Told again, perhaps by somebody who knows by now who it was; that alone attaches nothing."""
    same = known.fingerprint == one.fingerprint and (
        None in (known.customer_id, one.customer_id) or known.customer_id == one.customer_id
    )
    problem = None if same else Conflict("activity_differs", "this activity was recorded with other facts")
    return Outcome("unchanged" if same else "differs", known.activity_id, known.customer_id, problem)


def _record(
    session: Session, new: Sequence[_Candidate], outcomes: dict[int, Outcome], now: datetime
) -> list[_Candidate]:
    """Record activities of different names; returns those that somebody else recorded in this moment."""
    if not new:
        return []
    rows = [_row(session, one, now) for one in new]
    searched = [
        (row, one) for row, one in zip(rows, new, strict=True) if one.facts.query and one.recorded_customer_id
    ]
    texts = [
        (str(one.recorded_customer_id), _place(one.activity_id), one.facts.query or "") for _, one in searched
    ]
    for (row, _), sealed in zip(searched, sealing.seal_many(session, texts), strict=True):
        row["query_sealed"] = _hex(sealed)
    inserted = set(session.scalars(_RECORD, {"facts": json.dumps(rows), "now": now}))
    for one in new:
        if one.activity_id in inserted:
            outcomes[one.position] = Outcome("recorded", one.activity_id, one.customer_id)
    _announce(
        session,
        [
            row | {"recorded_at": now}
            for row, one in zip(rows, new, strict=True)
            if one.customer_id and one.activity_id in inserted
        ],
    )
    return [one for one in new if one.activity_id not in inserted]


def _row(session: Session, one: _Candidate, now: datetime) -> dict[str, Any]:
    facts = one.facts
    return {
        "activity_id": str(one.activity_id),
        "source": facts.source,
        "external_id": facts.external_id,
        "type": facts.type,
        "customer_id": one.customer_id and str(one.customer_id),
        "recorded_customer_id": one.recorded_customer_id and str(one.recorded_customer_id),
        "device_token": one.device_token and _hex(one.device_token),
        "occurred_at": facts.occurred_at.isoformat(),
        "historical": customers.is_historical(session, facts.occurred_at, now),
        "channel": facts.channel,
        "sku": facts.sku,
        "category": facts.category,
        "page": facts.page,
        "result_count": facts.result_count,
        "quantity": facts.quantity,
        "campaign_id": facts.campaign_id,
        "properties": dict(facts.properties) or None,
        "fingerprint": _hex(one.fingerprint),
    }


def _announce(session: Session, rows: Sequence[Mapping[str, Any]], *, attached: bool = False) -> None:
    """One event for up to 500 activities of a customer, in the order in which they happened."""
    theirs: dict[tuple[Any, Any], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        theirs[row["customer_id"], row["recorded_customer_id"]].append(row)
    for (owner, recorded), done in theirs.items():
        told = [Activity.model_validate(dict(row) | {"properties": row["properties"] or {}}) for row in done]
        told.sort(key=lambda one: (one.occurred_at, one.activity_id))
        for start in range(0, len(told), ANNOUNCED_AT_ONCE):
            announce(
                session,
                ActivityRecorded(
                    customer_id=owner,
                    recorded_customer_id=recorded if recorded != owner else None,
                    attached=attached,
                    activities=tuple(told[start : start + ANNOUNCED_AT_ONCE]),
                ),
            )


def _place(activity_id: UUID) -> str:
    return f"activity.query_sealed:{activity_id}"


def _hex(content: bytes) -> str:
    return "\\x" + content.hex()


def _invalid(field: str, code: str, message: str) -> Invalid:
    return Invalid(code, message, faults=[Fault(f"/{field}", code, message)])
