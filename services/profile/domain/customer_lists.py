"""Lists of customers: any combination of what is known of them, in the order in which they became known here.

What is compared for equality lies in one array of facets with one index (tables/customers); ranges of defined numbers and
days in ``customer_measure``; the last purchase is looked up in the purchases. Every statement is planned for its own
values, because the best way to 50 rows depends on how rare they are: from the index of facets where few have them,
else along the order of the list until enough are found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from services.profile.domain import attributes, regions
from services.profile.domain.reach import facets_within
from services.profile.rules.attributes import Unfit, asked_value, measure
from services.profile.tables import customer
from shared.auth.callers import Reach
from shared.database import execute_hot
from shared.errors import Fault, Invalid


class Range(NamedTuple):
    """``[gte, lt)``; None = open."""

    gte: Any = None
    lt: Any = None

    def __bool__(self) -> bool:
        return self.gte is not None or self.lt is not None


class Measured(NamedTuple):
    """A defined number or day: one of ``values``, and within ``within``."""

    name: str
    values: tuple[Decimal, ...]
    within: Range


@dataclass(frozen=True)
class Filter:
    """Which customers; all parts have to be true.

    ``facets``: of each group one at least, e.g. ``[("country=CN", "country=SG"), ("tag=vip",)]``; make them with
    ``facets_of``. ``measured``: defined numbers and days. ``last_purchase_at`` speaks of the latest purchase that was
    not cancelled; who never bought is in no range of it. ``areas``: of region sets, made by ``regions.asked``.
    """

    facets: tuple[tuple[str, ...], ...] = ()
    measured: tuple[Measured, ...] = ()
    sources: tuple[str, ...] = ()
    external_ids: tuple[str, ...] = ()
    created_at: Range = field(default_factory=Range)
    registered_at: Range = field(default_factory=Range)
    last_purchase_at: Range = field(default_factory=Range)
    areas: tuple[regions.InAreas, ...] = ()


def facets_of(wanted: Mapping[str, Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """``{"country": ["CN", "SG"], "tag": []}`` as groups; a field without values restricts nothing."""
    return tuple(tuple(f"{name}={value}" for value in values) for name, values in wanted.items() if values)


def of_attributes(
    session: Session, equal: Sequence[str], gte: Sequence[str], lt: Sequence[str]
) -> tuple[tuple[tuple[str, ...], ...], tuple[Measured, ...]]:
    """What ``name:value`` texts ask of defined attributes: groups of facets, and measures. Values of one name are
    alternatives. Raises Invalid ``attribute_filter_invalid``."""
    if not (equal or gte or lt):
        return (), ()
    defined = attributes.definitions(session)
    facets: dict[str, list[str]] = {}
    exact: dict[str, list[Decimal]] = {}
    bounds: dict[str, dict[str, Decimal]] = {}
    for parameter, texts in (("attribute", equal), ("attribute_gte", gte), ("attribute_lt", lt)):
        for text in texts:
            name, _, value = text.partition(":")
            definition = defined.get(name)
            if definition is None or definition.personal:
                raise _wrong(parameter, "name a defined attribute that is not personal, as colour:red")
            try:
                asked = asked_value(definition, value)
            except Unfit as unfit:
                raise _wrong(parameter, f"{name} {unfit}") from None
            number = measure(definition, asked)
            if parameter == "attribute" and number is None:
                facets.setdefault(f"attribute.{name}", []).append(asked)
            elif number is None:
                raise _wrong(parameter, f"{name} has no order")
            elif parameter == "attribute":
                exact.setdefault(name, []).append(number)
            else:
                bounds.setdefault(name, {})[parameter.removeprefix("attribute_")] = number
    measured = tuple(
        Measured(name, tuple(exact.get(name, ())), Range(**bounds.get(name, {})))
        for name in sorted({*exact, *bounds})
    )
    return facets_of(facets), measured


def within(wanted: Filter, reach: Reach | None) -> Filter:
    """``wanted``, among those whom the caller reaches."""
    return wanted if reach is None else replace(wanted, facets=(*wanted.facets, facets_within(reach)))


def page(
    session: Session, wanted: Filter, after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[Row[Any]]:
    """Active customers, by ``(created_at, customer_id)``."""
    conditions, parameters = conditions_of(wanted)
    if after is not None:
        conditions.append("(c.created_at, c.customer_id) > (%(after_at)s::timestamptz, %(after_id)s::uuid)")
        parameters |= {"after_at": after[0], "after_id": after[1]}
    found = execute_hot(
        session,
        f"select c.customer_id from customer c where {' and '.join(conditions)}"
        " order by c.created_at, c.customer_id limit %(limit)s",
        parameters | {"limit": limit},
        prepare=False,
    ).fetchall()
    return rows_of(session, [customer_id for (customer_id,) in found])


def total(session: Session, wanted: Filter) -> int:
    """How many there are: counted, so it takes as long as there are many."""
    conditions, parameters = conditions_of(wanted)
    sql = f"select count(*) from customer c where {' and '.join(conditions)}"
    counted = execute_hot(session, sql, parameters, prepare=False).fetchone()
    assert counted is not None
    return int(counted[0])


def rows_of(session: Session, ids: Sequence[UUID]) -> Sequence[Row[Any]]:
    """The customers' rows in the order of ``ids``."""
    if not ids:
        return []
    rows = {
        row.customer_id: row
        for row in session.execute(select(customer).where(customer.c.customer_id.in_(ids)))
    }
    return [rows[customer_id] for customer_id in ids if customer_id in rows]


