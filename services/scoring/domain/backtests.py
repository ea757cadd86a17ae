"""A policy tried on everybody: what a calibration by it would do to the tiers, without doing it.

Everybody's facts before as_of are counted and the boundaries drawn as for a calibration, under the backtest's own id; then
each customer is placed in them by the statements that score (domain/placement.py) and judged by the rule that reviews
(rules/tiers.py). Nobody is locked and nothing is kept but what would move.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from services.scoring.domain import calibrations, placement
from services.scoring.domain.calibrations import Calibration, minor_per_unit
from services.scoring.domain.facts import books
from services.scoring.rules.policy import Policy, parse
from services.scoring.rules.tiers import Standing, decide, standing_of
from shared.errors import NotFound

# Customers shown of those who would make the same move.
EXAMPLES = 300

Cell = tuple[str | None, str | None, str]  # from, to, effect


def begin(
    session: Session, backtest_id: UUID, tried: Row[Any], as_of: datetime | None, by: str | None
) -> None:
    """Keep what is tried, as it is now. Without ``as_of``: as of when the nightly calibration would count."""
    session.execute(
        text("""
            insert into backtest (backtest_id, policy_id, version, content, as_of, created_by)
            values (:id, :policy_id, :version, :content, :as_of, :by)
        """).bindparams(bindparam("content", type_=JSONB)),
        {
            "id": backtest_id,
            "policy_id": tried.policy_id,
            "version": tried.version,
            "content": tried.content,
            "as_of": as_of or calibrations.as_of_next(session, backtest_id),
            "by": by,
        },
    )


def find(session: Session, backtest_id: UUID) -> Row[Any]:
    row = session.execute(
        text("select * from backtest where backtest_id = :id"), {"id": backtest_id}
    ).one_or_none()
    if row is None:
        raise NotFound("backtest_not_found", f"there is no backtest {backtest_id}")
    return row


def of_policy(session: Session, policy_id: UUID, before: UUID | None, size: int) -> Sequence[Row[Any]]:
    """The backtests of a policy, the latest first."""
    return session.execute(
        text("""
            select * from backtest where policy_id = :policy_id
                and backtest_id < coalesce(cast(:before as uuid), cast(:last as uuid))
            order by backtest_id desc limit :size
        """),
        {"policy_id": policy_id, "before": before, "last": UUID(int=2**128 - 1), "size": size},
    ).all()


def examples(
    session: Session,
    backtest_id: UUID,
    moves: Mapping[str, str | None],
    after: UUID | None,
    size: int,
) -> Sequence[Row[Any]]:
    """Customers whom it would move, by id; ``moves`` narrows down from_tier, to_tier and effect."""
    find(session, backtest_id)
    return session.execute(
        text("""
            select customer_id, from_tier, to_tier, effect, net_revenue_minor from backtest_example
            where backtest_id = :id and customer_id > coalesce(cast(:after as uuid), cast(:first as uuid))
                and (cast(:from_tier as text) is null or from_tier = :from_tier)
                and (cast(:to_tier as text) is null or to_tier = :to_tier)
                and (cast(:effect as text) is null or effect = :effect)
            order by customer_id limit :size
        """),
        {"id": backtest_id, "after": after, "first": UUID(int=0), "size": size, **moves},
    ).all()


def count(session: Session, backtest_id: UUID, after: UUID | None, size: int) -> tuple[int, UUID | None]:
    """Count the next ``size`` customers after ``after``; gives how many there were and the last."""
    row = find(session, backtest_id)
    policy = parse(row.version or 0, row.content)
    return calibrations.count_as_of(session, backtest_id, row.as_of, policy, after, size)


def draw_boundaries(session: Session, backtest_id: UUID) -> int:
    """Where the bands and tiers would lie; gives the number of counted customers."""
    row = find(session, backtest_id)
    counted = calibrations.draw_distributions(session, backtest_id, parse(row.version or 0, row.content))
    calibrations.forget_input(session, backtest_id)
    session.execute(
        text("update backtest set counted = :counted where backtest_id = :id"),
        {"id": backtest_id, "counted": counted},
    )
    return counted


def compare(session: Session, backtest_id: UUID, customer_ids: Sequence[UUID]) -> None:
    """What the review would decide about these customers, added up; some of those who would move are kept."""
    # As calibrations.enter says: plans for the tables as they are.
    session.execute(text("select set_config('plan_cache_mode', 'force_custom_plan', true)"))
    row = find(session, backtest_id)
    tried = _as_calibration(session, row)
    found = (
        session.connection()
        .exec_driver_sql(
            placement.foreseen(tried.policy),
            {"customers": list(customer_ids)} | placement.parameters(session, tried),
        )
        .all()
    )
    moves = [(_move(each, tried), each) for each in found]
    cells = {(cell["from"], cell["to"], cell["effect"]): cell for cell in row.cells}
    shown = Counter({key: cell["customers"] for key, cell in cells.items()})
    kept = []
    for key, each in moves:
        cell = cells.setdefault(
            key,
            {"from": key[0], "to": key[1], "effect": key[2], "customers": 0, "net_revenue_minor": 0},
        )
        cell["customers"] += 1
        cell["net_revenue_minor"] += each.net_minor
        if key[2] != "none" and shown[key] < EXAMPLES:
            shown[key] += 1
            kept.append((key, each))
    session.execute(
        text("update backtest set cells = :cells where backtest_id = :id").bindparams(
            bindparam("cells", type_=JSONB)
        ),
        {"id": backtest_id, "cells": list(cells.values())},
    )
    session.execute(
        text("""
            insert into backtest_example (backtest_id, customer_id, from_tier, to_tier, effect, net_revenue_minor)
            select :id, * from unnest(cast(:customers as uuid[]), cast(:from_tiers as text[]),
                cast(:to_tiers as text[]), cast(:effects as text[]), cast(:net as bigint[]))
        """),
        {
            "id": backtest_id,
            "customers": [each.customer_id for _, each in kept],
            "from_tiers": [key[0] for key, _ in kept],
            "to_tiers": [key[1] for key, _ in kept],
            "effects": [key[2] for key, _ in kept],
            "net": [each.net_minor for _, each in kept],
        },
    )


def finish(session: Session, backtest_id: UUID) -> dict[str, int]:
    """Forget the boundaries; gives how many would rise, fall and stay."""
    session.execute(text("delete from distribution where calibration_id = :id"), {"id": backtest_id})
    session.execute(
        text("update backtest set finished_at = now() where backtest_id = :id"), {"id": backtest_id}
    )
    return outcome(find(session, backtest_id))


def outcome(row: Row[Any]) -> dict[str, int]:
    """Customers who would rise, fall (at once or after the grace), get a first tier, or lose one that the policy does not know
    (``displaced``: which is higher nobody can say), and all who were looked at."""
    position: dict[str | None, int] = {each["code"]: i for i, each in enumerate(row.content["tiers"])}
    found = {"customers": 0, "rising": 0, "falling": 0, "first": 0, "displaced": 0}
    for cell in row.cells:
        found["customers"] += cell["customers"]
        before, after = position.get(cell["from"]), position.get(cell["to"])
        if cell["from"] is None and after is not None:
            found["first"] += cell["customers"]
        elif before is None and after is not None:
            found["displaced"] += cell["customers"]
        elif before is not None and after is not None and before != after:
            found["rising" if after > before else "falling"] += cell["customers"]
    return found


def _as_calibration(session: Session, row: Row[Any]) -> Calibration:
    """The calibration that this would be."""
    return Calibration(
        id=row.backtest_id,
        as_of=row.as_of,
        pinned=True,
        initial=False,
        counted=row.counted,
        policy=parse(row.version or 0, row.content),
        minor_per_unit=minor_per_unit(books(session).currency),
        models={},
    )


def _move(row: Row[Any], tried: Calibration) -> Cell:
    """From which tier to which a customer would go, and when: at once, after the grace, or none at all."""
    policy = tried.policy
    if row.manual:
        return row.tier, row.tier, "none"
    codes = [level.code for level in policy.tiers]
    standing, deserved = standing_of(codes, row.tier, row.deserved, row.downgrade_due_at)
    grace = timedelta(days=policy.grace_days)
    decision = decide(standing, deserved, tried.as_of, grace, one_step=policy.one_step)
    if decision.kind in ("raised", "lowered"):
        return row.tier, codes[decision.standing.level or 0], "at_once"
    if decision.standing.downgrade_due_at is not None:
        return row.tier, codes[_after_grace(standing, deserved, policy)], "after_grace"
    return row.tier, row.tier, "none"


def _after_grace(standing: Standing, deserved: int | None, policy: Policy) -> int:
    level = standing.level or 0
    return level - 1 if policy.one_step else deserved or 0
