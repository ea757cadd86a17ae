"""What is known about a customer: written whole or in part, personal fields sealed, coarse changes announced."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from services.profile.domain import attributes, customers, search, tags, upkeep
from services.profile.domain import customer_values as values_of
from services.profile.domain.customer_values import (
    ANNOUNCED,
    COARSE,
    PERSONAL,
    WITHOUT_PROVENANCE,
    Given,
    normalised,
    personal_of,
    place,
)
from services.profile.rules.upkeep import told_anew
from services.profile.tables import customer, customer_external_id
from shared.errors import Conflict
from shared.events.profile import CustomerFacts, CustomerRegistered, CustomerUpdated, ExternalId
from shared.ids import uuid7
from shared.messaging.outbox import announce

__all__ = [
    "PERSONAL",
    "Given",
    "Told",
    "announce_names",
    "by_name",
    "change",
    "get",
    "lock",
    "names_of",
    "normalised",
    "personal_of",
    "place",
    "put",
    "register",
]


@dataclass(frozen=True)
class Told:
    """By whom and when something was told of a customer; ``at`` None = now."""

    source: str = "unknown"
    at: datetime | None = None


def register(
    session: Session,
    given: Given,
    names: Sequence[customers.ExternalName],
    now: datetime,
    *,
    told: Told | None = None,
    demand_required: bool = False,
) -> UUID:
    """Make a customer known under ``names`` (may be none).

    ``demand_required`` refuses a customer without the required attributes: for whoever describes one in full. Raises
    Conflict ``external_id_taken``, Gone ``customer_erased`` and what ``normalised`` and ``attributes.read`` refuse.
    """
    customers.refuse_erased(session, names)
    customer_id = uuid7()
    if demand_required:
        attributes.demand(attributes.definitions(session), given.get("attributes") or {})
    if not _create(session, customer_id, given, names, now, told or Told()):
        raise Conflict("external_id_taken", "one of the external ids belongs to another customer")
    return customer_id


def put(
    session: Session,
    name: customers.ExternalName,
    given: Given,
    now: datetime,
    *,
    told: Told | None = None,
) -> tuple[Row[Any], bool]:
    """The customer of an external name, made if there is none, with ``given`` written over what is known; and whether
    it was made. Fields that are absent stay as they are. Raises Gone ``customer_erased``."""
    told = told or Told(name[0])
    found = customers.find_by_names(session, [name])
    if not found:
        customer_id = uuid7()
        if _create(session, customer_id, given, [name], now, told):
            return get(session, customer_id), True
        found = customers.find_by_names(session, [name])  # somebody else was faster and has committed
    row = lock(session, found[name][0])
    return change(session, row, given, now, told=told), False


def lock(session: Session, customer_id: UUID) -> Row[Any]:
    """The row to change, held until the end of the transaction; a merged customer's id means its winner.
    Raises NotFound, Gone."""
    return customers.lock_root(session, customer_id)


def get(session: Session, customer_id: UUID) -> Row[Any]:
    """Raises NotFound ``customer_not_found``, Gone ``customer_erased``. A merged customer's id answers as its winner."""
    row = session.execute(_wanted(customer_id)).one_or_none()
    if row is not None and row.merged_into is not None:
        row = session.execute(_wanted(row.merged_into)).one_or_none()
    return _found(row)


def by_name(session: Session, name: customers.ExternalName) -> Row[Any]:
    """The customer behind an external name. Raises NotFound, Gone."""
    found = customers.find_by_names(session, [name])
    if not found:
        raise customers.not_found()
    return get(session, found[name][0])


def change(
    session: Session, row: Row[Any], given: Given, now: datetime, *, told: Told | None = None
) -> Row[Any]:
    """Write ``given`` over a locked row; the same again changes nothing and announces nothing. A value told again a day
    or more after it was last told is confirmed: only its date moves, which makes no new version."""
    change = _Change(row.customer_id, dict(row.provenance), told or Told(), now)
    change.read(session, given, row)
    if not change.columns and not change.confirmed:
        return row
    if row.state == "active" and "tags" in change.columns:
        tags.replace_by_hand(
            session, row.customer_id, row.tags, change.columns.pop("tags"), change.told.source, now
        )
        change.retagged = True
    edited = bool(change.columns)
    kind = change.columns.get("kind", row.kind)
    change.assess(session, kind, row.created_at)
    if edited:
        change.columns |= {"version": customer.c.version + 1, "updated_at": now}
    session.execute(
        update(customer).where(customer.c.customer_id == row.customer_id).values(**change.columns)
    )
    change.index(session)
    after = session.execute(_wanted(row.customer_id)).one()  # its own, even while it answers as another
    if change.retagged or (edited and any(name in change.columns for name in ANNOUNCED)):
        _announce(session, CustomerUpdated, after, now)
    return after


def names_of(session: Session, ids: Iterable[UUID]) -> dict[UUID, list[customers.ExternalName]]:
    """The external names of customers, sorted."""
    names: dict[UUID, list[customers.ExternalName]] = {customer_id: [] for customer_id in ids}
    table = customer_external_id.c
    rows = select(table.customer_id, table.source, table.external_id).where(table.customer_id.in_(names))
    for row in session.execute(rows.order_by(table.source, table.external_id)):
        names[row.customer_id].append((row.source, row.external_id))
    return names


def announce_names(session: Session, customer_id: UUID, now: datetime) -> None:
    """Tell that a customer has other external names than before."""
    _announce(session, CustomerUpdated, session.execute(_wanted(customer_id)).one(), now)


