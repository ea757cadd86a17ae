"""The fields of two customers who become one: what the winner takes over, and what it gives back.

What a merge wrote is kept with it, sealed for the winner, until it is undone: ``{"fields": {field: [before, given]},
"told": {field: [before, given]}}``, ``told`` being where the values came from (``customer.provenance``).
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, update
from sqlalchemy.orm import Session

from services.profile.domain import attributes, customer_profiles, upkeep
from services.profile.domain import customer_values as values
from services.profile.rules import merging
from services.profile.rules.merging import Change, Strategy, Told, Unmergeable
from services.profile.tables import customer, merge
from shared import sealing
from shared.errors import Fault, Invalid

# Tags move with the reasons for which they were given (domain/tags).
_NOT_HERE = frozenset({"kind", "birth_month_day", "tags"})
FIELDS = tuple(field for field in (*values.PERSONAL, *values.COARSE) if field not in _NOT_HERE)
Provenance = Mapping[str, Any]


class Plan(NamedTuple):
    """What each of two customers knows, and what the first will have of the second."""

    winner: Mapping[str, Any]
    loser: Mapping[str, Any]
    changes: Mapping[str, Change]
    told: Mapping[str, Change]
    strategies: Mapping[str, Strategy]


def plan(session: Session, winner: Row[Any], loser: Row[Any], wished: Mapping[str, Strategy]) -> Plan:
    """Raises Invalid ``strategy_unfit``: no such field, or a union of what is no list."""
    own, other = known(session, winner), known(session, loser)
    defined = attributes.definitions(session)
    faults = [
        Fault(f"/strategies/{_pointer(field)}", "field_unknown", "customers have no such field")
        for field in wished
        if field not in FIELDS and field.removeprefix(upkeep.PREFIX) not in defined
    ]
    # A value that its definition does not accept any more stays where it is.
    other = {field: value for field, value in other.items() if _is_acceptable(defined, field, value)}
    try:
        changes = merging.outcome(_told(winner, own), _told(loser, other), wished)
    except Unmergeable as unfit:
        field = str(unfit)
        faults.append(Fault(f"/strategies/{_pointer(field)}", "strategy_unfit", "only lists are united"))
    if faults:
        raise Invalid("strategy_unfit", "a strategy does not fit its field", faults=faults)
    told = {
        field: Change(winner.provenance.get(field), loser.provenance[field])
        for field in changes
        if field in loser.provenance
    }
    strategies = {
        field: merging.strategy_of(field, other.get(field, own.get(field)), wished)
        for field in {*own, *other}
    }
    return Plan(own, other, changes, told, strategies)


def known(session: Session, row: Row[Any]) -> dict[str, Any]:
    """Every field of a customer that can be merged, in clear; defined attributes as ``attributes.<name>``."""
    found: dict[str, Any] = dict(values.personal_of(session, [row])[0])
    found |= {field: getattr(row, field) for field in FIELDS if field not in values.PERSONAL}
    custom = row.attributes | values.personal_attributes_of(session, [row])[0]
    found |= {upkeep.PREFIX + name: value for name, value in custom.items()}
    return {field: value for field, value in found.items() if value not in (None, [])}


def apply(session: Session, winner: Row[Any], planned: Plan, now: datetime) -> None:
    """Write what changes over the winner's row, which is locked."""
    given = {field: change.given for field, change in planned.changes.items()}
    _write(session, winner, given, {field: change.given for field, change in planned.told.items()}, now)


def sealed(session: Session, merge_id: UUID, winner_id: UUID, planned: Plan) -> bytes | None:
    return _seal(session, merge_id, winner_id, planned.changes, planned.told)


def give_back(session: Session, edge: Row[Any], winner: Row[Any], now: datetime) -> dict[str, Change]:
    """Take back what a merge gave its winner, whose row is locked; returns what that changed of it."""
    changes, told = _opened(session, edge)
    before = known(session, winner)
    back = merging.restored(changes, before)
    if back:
        _write(
            session,
            winner,
            back,
            {field: told[field].before if field in told else None for field in back},
            now,
        )
    return {field: Change(before.get(field), value) for field, value in back.items()}


