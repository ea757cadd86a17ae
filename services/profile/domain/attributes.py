"""Defined attributes: what a company wants to know of its customers beyond the standard.

The type of an attribute and whether it is personal are fixed when it is defined: other ones need another name. Values
that are no longer allowed, and values of retired attributes, stay where they are; they cannot be given anew.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.profile.rules.attributes import Definition, Unfit, kept_value, measure
from services.profile.tables import attribute_definition
from shared.database import execute_hot
from shared.errors import Conflict, Fault, Invalid, NotFound

# However many an attribute's definition may be, one customer's values have to fit a row.
MOST_DEFINED = 500


class Given(NamedTuple):
    """A value given for a defined attribute, in the form that is kept; None = removed."""

    definition: Definition
    value: Any


def define(
    session: Session,
    name: str,
    *,
    kind: str,
    description: str | None,
    allowed_values: Sequence[str],
    personal: bool,
    required: bool,
    now: datetime,
    before_change: Callable[[int], None],
) -> tuple[Row[Any], bool]:
    """Define an attribute, or say again what it is to be; and whether it is new. A retired one comes back.

    ``before_change`` is called with the version that would be changed, and may refuse.
    Raises Conflict ``attribute_fixed`` (another type, or personal or not), ``too_many_attributes``, Invalid
    ``allowed_values_wrong``.
    """
    allowed = list(dict.fromkeys(value.strip() for value in allowed_values))
    if allowed and kind not in ("list", "choice"):
        raise _wrong("only a choice or a list has allowed values")
    if kind == "choice" and not allowed:
        raise _wrong("a choice needs allowed values")
    table = attribute_definition
    values = {
        "type": kind,
        "description": description,
        "allowed_values": allowed,
        "personal": personal,
        "required": required,
    }
    made = session.execute(
        insert(table)
        .values(name=name, **values, created_at=now, updated_at=now)
        .on_conflict_do_nothing()
        .returning(table)
    ).one_or_none()
    if made is not None:
        if len(session.execute(select(table.c.name)).all()) > MOST_DEFINED:
            raise Conflict("too_many_attributes", f"at most {MOST_DEFINED} attributes can be defined")
        return made, True
    row = lock(session, name)
    if (row.type, row.personal) != (kind, personal):
        raise Conflict(
            "attribute_fixed",
            "type and personal of an attribute are fixed; define another one under another name",
        )
    if row.retired_at is None and all(getattr(row, key) == value for key, value in values.items()):
        return row, False
    before_change(row.version)
    return _write(session, row, now, **values, retired_at=None), False


def retire(session: Session, name: str, now: datetime) -> Row[Any]:
    """No value is accepted any more, nor is one missing; what is known stays. Raises NotFound."""
    row = lock(session, name)
    return row if row.retired_at is not None else _write(session, row, now, retired_at=now)


def get(session: Session, name: str) -> Row[Any]:
    """Raises NotFound ``attribute_not_found``."""
    return _found(
        session.execute(select(attribute_definition).where(attribute_definition.c.name == name)).one_or_none()
    )


def lock(session: Session, name: str) -> Row[Any]:
    wanted = select(attribute_definition).where(attribute_definition.c.name == name).with_for_update()
    return _found(session.execute(wanted).one_or_none())


def page(
    session: Session, after: tuple[str] | None, limit: int, *, retired: bool | None
) -> Sequence[Row[Any]]:
    """By name."""
    table = attribute_definition.c
    wanted = select(attribute_definition).order_by(table.name).limit(limit)
    if after is not None:
        wanted = wanted.where(table.name > after[0])
    if retired is not None:
        wanted = wanted.where(table.retired_at.is_not(None) == retired)
    return session.execute(wanted).all()


def definitions(session: Session) -> dict[str, Definition]:
    """All of them, retired ones too."""
    rows = execute_hot(
        session,
        "select name, type, allowed_values, personal, required, retired_at is not null from attribute_definition",
        None,
    )
    return {
        name: Definition(name, type_, tuple(allowed), personal, required, retired)
        for name, type_, allowed, personal, required, retired in rows
    }


def required(defined: Mapping[str, Definition]) -> list[str]:
    return [name for name, one in defined.items() if one.required and not one.retired]


def read(defined: Mapping[str, Definition], given: Mapping[str, Any]) -> dict[str, Given]:
    """Values as they came, checked against their definitions.

    Raises Invalid ``attributes_invalid`` with a fault for each: ``attribute_unknown``, ``attribute_retired``,
    ``attribute_required`` (it cannot be removed), ``attribute_value_invalid``.
    """
    read: dict[str, Given] = {}
    faults = []
    for name, value in given.items():
        definition = defined.get(name)
        if definition is None:
            faults.append(_fault(name, "attribute_unknown", "no attribute is defined under this name"))
        elif value is None and definition.required and not definition.retired:
            faults.append(_fault(name, "attribute_required", "this attribute cannot be removed"))
        elif value is None:
            read[name] = Given(definition, None)
        elif definition.retired:
            faults.append(_fault(name, "attribute_retired", "this attribute takes no values any more"))
        else:
            try:
                kept = kept_value(definition, value)
                read[name] = Given(definition, None if kept == [] else kept)
            except Unfit as unfit:
                faults.append(_fault(name, "attribute_value_invalid", str(unfit)))
    if faults:
        raise Invalid("attributes_invalid", "some attributes do not fit their definitions", faults=faults)
    return read


def demand(defined: Mapping[str, Definition], given: Mapping[str, Any]) -> None:
    """Raises Invalid ``attributes_invalid`` where a required attribute has no value."""
    missing = [name for name in required(defined) if given.get(name) is None]
    if missing:
        raise Invalid(
            "attributes_invalid",
            "required attributes are missing",
            faults=[_fault(name, "attribute_required", "this attribute is required") for name in missing],
        )


def keep_measures(session: Session, customer_id: UUID, given: Mapping[str, Given]) -> None:
    """What ranges filter by, for the given attributes of one customer."""
    measures = {
        name: None if one.value is None else measure(one.definition, one.value)
        for name, one in given.items()
        if one.definition.type in ("number", "date") and not one.definition.personal
    }
    gone = [name for name, value in measures.items() if value is None]
    kept = {name: value for name, value in measures.items() if value is not None}
    if gone:
        execute_hot(
            session,
            "delete from customer_measure where customer_id = %(id)s and name = any(%(names)s)",
            {"id": customer_id, "names": gone},
        )
    if kept:
        execute_hot(
            session,
            """insert into customer_measure (customer_id, name, value)
            select %(id)s, * from unnest(%(names)s::text[], %(values)s::numeric[])
            on conflict (customer_id, name) do update set value = excluded.value""",
            {"id": customer_id, "names": list(kept), "values": list(kept.values())},
        )


def _write(session: Session, row: Row[Any], now: datetime, **values: Any) -> Row[Any]:
    table = attribute_definition
    return session.execute(
        update(table)
        .where(table.c.name == row.name)
        .values(**values, updated_at=now, version=table.c.version + 1)
        .returning(table)
    ).one()


def _found(row: Row[Any] | None) -> Row[Any]:
    if row is None:
        raise NotFound("attribute_not_found", "no attribute is defined under this name")
    return row


def _fault(name: str, code: str, message: str) -> Fault:
    pointer = name.replace("~", "~0").replace("/", "~1")
    return Fault(f"/attributes/{pointer}", code, message)


def _wrong(message: str) -> Invalid:
    return Invalid(
        "allowed_values_wrong",
        message,
        faults=[Fault("/allowed_values", "allowed_values_wrong", message)],
    )
