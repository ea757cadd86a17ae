"""Rewards: what points can buy."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, text, tuple_
from sqlalchemy.orm import Session

from services.campaigns.domain import customers, ledger
from services.campaigns.domain.ledger import Movement
from services.campaigns.tables import redemption, reward
from shared.errors import Conflict, NotFound
from shared.events.campaigns import RewardRedeemed
from shared.ids import uuid7
from shared.messaging.outbox import announce

_REWARD = (
    reward.c.reward_id.label("id"),
    reward.c.name,
    reward.c.points_price,
    reward.c.stock,
    reward.c.redeemed_count,
    reward.c.created_at,
)


def create(session: Session, name: str, points_price: int, stock: int | None) -> Any:
    """A new reward; ``stock`` None = without limit."""
    values = {"reward_id": uuid7(), "name": name, "points_price": points_price, "stock": stock}
    return session.execute(insert(reward).values(values).returning(*_REWARD)).one()


def get(session: Session, reward_id: UUID) -> Any:
    """Raises NotFound ``reward_not_found``."""
    found = session.execute(select(*_REWARD).where(reward.c.reward_id == reward_id)).one_or_none()
    if found is None:
        raise NotFound("reward_not_found", f"there is no reward {reward_id}")
    return found


def page(session: Session, after: tuple[datetime, UUID] | None, limit: int) -> Sequence[Any]:
    """All rewards, the latest first."""
    query = select(*_REWARD)
    if after is not None:
        query = query.where(tuple_(reward.c.created_at, reward.c.reward_id) < after)
    return session.execute(
        query.order_by(reward.c.created_at.desc(), reward.c.reward_id.desc()).limit(limit)
    ).all()


def redeem(session: Session, customer_id: UUID, reward_id: UUID, now: datetime) -> dict[str, Any]:
    """Spend a customer's points on a reward; a merged customer's are the winner's, and so is what they buy.

    The customer is locked first, then one piece is taken from the stock, so that neither goes below zero whoever
    races. Raises as ``customers.lock``, NotFound ``reward_not_found``, Conflict ``insufficient_points`` or
    ``out_of_stock``.
    """
    customer_id = customers.lock(session, customer_id)
    wanted = get(session, reward_id)
    balance = ledger.balances(session, [customer_id])[customer_id]
    if balance < wanted.points_price:
        raise Conflict("insufficient_points", f"{wanted.points_price} points needed, {balance} available")
    if session.scalar(_TAKE, {"id": reward_id}) is None:
        raise Conflict("out_of_stock", "nothing of this reward is left")

    redemption_id = uuid7()
    session.execute(
        insert(redemption).values(
            redemption_id=redemption_id,
            customer_id=customer_id,
            recorded_customer_id=customer_id,
            reward_id=reward_id,
            points=wanted.points_price,
            redeemed_at=now,
        )
    )
    ledger.book(
        session,
        [
            Movement(
                customer_id=customer_id,
                points=-wanted.points_price,
                kind="spent",
                cause=f"redemption:{redemption_id}",
                source=f"redemption:{redemption_id}",
                reason="redemption",
                effective_at=now,
            )
        ],
    )
    announce(
        session,
        RewardRedeemed(
            customer_id=customer_id,
            redemption_id=redemption_id,
            reward_id=reward_id,
            points=wanted.points_price,
            effective_at=now,
        ),
    )
    return {
        "id": redemption_id,
        "customer_id": customer_id,
        "reward_id": reward_id,
        "reward_name": wanted.name,
        "points": wanted.points_price,
        "redeemed_at": now,
    }


def redemptions_of(
    session: Session, customer_id: UUID, after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[Any]:
    """The customer's redemptions with the names of the rewards, the latest first."""
    query = select(
        redemption.c.redemption_id.label("id"),
        redemption.c.customer_id,
        redemption.c.reward_id,
        reward.c.name.label("reward_name"),
        redemption.c.points,
        redemption.c.redeemed_at,
    ).join(reward)
    query = query.where(redemption.c.customer_id == customer_id)
    if after is not None:
        query = query.where(tuple_(redemption.c.redeemed_at, redemption.c.redemption_id) < after)
    return session.execute(
        query.order_by(redemption.c.redeemed_at.desc(), redemption.c.redemption_id.desc()).limit(limit)
    ).all()


_TAKE = text("""
    update reward set stock = stock - 1, redeemed_count = redeemed_count + 1
    where reward_id = :id and (stock is null or stock > 0)
    returning reward_id
""")
