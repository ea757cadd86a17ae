"""Put scoring in a state by the events that would have put it there, and look at what it announces."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from sqlalchemy import text

from services.scoring.app import INVARIANTS, STATE
from services.scoring.jobs import CALIBRATION, JOBS, calibrate
from services.scoring.reactions import REACTIONS
from shared import jobs
from shared.events.envelope import Event
from shared.events.feedback import SatisfactionChanged
from shared.events.profile import (
    CustomerRegistered,
    ExternalId,
    PurchaseCancelled,
    PurchaseRecorded,
    PurchaseReturned,
)
from shared.jobs.runner import RunningJob
from shared.messaging.runs import runs

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 11, tzinfo=UTC)


def days(count: float) -> timedelta:
    return timedelta(days=count)


@dataclass
class World:
    scoring: Any
    customers: dict[str, UUID] = field(default_factory=dict)
    purchases: dict[str, UUID] = field(default_factory=dict)

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.scoring.settings.time_zone)

    # Events, by natural names.

    def customer(self, name: str) -> UUID:
        return self.customers.setdefault(name, uuid4())

    def registered(self, name: str, **more: Any) -> CustomerRegistered:
        values = {
            "customer_id": self.customer(name),
            "kind": "person",
            "external_ids": (ExternalId(source="shop", external_id=name),),
            "registered_at": NOON - days(1000),
        }
        return CustomerRegistered(**(values | more))

    def purchase(
        self, name: str, purchase: str, amount_minor: int, occurred_at: datetime = NOON, **more: Any
    ) -> PurchaseRecorded:
        values = {
            "purchase_id": self.purchases.setdefault(purchase, uuid4()),
            "customer_id": self.customer(name),
            "source": "shop",
            "external_id": purchase,
            "occurred_at": occurred_at,
            "recorded_at": occurred_at,
            "historical": False,
            "currency": "CNY",
            "total_minor": amount_minor,
            "accounting_total_minor": amount_minor,
            "lines": (),
        }
        return PurchaseRecorded(**(values | more))

    def returned(
        self,
        name: str,
        purchase: str | None,
        amount_minor: int,
        occurred_at: datetime = NOON,
        **more: Any,
    ) -> PurchaseReturned:
        values = {
            "return_id": uuid4(),
            "purchase_id": None if purchase is None else self.purchases.setdefault(purchase, uuid4()),
            "customer_id": self.customer(name),
            "source": "shop",
            "external_id": str(uuid4()),
            "occurred_at": occurred_at,
            "recorded_at": occurred_at,
            "historical": False,
            "currency": "CNY",
            "amount_minor": amount_minor,
            "accounting_amount_minor": amount_minor,
        }
        return PurchaseReturned(**(values | more))

    def cancelled(
        self, name: str, purchase: str, amount_minor: int, occurred_at: datetime = NOON, **more: Any
    ) -> PurchaseCancelled:
        values = {
            "purchase_id": self.purchases.setdefault(purchase, uuid4()),
            "customer_id": self.customer(name),
            "source": "shop",
            "external_id": purchase,
            "occurred_at": occurred_at,
            "recorded_at": occurred_at,
            "historical": False,
            "currency": "CNY",
            "amount_minor": amount_minor,
            "accounting_amount_minor": amount_minor,
        }
        return PurchaseCancelled(**(values | more))

    def satisfaction(self, name: str, before: str, after: str) -> SatisfactionChanged:
        return SatisfactionChanged(
            customer_id=self.customer(name), from_=before, to=after, measure="nps", effective_at=NOON
        )

    # What happens.

    def happens(self, *events: Event) -> None:
        """One batch in one transaction, as the consumer would apply it."""
        with self.scoring.sessions.begin() as session:
            for kind, run in runs(events):
                REACTIONS[kind](session, run)

    def calibrated(self, as_of: datetime | None = MIDNIGHT) -> RunningJob:
        job = self.calibration(as_of)
        calibrate(job)
        return job

    def calibration(self, as_of: datetime | None = MIDNIGHT, **parameters: Any) -> RunningJob:
        """A calibration in the hands of a worker, not begun."""
        parameters |= {} if as_of is None else {"as_of": as_of.isoformat()}
        with self.scoring.sessions.begin() as session:
            job_id = jobs.create(session, CALIBRATION, parameters)
            session.execute(
                text("update shared.job set state = 'running', epoch = 1 where id = :id"), {"id": job_id}
            )
        return self.taken_over(job_id, parameters, epoch=1)

    def taken_over(self, job_id: UUID, parameters: dict[str, Any], epoch: int) -> RunningJob:
        """The same job in the hands of the next worker, where its cursor stands."""
        assert CALIBRATION in JOBS
        with self.scoring.sessions.begin() as session:
            row = session.execute(
                text("update shared.job set epoch = :epoch where id = :id returning cursor, report"),
                {"id": job_id, "epoch": epoch},
            ).one()
        return RunningJob(
            id=job_id,
            kind=CALIBRATION,
            parameters=parameters,
            cursor=row.cursor or {},
            report=row.report or {},
            created_by=None,
            settings=self.scoring.settings,
            sessions=self.scoring.sessions,
            engine=self.scoring.engine,
            epoch=epoch,
            stop=threading.Event(),
        )

    # What is so.

    def score(self, name: str) -> dict[str, Any]:
        reply = self.scoring.client.get(f"/v1/customers/{self.customer(name)}/score")
        assert reply.status_code == 200, reply.text
        return reply.json()

    def announced(self, kind: str, name: str | None = None) -> list[dict[str, Any]]:
        """The data of the events of one type, in order."""
        key = None if name is None else str(self.customer(name))
        with self.scoring.sessions() as session:
            return list(
                session.scalars(
                    text(
                        "select data from shared.outbox where type like :type"
                        " and (cast(:key as text) is null or key = :key) order by id"
                    ),
                    {"type": f"%.{kind}.v1", "key": key},
                )
            )

    def state(self, names: Sequence[str] = tuple(STATE)) -> dict[str, list[str]]:
        with self.scoring.sessions() as session:
            return {name: sorted(session.scalars(text(STATE[name]))) for name in names}

    def assert_sound(self) -> None:
        with self.scoring.sessions() as session:
            broken = [name for name, query in INVARIANTS.items() if session.scalar(text(query)) is not True]
        assert broken == []
