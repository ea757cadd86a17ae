"""Keeping the file current: what should be known of a customer, what is missing or stale, and who is due to be asked.

``customer.completeness`` and ``customer.due_at`` are written with every write of a customer; after a change of the
policy, or of which attributes are required, a job writes them anew.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, Row, Text, cast, select, tuple_, update
from sqlalchemy.orm import Session

from services.profile.domain import attributes
from services.profile.domain.reach import facets_within
from services.profile.rules import upkeep
from services.profile.rules.attributes import Definition
from services.profile.rules.upkeep import Policy, Upkeep
from services.profile.tables import customer, upkeep_policy
from shared.auth.callers import Reach
from shared.database import execute_hot
from shared.errors import Fault, Invalid

FIELDS = (
    "name",
    "email",
    "phone",
    "birth_date",
    "postcode",
    "country",
    "region",
    "city",
    "gender",
    "education",
    "income_band",
    "industry",
    "organisation_size",
    "interests",
    "lifestyle",
    "personal_values",
    "language",
    "time_zone",
    "acquisition_channel",
)
PREFIX = "attributes."


class Standard(NamedTuple):
    """What every customer is held against: the policy of each kind, required attributes among what is expected."""

    policies: Mapping[str, Policy]

    def of(self, kind: str, provenance: Mapping[str, Any], since: datetime) -> Upkeep:
        return upkeep.assess(self.policies[kind], provenance, since)

    def digest(self, kind: str) -> str:
        return hashlib.sha256(json.dumps(self.policies[kind], sort_keys=True).encode()).hexdigest()[:32]


def standard(session: Session, defined: Mapping[str, Definition] | None = None) -> Standard:
    if defined is None:
        defined = attributes.definitions(session)
    required = [PREFIX + name for name in attributes.required(defined)]
    rows = execute_hot(
        session, "select kind, expected, stale_after_days, stale_after_days_of from upkeep_policy", None
    )
    return Standard(
        {kind: Policy(tuple(expected), days, of).with_required(required) for kind, expected, days, of in rows}
    )


def policy(session: Session, kind: str) -> Row[Any]:
    return session.execute(select(upkeep_policy).where(upkeep_policy.c.kind == kind)).one()


def lock_policy(session: Session, kind: str) -> Row[Any]:
    wanted = select(upkeep_policy).where(upkeep_policy.c.kind == kind).with_for_update()
    return session.execute(wanted).one()


def set_policy(
    session: Session,
    row: Row[Any],
    expected: Sequence[str],
    stale_after_days: int,
    stale_after_days_of: Mapping[str, int | None],
    now: datetime,
) -> Row[Any]:
    """Change a locked policy; customers are held against it by the next run of ``assess_customers``.

    Raises Invalid ``field_unknown`` for what is neither a standard field nor ``attributes.<a defined one>``.
    """
    defined = attributes.definitions(session)
    known = {*FIELDS, *(PREFIX + name for name in defined)}
    faults = [
        Fault(f"/{where}/{at}", "field_unknown", "no field and no defined attribute is called so")
        for where, named in (
            ("expected", list(enumerate(expected))),
            ("stale_after_days_of", _named(stale_after_days_of)),
        )
        for at, field in named
        if field not in known
    ]
    if faults:
        raise Invalid("field_unknown", "some fields are unknown", faults=faults)
    values = {
        "expected": list(dict.fromkeys(expected)),
        "stale_after_days": stale_after_days,
        "stale_after_days_of": dict(stale_after_days_of),
    }
    if all(getattr(row, key) == value for key, value in values.items()):
        return row
    table = upkeep_policy
    return session.execute(
        update(table)
        .where(table.c.kind == row.kind)
        .values(**values, updated_at=now, version=table.c.version + 1)
        .returning(table)
    ).one()


class Freshness(NamedTuple):
    """One customer's file: what is missing of what is expected, what is stale at a time, and where all of it is from."""

    customer_id: UUID
    completeness: int
    due_at: datetime | None
    missing: tuple[str, ...]
    stale: tuple[str, ...]
    fields: Mapping[str, Mapping[str, Any]]