def conditions_of(wanted: Filter) -> tuple[list[str], dict[str, Any]]:
    """SQL conditions on ``customer c`` – active customers only – and their parameters."""
    conditions = ["c.state = 'active'"]
    parameters: dict[str, Any] = {}
    every = [group[0] for group in wanted.facets if len(group) == 1]
    if every:
        conditions.append("c.facets @> %(facets)s::text[]")
        parameters["facets"] = every
    for at, group in enumerate(group for group in wanted.facets if len(group) > 1):
        conditions.append(f"c.facets && %(facets_{at})s::text[]")
        parameters[f"facets_{at}"] = list(group)
    if wanted.sources or wanted.external_ids:
        named = ["x.customer_id = c.customer_id"]
        for column, values in (("source", wanted.sources), ("external_id", wanted.external_ids)):
            if values:
                named.append(f"x.{column} = any(%({column}s)s::text[])")
                parameters[f"{column}s"] = list(values)
        conditions.append(f"exists (select from customer_external_id x where {' and '.join(named)})")
    for at, one in enumerate(wanted.measured):
        parts = ["m.customer_id = c.customer_id", f"m.name = %(measure_{at})s"]
        parameters[f"measure_{at}"] = one.name
        if one.values:
            parts.append(f"m.value = any(%(measure_{at}_values)s::numeric[])")
            parameters[f"measure_{at}_values"] = list(one.values)
        parts += _between("m.value", "numeric", f"measure_{at}", one.within, parameters)
        conditions.append(f"exists (select from customer_measure m where {' and '.join(parts)})")
    for column in ("created_at", "registered_at"):
        conditions += _between(f"c.{column}", "timestamptz", column, getattr(wanted, column), parameters)
    if wanted.last_purchase_at:
        conditions += _last_purchase(wanted.last_purchase_at, parameters)
    inside, places = regions.conditions_of(wanted.areas)
    return conditions + inside, parameters | places


# "The latest is in [gte, lt)" is "there is one in [gte, lt) and none from lt on".
def _last_purchase(within: Range, parameters: dict[str, Any]) -> list[str]:
    bought = "select from purchase p where p.customer_id = c.customer_id and p.cancelled_at is null"
    inside = [bought, *_between("p.occurred_at", "timestamptz", "last_purchase", within, parameters)]
    conditions = [f"exists ({' and '.join(inside)})"]
    if within.lt is not None:
        conditions.append(f"not exists ({bought} and p.occurred_at >= %(last_purchase_lt)s::timestamptz)")
    return conditions


def _between(column: str, type_: str, name: str, within: Range, parameters: dict[str, Any]) -> list[str]:
    conditions = []
    for suffix, sign, bound in (("gte", ">=", within.gte), ("lt", "<", within.lt)):
        if bound is not None:
            conditions.append(f"{column} {sign} %({name}_{suffix})s::{type_}")
            parameters[f"{name}_{suffix}"] = bound
    return conditions


def _wrong(parameter: str, message: str) -> Invalid:
    return Invalid(
        "attribute_filter_invalid",
        message,
        faults=[Fault(f"/{parameter}", "attribute_filter_invalid", message)],
    )
