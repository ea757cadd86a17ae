"""Region sets: the world divided by sales area, climate zone or income level, as data.

A set names areas, an area is a list of places, and a place is a country, a region of it or a city, written as customers'
are. A customer is in one area of a set at most: that of the narrowest place that fits – city, then region, then country.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from services.profile.tables import region_place, region_set
from shared.errors import Fault, Invalid, NotFound


class Place(NamedTuple):
    country: str
    region: str = ""
    city: str = ""


class InAreas(NamedTuple):
    """A filter: customers in one of ``areas`` of a set. ``facets`` are those of the areas' places, of which everybody in
    there has one at least (tables/customers): an index finds them, and the places decide."""

    set_name: str
    areas: tuple[str, ...]
    facets: tuple[str, ...]


# What `{c}` is a customer row's alias.
_AREA = """(select p.area from region_place p where p.region_set = {of_set} and p.country = {c}.country
    and p.region in ('', coalesce({c}.region, '')) and p.city in ('', coalesce({c}.city, ''))
    order by p.city <> '' desc, p.region <> '' desc limit 1)"""

_AREAS_OF = text(
    f"""
    select s.name as region_set, s.kind, a.area from region_set s
    cross join (select country, region, city from customer where customer_id = :customer_id) c
    cross join lateral (select {_AREA.format(of_set="s.name", c="c")} as area) a
    where a.area is not null order by s.name
    """
)
# Places are few and customers many: customers are counted by place first.
_COUNT = text(
    f"""
    select {_AREA.format(of_set="cast(:name as text)", c="c")} as area, sum(c.customers)::bigint as customers
    from (select country, region, city, count(*) as customers from customer where state = 'active'
          group by country, region, city) c
    group by 1 order by 1 nulls last
    """
)


def save(
    session: Session, name: str, kind: str, title: str | None, areas: Mapping[str, Sequence[Place]], by: str
) -> tuple[Row[Any], bool]:
    """Make a set or replace it whole; the version moves only if something is different. The row, and whether it is new.

    Raises Invalid ``place_twice`` for a place that lies in two areas.
    """
    where: dict[Place, str] = {}
    for number, (area, places) in enumerate(areas.items()):
        for place in places:
            if where.setdefault(place, area) != area:
                message = f"{'/'.join(filter(None, place))} lies in two areas"
                pointer = f"/areas/{number}/places"
                raise Invalid("place_twice", message, faults=[Fault(pointer, "place_twice", message)])
    values = {"kind": kind, "title": title, "updated_by": by}
    made = upsert(region_set).values(name=name, **values).on_conflict_do_nothing().returning(region_set)
    new = session.execute(made).one_or_none()
    row = new or find(session, name, lock=True)
    if new is None:
        same = (row.kind, row.title) == (kind, title) and places_of(session, name) == where
        if same:
            return row, False
        changed = values | {"version": region_set.c.version + 1, "updated_at": func.now()}
        statement = update(region_set).where(region_set.c.name == name).values(**changed)
        row = session.execute(statement.returning(region_set)).one()
        session.execute(delete(region_place).where(region_place.c.region_set == name))
    if where:
        session.execute(
            insert(region_place),
            [{"region_set": name, "area": area, **place._asdict()} for place, area in where.items()],
        )
    return row, new is not None


def find(session: Session, name: str, *, lock: bool = False) -> Row[Any]:
    """Raises NotFound ``region_set_not_found``."""
    wanted = select(region_set).where(region_set.c.name == name)
    row = session.execute(wanted.with_for_update() if lock else wanted).one_or_none()
    if row is None:
        raise NotFound("region_set_not_found", "no such region set")
    return row


def listed(session: Session, after: str | None, limit: int) -> Sequence[Row[Any]]:
    rows = select(region_set).order_by(region_set.c.name).limit(limit)
    return session.execute(rows if after is None else rows.where(region_set.c.name > after)).all()


def forget(session: Session, name: str) -> None:
    """Raises NotFound."""
    find(session, name, lock=True)
    session.execute(delete(region_set).where(region_set.c.name == name))


def places_of(session: Session, name: str) -> dict[Place, str]:
    """Place → area, in the order of areas and places."""
    columns = region_place.c
    rows = session.execute(
        select(region_place)
        .where(columns.region_set == name)
        .order_by(columns.area, columns.country, columns.region, columns.city)
    )
    return {Place(row.country, row.region, row.city): row.area for row in rows}


def areas_of(session: Session, customer_id: UUID) -> Sequence[Row[Any]]:
    """Rows of ``region_set``, ``kind`` and ``area``: where a customer is, in every set that knows the place."""
    return session.execute(_AREAS_OF, {"customer_id": customer_id}).all()


def customers_by_area(session: Session, name: str) -> Sequence[Row[Any]]:
    """Rows of ``area`` (null: in none) and ``customers``, active ones. Counts all of them. Raises NotFound."""
    find(session, name)
    return session.execute(_COUNT, {"name": name}).all()


def asked(session: Session, texts: Sequence[str]) -> tuple[InAreas, ...]:
    """What ``set:area`` texts ask for; areas of one set are alternatives. Raises Invalid ``area_unknown``."""
    wanted: dict[str, list[str]] = {}
    for each in texts:
        name, _, area = each.partition(":")
        wanted.setdefault(name, []).append(area)
    found = []
    for name, areas in wanted.items():
        places = [(place, area) for place, area in places_of(session, name).items() if area in areas]
        if {area for _, area in places} != set(areas):
            message = "name a region set and one of its areas, as sales:east"
            raise Invalid("area_unknown", message, faults=[Fault("/area", "area_unknown", message)])
        facets = {_narrowest(place) for place, _ in places}
        found.append(InAreas(name, tuple(areas), tuple(sorted(facets))))
    return tuple(found)


def conditions_of(wanted: Sequence[InAreas]) -> tuple[list[str], dict[str, Any]]:
    """SQL conditions on ``customer c`` and their parameters, for whoever selects customers."""
    conditions, parameters = [], dict[str, Any]()
    for at, one in enumerate(wanted):
        conditions.append(f"c.facets && %(area_{at}_facets)s::text[]")
        area = _AREA.format(of_set=f"%(area_{at}_set)s::text", c="c")
        conditions.append(f"{area} = any(%(area_{at}_names)s::text[])")
        parameters |= {
            f"area_{at}_facets": list(one.facets),
            f"area_{at}_set": one.set_name,
            f"area_{at}_names": list(one.areas),
        }
    return conditions, parameters


def _narrowest(place: Place) -> str:
    if place.city:
        return f"city={place.city}"
    return f"region={place.region}" if place.region else f"country={place.country}"
