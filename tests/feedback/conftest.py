"""Feedback with its neighbours played by their events."""

import itertools
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from services.feedback.app import SERVICE
from services.feedback.reactions import CONSUMER
from shared.events.envelope import Event
from shared.events.profile import (
    CustomerErased,
    CustomerRegistered,
    CustomersMerged,
    ExternalId,
    PurchaseRecorded,
)
from shared.events.scoring import TierChanged
from shared.messaging import cloudevent, consumer
from shared.messaging.bus import Record


class World:
    """A feedback service, and what the rest of the suite and people do to it."""

    def __init__(self, service: Any) -> None:
        self.service, self.client, self.stranger, self.sessions = (
            service,
            service.client,
            service.stranger,
            service.sessions,
        )
        self._sequences: Counter[tuple[str, str]] = Counter()
        self._numbers = itertools.count(1)

    def told(self, *events: Event) -> None:
        """These events arrive, in one batch."""
        applied = consumer.apply(self.sessions, CONSUMER, [self.record(event) for event in events])
        assert applied.parked == 0

    def record(self, event: Event) -> Record:
        self._sequences[event.topic, event.key] += 1
        value = cloudevent.write(
            event_id=event.id,
            type=event.type,
            key=event.key,
            sequence=self._sequences[event.topic, event.key],
            created_at=datetime.now(UTC),
            data=event.model_dump_json(),
            traceparent=None,
            causation_id=None,
        )
        return Record(event.topic, 0, 0, event.key, value)

    def registered(self, language: str | None = "zh") -> CustomerRegistered:
        number = next(self._numbers)
        return CustomerRegistered(
            customer_id=uuid4(),
            kind="person",
            external_ids=(ExternalId(source="shop", external_id=str(number)),),
            language=language,
            registered_at=datetime.now(UTC),
        )

    def customer(self, language: str | None = "zh", tier: str | None = None) -> UUID:
        event = self.registered(language)
        self.told(event)
        if tier:
            self.tier(event.customer_id, tier)
        return event.customer_id

    def tier(self, customer_id: UUID, tier: str, effective_at: datetime | None = None) -> None:
        now = datetime.now(UTC)
        self.told(
            TierChanged(
                customer_id=customer_id,
                tier=tier,
                previous_tier=None,
                effective_at=effective_at or now,
                reason="purchase",
                initial=False,
                historical=False,
                as_of=now,
                policy_version=1,
            )
        )

    def erased(self, customer_id: UUID) -> None:
        self.told(CustomerErased(customer_id=customer_id, erased_at=datetime.now(UTC)))

    def merged(self, loser: UUID, winner: UUID, kind: type[Event] = CustomersMerged) -> None:
        ids = {"winner_id": winner, "loser_id": loser, "effective_at": datetime.now(UTC)}
        self.told(*(kind(customer_id=each, **ids) for each in (winner, loser)))

    def purchase(
        self, customer_id: UUID | None, after: timedelta = timedelta(0), historical: bool = False
    ) -> PurchaseRecorded:
        recorded_at = datetime.now(UTC) + after
        return PurchaseRecorded(
            customer_id=customer_id,
            source="shop",
            external_id=str(next(self._numbers)),
            occurred_at=recorded_at - timedelta(days=10 if historical else 0),
            recorded_at=recorded_at,
            historical=historical,
            currency="CNY",
            purchase_id=uuid4(),
            total_minor=1_990,
            accounting_total_minor=1_990,
            lines=(),
        )

    def survey(self, **values: Any) -> dict[str, Any]:
        reply = self.client.post("/v1/surveys", json={"name": "After a purchase", **values})
        assert reply.status_code == 201, reply.text
        return dict(reply.json())

    def invitations(self, customer_id: UUID) -> list[dict[str, Any]]:
        reply = self.client.get(f"/v1/customers/{customer_id}/invitations")
        assert reply.status_code == 200, reply.text
        return list(reply.json()["items"])

    def invited(self, language: str | None = "zh", tier: str | None = None) -> tuple[UUID, str]:
        """A customer who bought something, and the path of the page that asks what it was like."""
        customer_id = self.customer(language, tier)
        self.told(self.purchase(customer_id))
        return customer_id, self.path(self.invitations(customer_id)[0])

    @staticmethod
    def path(invitation: dict[str, Any]) -> str:
        return urlsplit(invitation["answer_url"]).path.removeprefix("/feedback")

    def answer(self, path: str, score: int, comment: str = "") -> Any:
        reply = self.stranger.post(path, data={"score": str(score), "comment": comment})
        assert reply.status_code == 200, reply.text
        return reply

    def execute(self, statement: str, **values: Any) -> list[Any]:
        with self.sessions.begin() as session:
            result = session.execute(text(statement), values)
            return list(result.all()) if result.returns_rows else []

    def announced(self, name: str = "%") -> list[Any]:
        return self.execute(
            "select type, key, data, causation_id, event_id from shared.outbox"
            " where type like :type order by id",
            type=f"regulars.feedback.{name}.v1",
        )


@pytest.fixture
def world(service):
    return World(service(SERVICE))


@pytest.fixture
def committing_world(service):
    """Real commits, for races."""
    return World(service(SERVICE, committing=True))