def disinherit(
    session: Session, edge: Row[Any], winner: Row[Any], gone: Mapping[str, Change], now: datetime
) -> dict[str, Change]:
    """A customer who answers as ``winner`` lost ``gone``: so does the winner, where it had it from there. Returns what
    that changed of it; what the merge gave is noted anew."""
    changes, told = _opened(session, edge)
    current = known(session, winner)
    passed_on = {}
    for field, lost in gone.items():
        if field not in changes:
            continue
        was, anew = changes[field], merging.inherited(changes[field], lost.before, lost.given)
        if anew == was:
            continue
        if current.get(field) == was.given:
            passed_on[field] = Change(was.given, anew.given)
        changes[field] = anew
    if passed_on:
        given = {field: change.given for field, change in passed_on.items()}
        origins = {
            field: told[field].before
            for field in passed_on
            if field in told and given[field] == changes[field].before
        }
        _write(session, winner, given, origins, now)
    session.execute(
        update(merge)
        .where(merge.c.merge_id == edge.merge_id)
        .values(changes_sealed=_seal(session, edge.merge_id, edge.winner_id, changes, told))
    )
    return passed_on


def _write(
    session: Session, row: Row[Any], given: Mapping[str, Any], told: Provenance, now: datetime
) -> None:
    """Write fields with their provenance: a value that moves is not younger for it."""
    plain = {field: value for field, value in given.items() if not field.startswith(upkeep.PREFIX)}
    defined = attributes.definitions(session)
    custom = {
        field.removeprefix(upkeep.PREFIX): value
        for field, value in given.items()
        if field.startswith(upkeep.PREFIX) and _is_acceptable(defined, field, value)
    }
    if custom:
        plain["attributes"] = custom
    if not plain:
        return
    after = customer_profiles.change(session, row, plain, now, told=customer_profiles.Told("merge"))
    provenance = {
        field: origin for field in after.provenance if (origin := told.get(field, after.provenance[field]))
    }
    if provenance == after.provenance:
        return
    held = upkeep.standard(session, defined).of(after.kind, provenance, after.created_at)
    session.execute(
        update(customer)
        .where(customer.c.customer_id == row.customer_id)
        .values(provenance=provenance, completeness=held.completeness, due_at=held.due_at)
    )


def _told(row: Row[Any], fields: Mapping[str, Any]) -> dict[str, Told]:
    return {
        field: Told(
            value,
            datetime.fromisoformat(row.provenance[field]["at"])
            if field in row.provenance
            else row.updated_at,
        )
        for field, value in fields.items()
    }


def _is_acceptable(defined: Mapping[str, Any], field: str, value: Any) -> bool:
    if not field.startswith(upkeep.PREFIX):
        return True
    try:
        attributes.read(defined, {field.removeprefix(upkeep.PREFIX): value})
    except Invalid:
        return False
    return True


def _seal(
    session: Session,
    merge_id: UUID,
    winner_id: UUID,
    changes: Mapping[str, Change],
    told: Mapping[str, Change],
) -> bytes | None:
    if not changes:
        return None
    text = json.dumps({"fields": changes, "told": told}, ensure_ascii=False, default=datetime.isoformat)
    return sealing.seal(session, str(winner_id), _place(merge_id), text)


def _opened(session: Session, edge: Row[Any]) -> tuple[dict[str, Change], dict[str, Change]]:
    text = sealing.unseal(session, str(edge.winner_id), _place(edge.merge_id), edge.changes_sealed)
    if text is None:
        return {}, {}
    kept = json.loads(text)
    return (
        {
            field: Change(_revived(field, before), _revived(field, given))
            for field, (before, given) in kept["fields"].items()
        },
        {field: Change(*change) for field, change in kept["told"].items()},
    )


def _revived(field: str, value: Any) -> Any:
    return datetime.fromisoformat(value) if field == "registered_at" and value is not None else value


def _place(merge_id: UUID) -> str:
    return f"merge.changes_sealed:{merge_id}"


def _pointer(field: str) -> str:
    return field.replace("~", "~0").replace("/", "~1")
