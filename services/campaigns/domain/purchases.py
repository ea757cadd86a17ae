"""Purchases as the programme sees them: what they brought so far, and by which multiplier."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

from pydantic_core import to_json
from sqlalchemy import text
from sqlalchemy.orm import Session

from services.campaigns.rules import earning
from services.campaigns.settings import CampaignsSettings


@dataclass(slots=True)
class Purchase:
    """A purchase as the programme sees it; the columns of the table, in their order."""

    purchase_id: UUID
    customer_id: UUID
    recorded_customer_id: UUID
    source: str | None
    external_id: str | None
    recorded_at: datetime | None
    historical: bool
    minor_per_unit: int
    total_minor: int | None
    net_left_minor: int | None
    percent: int
    points: int

    def settle(self, points_per_unit: int) -> int:
        """Set ``points`` to what is due; gives the difference to book."""
        due = earning.due(
            self.total_minor, self.net_left_minor, self.minor_per_unit, points_per_unit, self.percent
        )
        difference, self.points = due - self.points, due
        return difference

    def leave(self, net_left_minor: int) -> None:
        """Value only ever goes: the lowest that was told counts, whichever return was told last."""
        known = self.net_left_minor
        self.net_left_minor = net_left_minor if known is None else min(known, net_left_minor)


def settings_of(session: Session) -> CampaignsSettings:
    return cast("CampaignsSettings", session.info["settings"])


def load(session: Session, purchase_ids: Collection[UUID]) -> dict[UUID, Purchase]:
    found = session.execute(_LOAD, {"ids": list(purchase_ids)})
    return {row.purchase_id: Purchase(*row) for row in found}


def save(session: Session, purchases: Sequence[Purchase]) -> None:
    if not purchases:
        return
    session.execute(_SAVE, {"purchases": to_json(purchases).decode()})


_COLUMNS = {
    "purchase_id": "uuid",
    "customer_id": "uuid",
    "recorded_customer_id": "uuid",
    "source": "text",
    "external_id": "text",
    "recorded_at": "timestamptz",
    "historical": "boolean",
    "minor_per_unit": "integer",
    "total_minor": "bigint",
    "net_left_minor": "bigint",
    "percent": "integer",
    "points": "bigint",
}

_LOAD = text(f"select {', '.join(_COLUMNS)} from purchase where purchase_id = any(cast(:ids as uuid[]))")

# One JSON value: twelve arrays of a thousand cost Python three times as much (measured).
_SAVE = text(f"""
    insert into purchase ({", ".join(_COLUMNS)})
    select * from json_to_recordset(cast(:purchases as json))
        as each ({", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())})
    on conflict (purchase_id) do update set
        {", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name != "purchase_id")}
""")
