"""What did not reach a person, counted in the transaction that decided it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.feedback.tables import held_back


def count(session: Session, trigger: str, reason: str, number: int) -> None:
    if number == 0:
        return
    new = insert(held_back).values(trigger=trigger, reason=reason, count=number)
    session.execute(
        new.on_conflict_do_update(
            index_elements=[held_back.c.trigger, held_back.c.reason],
            set_={"count": held_back.c.count + new.excluded.count},
        )
    )


def report(session: Session) -> Sequence[Row[Any]]:
    return session.execute(select(held_back).order_by(held_back.c.trigger, held_back.c.reason)).all()
