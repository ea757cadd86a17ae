"""Types of activities: built in, or defined by the company with the properties that they carry."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.profile.rules.activities import BUILT_IN, ActivityFacts, Definition, unfit
from services.profile.tables import activity_type
from shared.errors import Conflict, Fault, Invalid


def define(session: Session, name: str, description: str | None, properties: Definition, by: str) -> Row[Any]:
    """Make or replace a type of the company's own. Raises Conflict ``activity_type_built_in``.

    What is recorded already stays as it is; only what comes from now on has to fit.
    """
    if name in BUILT_IN:
        raise Conflict("activity_type_built_in", f"{name} is built in")
    values = {"description": description, "properties": dict(properties), "updated_by": by}
    return session.execute(
        insert(activity_type)
        .values(name=name, **values)
        .on_conflict_do_update(index_elements=["name"], set_=values | {"updated_at": func.now()})
        .returning(activity_type)
    ).one()


def listed(session: Session, after: str | None, limit: int) -> Sequence[Row[Any]]:
    """The company's own types by name."""
    rows = select(activity_type).order_by(activity_type.c.name).limit(limit)
    return session.execute(rows if after is None else rows.where(activity_type.c.name > after)).all()


def definitions(session: Session, names: Iterable[str]) -> Mapping[str, Definition]:
    """What activities of these types may carry; unknown ones are missing."""
    own = sorted(set(names) - BUILT_IN)
    known: dict[str, Definition] = {name: {} for name in BUILT_IN}
    if own:
        rows = select(activity_type.c.name, activity_type.c.properties).where(activity_type.c.name.in_(own))
        known |= {row.name: row.properties for row in session.execute(rows)}
    return known


def check(facts: ActivityFacts, known: Mapping[str, Definition]) -> None:
    """Raises Invalid ``activity_type_unknown``, ``property_undefined``, ``property_unfit``."""
    if facts.type not in known:
        raise _invalid(
            "/type", "activity_type_unknown", "define the type first: PUT /v1/activity-types/{name}"
        )
    if found := unfit(facts.properties, known[facts.type]):
        name, code = found
        raise _invalid(f"/properties/{name}", code, "the type's definition does not allow this property")


def _invalid(pointer: str, code: str, message: str) -> Invalid:
    return Invalid(code, message, faults=[Fault(pointer, code, message)])


__all__ = ["Definition", "check", "define", "definitions", "listed"]