@dataclass
class _Change:
    """What a description changes of one customer, from the first look to the columns that are written."""

    customer_id: UUID
    provenance: dict[str, Any]
    told: Told
    now: datetime
    columns: dict[str, Any] = field(default_factory=dict)
    confirmed: bool = False
    retagged: bool = False
    personal: dict[str, str | None] = field(default_factory=dict)
    custom: dict[str, attributes.Given] = field(default_factory=dict)
    held: upkeep.Standard | None = None

    def read(self, session: Session, given: Given, row: Row[Any] | None) -> None:
        """Compare with what is known; ``row`` None = nothing is. Fills ``columns`` with what differs."""
        values = normalised(given, None if row is None else row.country)
        before: dict[str, Any] = {} if row is None else dict(row._mapping)
        spoken = [name for name in PERSONAL if name in values]
        if row is not None and spoken:
            before |= personal_of(session, [row], spoken)[0]
        for name in (*PERSONAL, *COARSE):
            if name not in values:
                continue
            empty: Any = [] if name in values_of.LISTS else None
            changed = values[name] != before.get(name, empty)
            if changed and name in PERSONAL:
                self.personal[name] = values[name]
            elif changed:
                self.columns[name] = values[name]
            if name not in WITHOUT_PROVENANCE:
                self._tell(name, values[name], changed)
        if "birth_date" in self.personal:
            month_day = values_of.month_day(self.personal["birth_date"])
            if month_day != before.get("birth_month_day"):
                self.columns["birth_month_day"] = month_day
        self.columns |= values_of.sealed(session, self.customer_id, self.personal)
        if given.get("attributes"):
            self._read_attributes(session, given["attributes"], row)

    def _read_attributes(self, session: Session, given: Given, row: Row[Any] | None) -> None:
        defined = attributes.definitions(session)
        self.held = upkeep.standard(session, defined)
        self.custom = attributes.read(defined, given)
        for is_personal in (False, True):
            spoken = {
                name: one.value for name, one in self.custom.items() if one.definition.personal == is_personal
            }
            if not spoken:
                continue
            before: dict[str, Any] = {}
            if row is not None:
                before = (
                    values_of.personal_attributes_of(session, [row])[0]
                    if is_personal
                    else dict(row.attributes)
                )
            for name, value in spoken.items():
                self._tell(upkeep.PREFIX + name, value, value != before.get(name))
            after = {name: value for name, value in (before | spoken).items() if value is not None}
            if after == before:
                continue
            self.columns |= (
                values_of.sealed_attributes(session, self.customer_id, after)
                if is_personal
                else {"attributes": after}
            )

    def _tell(self, name: str, value: Any, changed: bool) -> None:
        if value is None or value == []:
            self.confirmed = self.provenance.pop(name, None) is not None or self.confirmed
            return
        at = min(self.told.at or self.now, self.now)
        if told_anew(self.provenance.get(name), at, changed=changed):
            self.provenance[name] = {"at": at.isoformat(), "source": self.told.source}
            self.confirmed = True

    def assess(self, session: Session, kind: str, since: datetime) -> None:
        held = self.held or upkeep.standard(session)
        found = held.of(kind, self.provenance, since)
        self.columns |= {
            "provenance": self.provenance,
            "completeness": found.completeness,
            "due_at": found.due_at,
        }

    def index(self, session: Session, *, new: bool = False) -> None:
        """What searches and ranges go by."""
        if self.personal:
            terms = search.Terms(self.customer_id, self.customer_id, self.personal)
            search.remember(session, [terms], new=new)
        if self.custom:
            attributes.keep_measures(session, self.customer_id, self.custom)


def _create(
    session: Session,
    customer_id: UUID,
    given: Given,
    names: Sequence[customers.ExternalName],
    now: datetime,
    told: Told,
) -> bool:
    """False, and nothing written, if one of the names is taken."""
    with session.begin_nested() as savepoint:
        change = _Change(customer_id, {}, told, now)
        change.read(session, given, None)
        columns = change.columns
        columns.setdefault("kind", "person")
        columns["registered_at"] = min(columns.get("registered_at") or now, now)
        change.assess(session, columns["kind"], now)
        session.execute(
            insert(customer).values(customer_id=customer_id, **columns, created_at=now, updated_at=now)
        )
        if names:
            rows = [
                {"source": source, "external_id": external_id, "customer_id": customer_id}
                for source, external_id in sorted(set(names))
            ]
            named = upsert(customer_external_id).values(rows).on_conflict_do_nothing()
            taken = len(session.scalars(named.returning(customer_external_id.c.source)).all()) < len(rows)
            if taken:
                savepoint.rollback()
                return False
        change.index(session, new=True)
        tags.begin_by_hand(session, customer_id, columns.get("tags", ()), told.source, now)
    _announce(session, CustomerRegistered, get(session, customer_id), now)
    return True


def _announce(session: Session, event: type[CustomerFacts], row: Row[Any], now: datetime) -> None:
    names = names_of(session, [row.customer_id])[row.customer_id]
    announce(
        session,
        event(
            customer_id=row.customer_id,
            kind=row.kind,
            external_ids=tuple(ExternalId(source=source, external_id=name) for source, name in names),
            country=row.country,
            region=row.region,
            language=row.language,
            time_zone=row.time_zone,
            birth_month_day=row.birth_month_day,
            acquisition_channel=row.acquisition_channel,
            tags=tuple(row.tags),
            registered_at=row.registered_at,
            historical=customers.is_historical(session, row.registered_at, now),
        ),
    )


def _wanted(customer_id: UUID) -> Any:
    return select(customer).where(customer.c.customer_id == customer_id)


def _found(row: Row[Any] | None) -> Row[Any]:
    if row is None:
        raise customers.not_found()
    if row.state == "erased":
        raise customers.erased()
    return row
