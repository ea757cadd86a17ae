"""Clusterings: how one begins and takes effect, and what the one in force says.

A clustering is made beside the one in force: what it says of everybody is written customer by customer, under the customer's
lock, and shown from the moment it takes effect. (What it learns: domain/cluster_models.py.)
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from services.scoring.domain.facts import books
from shared.errors import NotFound

_LAST = UUID(int=2**128 - 1)


def begin(session: Session, clustering_id: UUID) -> int | None:
    """A new clustering as of the beginning of the calibration's day; gives how many customers there are, None where no
    calibration is in force."""
    begun = session.scalar(
        text("""
            insert into clustering (clustering_id, calibration_id, as_of, state)
            select :id, calibration_id, date_trunc('day', as_of at time zone :zone) at time zone :zone, 'measuring'
            from calibration where state = 'current'
            returning clustering_id
        """),
        {"id": clustering_id, "zone": books(session).time_zone},
    )
    return None if begun is None else session.scalar(text("select count(*) from metrics")) or 0


def take_effect(session: Session, clustering_id: UUID) -> bool:
    """From the commit on this is the clustering in force; False if a later one already is."""
    # Clusterings take turns here; who reads does not wait.
    session.execute(text("lock table clustering in share row exclusive mode"))
    late = session.scalar(
        text("select exists (select from clustering where state = 'current' and clustering_id > :id)"),
        {"id": clustering_id},
    )
    if late:
        session.execute(
            text("update clustering set state = 'superseded' where clustering_id = :id"),
            {"id": clustering_id},
        )
        return False
    session.execute(_COMPARE, {"id": clustering_id})
    session.execute(
        text("""
            update clustering set state = case state when 'current' then 'past' else 'superseded' end
            where state = 'current' or (state = 'measuring' and clustering_id < :id)
        """),
        {"id": clustering_id},
    )
    session.execute(
        text("update clustering set state = 'current', effective_at = now() where clustering_id = :id"),
        {"id": clustering_id},
    )
    return True


_COMPARE = text("""
    with moved as (
        select before.label, count(*) as compared, count(*) filter (where now.label = before.label) as kept
        from clustering c join customer_cluster before using (clustering_id)
        join customer_cluster now on now.customer_id = before.customer_id and now.clustering_id = :id
        where c.state = 'current' and before.label is not null and now.label is not null
        group by before.label),
    each as (
        update cluster set compared = moved.compared, kept = moved.kept from moved
        where cluster.clustering_id = :id and cluster.label = moved.label)
    update clustering set compared = total.compared, kept = total.kept
    from (select coalesce(sum(compared), 0) as compared, coalesce(sum(kept), 0) as kept from moved) total
    where clustering_id = :id
""")


def sweep(session: Session, clustering_id: UUID, size: int) -> int:
    """Forget some of what clusterings before this one, or those that came too late, say of customers; gives how many."""
    swept = session.execute(
        text("""
            delete from customer_cluster where (customer_id, clustering_id) in (
                select o.customer_id, o.clustering_id from customer_cluster o join clustering c using (clustering_id)
                where c.clustering_id <= :id and c.state <> 'current' limit :size)
        """),
        {"id": clustering_id, "size": size},
    )
    return int(swept.rowcount)  # type: ignore[attr-defined]


def forget(session: Session, customer_ids: Sequence[UUID]) -> None:
    """These (locked) customers are no longer those who were measured; the next clustering sees them anew."""
    session.execute(
        text("delete from customer_cluster where customer_id = any(cast(:ids as uuid[]))"),
        {"ids": list(customer_ids)},
    )


def latest(session: Session, before: UUID | None, size: int) -> Sequence[Row[Any]]:
    """Clusterings, the latest first."""
    return session.execute(
        text("""
            select clustering_id as id, calibration_id, as_of, state, created_at, effective_at,
                   clusters -> 'reasons' as cluster_reasons, (clusters -> 'quality' ->> 'silhouette')::float as silhouette,
                   kept::float / nullif(compared, 0) as kept_share, spend -> 'reasons' as forecast_reasons,
                   spend -> 'parameters' ->> 'method' as method, spend -> 'parameters' ->> 'baseline' as baseline,
                   spend -> 'quality' -> 'holdout' as holdout
            from clustering where clustering_id < coalesce(cast(:before as uuid), cast(:last as uuid))
            order by clustering_id desc limit :size
        """),
        {"before": before, "last": _LAST, "size": size},
    ).all()


def clusters(session: Session) -> dict[str, Any]:
    """The clusters of the clustering in force, the largest first; without customers before the first one."""
    run = session.execute(_RUN).one_or_none()
    if run is None:
        return {"clustering_id": None, "as_of": None, "customers": 0, "reasons": [], "clusters": []}
    rows = session.execute(_CLUSTERS, {"id": run.clustering_id}).all()
    total = sum(row.customers for row in rows)
    return {
        "clustering_id": run.clustering_id,
        "as_of": run.as_of,
        "reasons": run.reasons,
        "customers": total,
        "silhouette": run.silhouette,
        "kept_share": run.kept_share,
        "clusters": [
            {
                "label": row.label,
                "words": row.words,
                "customers": row.customers,
                "share": round(row.customers / total, 6) if total else 0.0,
                "leading_features": row.leading_features,
                "rule": row.rule,
                "kept_share": row.kept_share,
            }
            for row in rows
        ],
    }


_RUN = text("""
    select clustering_id, as_of, clusters -> 'reasons' as reasons,
           (clusters -> 'quality' ->> 'silhouette')::float as silhouette, kept::float / nullif(compared, 0) as kept_share
    from clustering where state = 'current'
""")

_CLUSTERS = text("""
    select label, words, leading_features, rule, coalesce(customers, 0) as customers, kept::float / nullif(compared, 0) as kept_share
    from cluster left join (
        select label, count(*) as customers from customer_cluster where clustering_id = :id group by label) o using (label)
    where clustering_id = :id
    order by customers desc, label
""")


def customers(session: Session, label: int, after: UUID | None, size: int) -> Sequence[Row[Any]]:
    """The next ``size`` customers of a cluster in force, by id. Raises NotFound ``cluster_not_found``."""
    run = session.scalar(
        text("""
            select clustering_id from clustering join cluster using (clustering_id)
            where state = 'current' and label = :label
        """),
        {"label": label},
    )
    if run is None:
        raise NotFound("cluster_not_found", f"there is no cluster {label}")
    return session.execute(
        text("""
            select customer_id, forecast_90_minor as forecast_minor, baseline_90_minor as baseline_minor
            from customer_cluster where clustering_id = :id and label = :label and customer_id > :after
            order by customer_id limit :size
        """),
        {"id": run, "label": label, "after": after or UUID(int=0), "size": size},
    ).all()