def freshness(standard: Standard, row: Row[Any], now: datetime) -> Freshness:
    """``row`` needs customer_id, kind, provenance and created_at."""
    found = standard.of(row.kind, row.provenance, row.created_at)
    held = standard.policies[row.kind]
    stale = [
        field
        for field in held.expected
        if (told := row.provenance.get(field))
        and (time := upkeep.turns_stale(held, field, told)) is not None
        and time <= now
    ]
    return Freshness(
        row.customer_id, found.completeness, found.due_at, found.missing, tuple(stale), row.provenance
    )


def due(
    session: Session,
    now: datetime,
    after: tuple[datetime, UUID] | None,
    limit: int,
    *,
    kinds: Sequence[str] = (),
    completeness_lt: int | None = None,
    reach: Reach | None = None,
) -> Sequence[Any]:
    """Active customers of whom something is missing or stale, the longest overdue first, by ``(due_at, customer_id)``;
    within ``reach`` only, if there is one."""
    table = customer.c
    order = (table.due_at, table.customer_id)
    wanted = select(
        table.customer_id, table.kind, table.provenance, table.created_at, table.due_at, table.completeness
    ).where(table.state == "active", table.due_at <= now)
    if kinds:
        wanted = wanted.where(table.kind.in_(kinds))
    if completeness_lt is not None:
        wanted = wanted.where(table.completeness < completeness_lt)
    if reach is not None:
        wanted = wanted.where(table.facets.op("&&")(cast(list(facets_within(reach)), ARRAY(Text))))
    if after is not None:
        wanted = wanted.where(tuple_(*order) > tuple_(*after))
    return session.execute(wanted.order_by(*order).limit(limit)).all()


def outdated_kinds(session: Session) -> list[str]:
    """Kinds whose customers were last held against something else than what holds now."""
    held = standard(session)
    rows = session.execute(select(upkeep_policy.c.kind, upkeep_policy.c.assessed_by))
    return [row.kind for row in rows if row.assessed_by != held.digest(row.kind)]


def note_assessed(session: Session, kind: str, digest: str) -> None:
    session.execute(update(upkeep_policy).where(upkeep_policy.c.kind == kind).values(assessed_by=digest))


def assess_some(session: Session, held: Standard, kind: str, after: UUID | None, limit: int) -> UUID | None:
    """Hold up to ``limit`` customers of a kind against what is expected now; the last one's id, None at the end."""
    table = customer.c
    wanted = (
        select(table.customer_id, table.provenance, table.created_at, table.completeness, table.due_at)
        .where(table.kind == kind)
        .order_by(table.customer_id)
        .limit(limit)
        .with_for_update(key_share=True)
    )
    if after is not None:
        wanted = wanted.where(table.customer_id > after)
    rows = session.execute(wanted).all()
    changed = [
        (row.customer_id, found)
        for row in rows
        if (found := held.of(kind, row.provenance, row.created_at))
        and (found.completeness, found.due_at) != (row.completeness, row.due_at)
    ]
    if changed:
        execute_hot(
            session,
            """update customer c set completeness = n.completeness, due_at = n.due_at
            from unnest(%(ids)s::uuid[], %(completeness)s::smallint[], %(due)s::timestamptz[])
                as n (customer_id, completeness, due_at)
            where c.customer_id = n.customer_id""",
            {
                "ids": [customer_id for customer_id, _ in changed],
                "completeness": [found.completeness for _, found in changed],
                "due": [found.due_at for _, found in changed],
            },
        )
    return rows[-1].customer_id if len(rows) == limit else None


def _named(fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(field.replace("~", "~0").replace("/", "~1"), field) for field in fields]
