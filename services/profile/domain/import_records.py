"""Writing the records of a file through the verbs of their nouns, some hundred at a time."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import select, text, tuple_
from sqlalchemy.orm import Session

from services.profile.domain import (
    activities,
    attributes,
    consents,
    customer_profiles,
    customers,
    interactions,
    products,
    tags,
)
from services.profile.domain.consents import GivenConsent
from services.profile.domain.customer_profiles import Told
from services.profile.domain.interactions import InteractionFacts
from services.profile.domain.tags import Tagging
from services.profile.rules.activities import ActivityFacts, coarse_page
from services.profile.rules.facts import CustomerRef
from services.profile.rules.import_kinds import ATTRIBUTE
from services.profile.tables import customer, customer_tag
from shared.errors import Refusal

State = Literal["created", "changed", "unchanged", "refused"]
Fields = Mapping[str, Any]


class Outcome(NamedTuple):
    """What became of one record; ``field`` is what the problem is about, where it is one field."""

    state: State
    code: str = ""
    message: str = ""
    field: str | None = None


@dataclass(frozen=True)
class Origin:
    """Who tells the records: the system that names them, and whoever imports them."""

    source: str
    by: str
    now: datetime


def write(session: Session, kind: str, records: Sequence[Fields], origin: Origin) -> list[Outcome]:
    """Write records of one kind, each by itself; outcomes in their order."""
    return _WRITERS[kind](session, records, origin)


def note_keys(session: Session, job_id: UUID, keys: Sequence[tuple[bytes, int]]) -> dict[int, int]:
    """Remember the keys of rows (by line); gives the lines whose key the file had before, with the line that had it."""
    first: dict[bytes, int] = {}
    repeated: dict[int, int] = {}
    for key, line in keys:
        if (before := first.setdefault(key, line)) != line:
            repeated[line] = before
    known = session.execute(
        _KEYS, {"job_id": job_id, "keys": list(first), "lines": list(first.values())}
    ).all()
    earlier = {bytes(row.key): row.line for row in known if row.line != first[bytes(row.key)]}
    return repeated | {line: earlier[key] for key, line in keys if key in earlier}


# Keys that were there keep their line; either way it is told. Sorted, so that two workers cannot wait for each other.
_KEYS = text(
    """
    insert into import_key as k (job_id, key, line)
    select :job_id, * from unnest(cast(:keys as bytea[]), cast(:lines as bigint[])) as n (key, line) order by key
    on conflict (job_id, key) do update set line = k.line
    returning key, line
    """
)


def _customers(session: Session, records: Sequence[Fields], origin: Origin) -> list[Outcome]:
    """Made where nobody is known under the name, else written over what is known; an empty cell removes nothing."""
    names = [(origin.source, record["external_id"]) for record in records]
    known = customers.find_by_names(session, set(names))
    # All in one order, before the first is written.
    owners = tags.hold(session, (one.customer_id for one in known.values()))
    held = select(customer.c.customer_id, customer.c.version).where(
        customer.c.customer_id.in_(owners.values())
    )
    versions = {row.customer_id: row.version for row in session.execute(held)}
    speaks = any(name.startswith(ATTRIBUTE) for record in records for name in record)
    defined = attributes.definitions(session) if speaks else {}
    outcomes = []
    for name, record in zip(names, records, strict=True):
        try:
            given = _given(record, defined)
            with session.begin_nested():
                row, made = customer_profiles.put(session, name, given, origin.now, told=Told(origin.source))
        except Refusal as problem:
            outcomes.append(_refused(problem))
        else:
            changed = versions.get(row.customer_id) != row.version
            versions[row.customer_id] = row.version
            outcomes.append(Outcome("created" if made else "changed" if changed else "unchanged"))
    return outcomes


def _given(record: Fields, defined: Mapping[str, Any]) -> dict[str, Any]:
    given = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in record.items()
        if name != "external_id" and not name.startswith(ATTRIBUTE)
    }
    own = {
        name.removeprefix(ATTRIBUTE): _attribute(value, defined.get(name.removeprefix(ATTRIBUTE)))
        for name, value in record.items()
        if name.startswith(ATTRIBUTE)
    }
    return given | ({"attributes": own} if own else {})


def _attribute(value: str, definition: Any) -> Any:
    """A cell's text as the definition's type; what does not fit is refused by whoever checks the attribute."""
    kind = getattr(definition, "type", "text")
    if kind == "number":
        try:
            number = float(value)
        except ValueError:
            return value
        return int(number) if number.is_integer() else number
    if kind == "boolean":
        folded = value.casefold()
        if folded in ("1", "true", "yes", "y", "是"):
            return True
        return False if folded in ("0", "false", "no", "n", "否") else value
    if kind == "list":
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _products(session: Session, records: Sequence[Fields], origin: Origin) -> list[Outcome]:
    said = [
        (record["sku"], {name: value for name, value in record.items() if name != "sku"})
        for record in records
    ]
    states: dict[str, State] = {"made": "created", "changed": "changed", "unchanged": "unchanged"}
    return [
        _refused(outcome.problem) if outcome.problem is not None else Outcome(states[outcome.state])
        for outcome in products.put_many(session, said, origin.now)
    ]


def _activities(session: Session, records: Sequence[Fields], origin: Origin) -> list[Outcome]:
    facts = [
        ActivityFacts(
            **{name: value for name, value in record.items() if name not in ("customer", "page")},
            source=origin.source,
            customer=_ref(record, origin),
            page=coarse_page(record.get("page")),
        )
        for record in records
    ]
    return [_told(outcome) for outcome in activities.record_many(session, facts, origin.now)]


def _interactions(session: Session, records: Sequence[Fields], origin: Origin) -> list[Outcome]:
    facts = [
        InteractionFacts(
            **{name: value for name, value in record.items() if name != "customer"},
            source=origin.source,
            customer=CustomerRef(source=origin.source, external_id=record["customer"]),
        )
        for record in records
    ]
    return [_told(outcome) for outcome in interactions.record_many(session, facts, origin.by, origin.now)]


def _consents(session: Session, records: Sequence[Fields], origin: Origin) -> list[Outcome]:
    """The only kind that touches consent. Told again in the same words, it changes nothing."""
    known = customers.find_by_names(session, {(origin.source, record["customer"]) for record in records})
    tags.hold(session, (one.customer_id for one in known.values()))
    outcomes = []
    for record in records:
        try:
            owner = customers.owner_of(
                CustomerRef(source=origin.source, external_id=record["customer"]),
                {CustomerRef(source=name[0], external_id=name[1]): one for name, one in known.items()},
                create=False,
            )
            assert owner is not None
            with session.begin_nested():
                _, recorded = consents.record(
                    session,
                    owner.recorded_customer_id,
                    record["purpose"],
                    record["channel"],
                    GivenConsent(
                        **{
                            name: value
                            for name, value in record.items()
                            if name not in ("customer", "purpose", "channel")
                        }
                    ),
                    origin.by,
                )
        except Refusal as problem:
            outcomes.append(_refused(problem))
        else:
            outcomes.append(Outcome("created" if recorded else "unchanged"))
    return outcomes


def _tags(session: Session, records: Sequence[Fields], origin: Origin) -> list[Outcome]:
    known = customers.find_by_names(session, {(origin.source, record["customer"]) for record in records})
    tags.hold(session, (one.customer_id for one in known.values()))
    outcomes: list[Outcome | None] = []
    taggings: list[Tagging] = []
    for record in records:
        owner = known.get((origin.source, record["customer"]))
        if owner is None or owner.state == "erased":
            outcomes.append(_refused(customers.unknown_customer() if owner is None else customers.erased()))
            continue
        outcomes.append(None)
        taggings.append(Tagging(owner.recorded_customer_id, record["tag"], record.get("expires_at")))
    there = _tagged(session, taggings)
    tags.add(session, taggings, tags.IMPORT, origin.by, origin.now)
    given = iter(taggings)
    return [
        outcome if outcome is not None else Outcome("unchanged" if next(given) in there else "created")
        for outcome in outcomes
    ]


def _tagged(session: Session, taggings: Iterable[Tagging]) -> set[Tagging]:
    """Those of them that were imported before."""
    own = customer_tag.c
    wanted = [(one.customer_id, one.tag) for one in taggings]
    rows = select(own.recorded_customer_id, own.tag, own.expires_at).where(
        own.source == tags.IMPORT, tuple_(own.recorded_customer_id, own.tag).in_(wanted)
    )
    return {Tagging(*row) for row in session.execute(rows)} if wanted else set()


def _ref(record: Fields, origin: Origin) -> CustomerRef | None:
    name = record.get("customer")
    return None if name is None else CustomerRef(source=origin.source, external_id=name)


def _told(outcome: Any) -> Outcome:
    """Of a fact: recorded, or known already."""
    if outcome.problem is not None:
        return _refused(outcome.problem)
    return Outcome("created" if outcome.state == "recorded" else "unchanged")


def _refused(problem: Refusal) -> Outcome:
    """A list of faults is told as its first: what is wrong with which field."""
    if problem.faults:
        fault = problem.faults[0]
        code = problem.code if problem.code != "attributes_invalid" else fault.code
        return Outcome("refused", code, fault.message, fault.pointer.strip("/").replace("/", ".") or None)
    return Outcome("refused", problem.code, problem.message)


_WRITERS: dict[str, Callable[[Session, Sequence[Fields], Origin], list[Outcome]]] = {
    "customers": _customers,
    "products": _products,
    "activities": _activities,
    "interactions": _interactions,
    "consents": _consents,
    "tags": _tags,
}

__all__ = ["Origin", "Outcome", "note_keys", "write"]
