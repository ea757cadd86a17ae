"""What a clustering learns from the facts in the database, and what it says of customers. Loaded by its job alone: it brings
numpy; learning happens in a process of its own, which brings scikit-learn and ends.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date
from functools import partial
from itertools import pairwise
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import insert, text, update
from sqlalchemy.orm import Session

from services.scoring.domain.arrays import arrays
from services.scoring.domain.calibrations import minor_per_unit
from services.scoring.domain.facts import books
from services.scoring.rules import clustering as rules
from services.scoring.rules.clustering import Facts
from services.scoring.rules.features import Lines, Purchases, Returns, Vector, buyers
from services.scoring.tables import cluster, clustering
from shared.elsewhere import elsewhere

# Of a larger company that many are learnt from, so that the memory stays (three matrices of them: 50 MB).
LEARNT_FROM = 100_000
READ_AT_ONCE = 5_000

# One statement, so that all is of one moment. A purchase that replaces another counts with it, at that one's time: so do its
# discounts and its lines, while its amount stands there already. Of lines only the first of each category matters; codes of
# categories and channels tell those of one customer apart. What is in no category is its own.
_FACTS = """
    with chunk as materialized (
        select customer_id, ord - 1 as customer
        from unnest(cast(%(customers)s as uuid[])) with ordinality as c (customer_id, ord)),
    bought as materialized (
        select purchase_id, coalesce(counts_with, purchase_id) as counts_as, customer, amount_minor, channel,
               (extract(epoch from occurred_at at time zone %(zone)s) * 1000000)::bigint as at
        from chunk join purchase using (customer_id)),
    line as materialized (
        select b.counts_as as purchase_id, coalesce(l.category, o.category, l.sku) as category, l.discount_minor
        from bought b join purchase_line l using (purchase_id) left join product o using (sku)),
    counted as materialized (
        select purchase_id, customer, at, amount_minor, row_number() over (order by purchase_id) - 1 as position,
               dense_rank() over (order by channel) as channel
        from bought where counts_as = purchase_id),
    discount as (select purchase_id, sum(discount_minor)::bigint as amount_minor from line group by purchase_id)
    select 0::bigint, customer, at, position, p.amount_minor, coalesce(d.amount_minor, 0), channel
    from counted p left join discount d using (purchase_id)
    union all
    select 1, c.customer, (extract(epoch from r.occurred_at at time zone %(zone)s) * 1000000)::bigint,
           coalesce(p.position, -1), r.amount_minor, 0, 0
    from chunk c join purchase_return r using (customer_id) left join counted p on p.purchase_id = r.purchase_id
    union all
    select 2, customer, min(at), row_number() over (partition by customer order by category), 0, 0, 0
    from line join counted using (purchase_id)
    group by customer, category
"""
_COLUMNS = ("kind", "customer", "at", "position", "amount_minor", "discount_minor", "channel")

_SOME = text("""
    select customer_id from metrics join customer c using (customer_id)
    where customer_id > :after and c.state = 'active' and (hashtext(customer_id::text) & 2147483647) % :every = 0
    order by customer_id limit :size
""")

_KEEP = """
    insert into customer_cluster (clustering_id, customer_id, label, forecast_90_minor, baseline_90_minor)
    select %(id)s, * from unnest(
        cast(%(customers)b as uuid[]), cast(%(labels)b as integer[]), cast(%(forecasts)b as bigint[]),
        cast(%(baselines)b as bigint[]))
    on conflict do nothing
"""


def facts(session: Session, customer_ids: Sequence[UUID]) -> Facts:
    """Everything that these customers bought and brought back, in local time; a customer's position is that in
    ``customer_ids``."""
    parameters = {"customers": list(customer_ids), "zone": books(session).time_zone}
    rows = arrays(session, _FACTS, parameters, _COLUMNS)
    order = np.lexsort([rows["position"], rows["kind"]])
    begins = np.searchsorted(rows["kind"][order], [0, 1, 2, 3])
    purchases, returns, lines = (
        {name: column[order[begin:end]] for name, column in rows.items()}
        for begin, end in pairwise(begins.tolist())
    )

    def at(part: dict[str, Any]) -> Any:
        return part["at"].view("M8[us]")

    return Facts(
        len(customer_ids),
        Purchases(
            purchases["customer"],
            at(purchases),
            purchases["amount_minor"],
            purchases["discount_minor"],
            purchases["channel"],
        ),
        Returns(returns["customer"], at(returns), returns["amount_minor"], returns["position"]),
        Lines(lines["customer"], at(lines), lines["position"]),
    )


def learn(session: Session, clustering_id: UUID) -> dict[str, list[str]]:
    """Learn from everybody (or LEARNT_FROM of them) as of the clustering's day, and store it; gives the reasons against what
    was not learnt. Repeating it changes nothing."""
    previous = session.scalar(
        text("""
            select clusters -> 'parameters' from clustering
            where state in ('current', 'past') and clusters -> 'reasons' = '[]' order by effective_at desc limit 1
        """)
    )
    work = partial(rules.learn, _day(session, clustering_id), _unit(session), previous)
    with closing(elsewhere(work, _everybody(session))) as results:
        learnt = next(results)
    found = learnt["clusters"].pop("found")
    session.execute(update(clustering).where(clustering.c.clustering_id == clustering_id).values(learnt))
    session.execute(text("delete from cluster where clustering_id = :id"), {"id": clustering_id})
    if found:
        session.execute(insert(cluster), [{"clustering_id": clustering_id} | each for each in found])
    return {kind: learnt[kind]["reasons"] for kind in learnt}


def assign(session: Session, clustering_id: UUID, customer_ids: Sequence[UUID]) -> int:
    """Say of these (locked) customers what was learnt; gives how many of them had bought by the clustering's day."""
    learnt = session.execute(
        text("select clusters, spend from clustering where clustering_id = :id"), {"id": clustering_id}
    ).one()
    unit = _unit(session)
    matrix = facts(session, customer_ids).features(_day(session, clustering_id), unit)
    said = rules.say({"clusters": learnt.clusters, "spend": learnt.spend}, matrix)
    known = np.flatnonzero(buyers(matrix))
    session.connection().exec_driver_sql(
        _KEEP,
        {
            "id": clustering_id,
            "customers": [customer_ids[each] for each in known.tolist()],
            "labels": [label or None for label in said.label[known].tolist()],
            "forecasts": _minor(said.forecast[known] * unit),
            "baselines": _minor(said.baseline[known] * unit),
        },
    )
    return len(known)


def _everybody(session: Session) -> Iterator[Facts]:
    customers = session.scalar(text("select count(*) from metrics")) or 0
    every = -(-customers // LEARNT_FROM) or 1
    after = UUID(int=0)
    while ids := session.scalars(_SOME, {"after": after, "every": every, "size": READ_AT_ONCE}).all():
        yield facts(session, ids)
        after = ids[-1]


def _day(session: Session, clustering_id: UUID) -> date:
    day: date = session.execute(
        text("select (as_of at time zone :zone)::date from clustering where clustering_id = :id"),
        {"id": clustering_id, "zone": books(session).time_zone},
    ).scalar_one()
    return day


def _unit(session: Session) -> int:
    return minor_per_unit(books(session).currency)


def _minor(amounts: Vector) -> list[int | None]:
    return [None if np.isnan(amount) else round(amount) for amount in amounts.tolist()]
