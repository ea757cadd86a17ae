"""A loyalty programme to test: facts come in as events, questions and redemptions by HTTP."""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from services.campaigns.app import SERVICE
from services.campaigns.jobs import deliver
from services.campaigns.reactions import CONSUMERS
from shared.events.envelope import Event
from shared.events.feedback import SatisfactionChanged
from shared.events.profile import (
    CustomerRegistered,
    ExternalId,
    PurchaseCancelled,
    PurchaseLine,
    PurchaseRecorded,
    PurchaseReturned,
)
from shared.events.scoring import TierChanged
from shared.ids import uuid7
from shared.jobs.schedule import Context
from shared.messaging.runs import runs
from tests.campaigns.neighbours import Answers, MailServer, answering

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
REACTIONS = CONSUMERS[0].reactions


def minutes(count: float) -> datetime:
    """``count`` minutes after noon."""
    return NOON + timedelta(minutes=count)


def registered(customer_id: UUID, name: str = "17850", language: str | None = "zh") -> CustomerRegistered:
    return CustomerRegistered(
        customer_id=customer_id,
        kind="person",
        external_ids=(ExternalId(source="shop", external_id=name),),
        language=language,
        registered_at=NOON,
    )


def bought(customer_id: UUID | None, minor: int, at: datetime = NOON, **changes: Any) -> PurchaseRecorded:
    purchase_id = changes.pop("purchase_id", None) or uuid7()
    values: dict[str, Any] = {
        "customer_id": customer_id,
        "purchase_id": purchase_id,
        "source": "shop",
        "external_id": str(purchase_id),
        "occurred_at": at,
        "recorded_at": at,
        "historical": False,
        "currency": "CNY",
        "total_minor": minor,
        "accounting_total_minor": minor,
        "lines": (
            PurchaseLine(
                line=1,
                sku="TEA",
                quantity=1,
                unit_price="1",
                amount_minor=minor,
                accounting_amount_minor=minor,
            ),
        ),
    }
    return PurchaseRecorded(**values | changes)


def returned(purchase: PurchaseRecorded, left: int, at: datetime = NOON, **changes: Any) -> PurchaseReturned:
    """What leaves ``left`` minor units of the purchase."""
    return_id = uuid7()
    amount = purchase.accounting_total_minor - left
    values: dict[str, Any] = {
        "customer_id": purchase.customer_id,
        "return_id": return_id,
        "purchase_id": purchase.purchase_id,
        "source": "shop",
        "external_id": f"C{return_id}",
        "occurred_at": at,
        "recorded_at": at,
        "historical": False,
        "currency": "CNY",
        "amount_minor": amount,
        "accounting_amount_minor": amount,
        "net_left_minor": left,
        "accounting_net_left_minor": left,
    }
    return PurchaseReturned(**values | changes)


def cancelled(purchase: PurchaseRecorded, at: datetime = NOON) -> PurchaseCancelled:
    return PurchaseCancelled(
        customer_id=purchase.customer_id,
        purchase_id=purchase.purchase_id,
        source="shop",
        external_id=f"X{purchase.purchase_id}",
        occurred_at=at,
        recorded_at=at,
        historical=False,
        currency="CNY",
        amount_minor=purchase.total_minor,
        accounting_amount_minor=purchase.accounting_total_minor,
    )


def tier(
    customer_id: UUID, name: str, at: datetime = NOON, previous: str | None = "standard", **changes: Any
) -> TierChanged:
    values: dict[str, Any] = {
        "customer_id": customer_id,
        "tier": name,
        "previous_tier": previous,
        "effective_at": at,
        "reason": "purchase",
        "initial": False,
        "historical": False,
        "as_of": at,
        "policy_version": 1,
    }
    return TierChanged(**values | changes)


def felt(customer_id: UUID, to: str, before: str = "unknown", at: datetime = NOON) -> SatisfactionChanged:
    return SatisfactionChanged(customer_id=customer_id, from_=before, to=to, measure="nps", effective_at=at)


@dataclass
class Programme:
    """A campaigns service and what was told to it."""

    service: Any
    _numbers: Iterable[int] = field(default_factory=itertools.count)

    def hear(self, *events: Event) -> None:
        """React to the events as a batch of the consumer does: in one transaction, in runs of one type."""
        with self.service.sessions.begin() as session:
            for kind, run in runs(events):
                REACTIONS[kind](session, run)

    def customer(self, *, points: int = 0) -> UUID:
        """A customer, announced, with as many points from a purchase."""
        customer_id = uuid7()
        self.hear(registered(customer_id, str(customer_id)))
        if points:
            self.hear(bought(customer_id, points * 100))
        return customer_id

    def balance(self, customer_id: UUID) -> int:
        reply = self.service.client.get(f"/v1/customers/{customer_id}/points")
        assert reply.status_code == 200, reply.text
        return int(reply.json()["balance"])

    def entries(self, customer_id: UUID) -> list[tuple[str, int]]:
        """(kind, points), the oldest first."""
        items = self.service.client.get(f"/v1/customers/{customer_id}/points/entries").json()["items"]
        return [(item["kind"], item["points"]) for item in reversed(items)]

    def reward(self, price: int = 100, stock: int | None = None) -> str:
        reply = self.service.client.post(
            "/v1/rewards", json={"name": "Tea cup 茶杯", "points_price": price, "stock": stock}
        )
        assert reply.status_code == 201, reply.text
        return str(reply.json()["id"])

    def redeem(self, customer_id: UUID, reward_id: str, key: str | None = None) -> Any:
        return self.service.client.post(
            f"/v1/customers/{customer_id}/redemptions",
            json={"reward_id": reward_id},
            headers={"Idempotency-Key": key or f"key-{uuid7()}"},
        )

    def messages(self, customer_id: UUID) -> list[tuple[str, str, str | None]]:
        """(campaign, state, reason), the oldest first."""
        items = self.service.client.get(f"/v1/customers/{customer_id}/messages").json()["items"]
        return [(item["campaign_id"], item["state"], item["reason"]) for item in reversed(items)]

    def offers(self, customer_id: UUID) -> list[dict[str, Any]]:
        return list(self.service.client.get(f"/v1/customers/{customer_id}/offers").json()["items"])

    def announced(self, *kinds: str) -> list[dict[str, Any]]:
        """The data of what was announced, with its ``type`` in short, in order."""
        with self.service.sessions() as session:
            rows = session.execute(
                text("select type, data, causation_id from shared.outbox order by id")
            ).all()
        said = [
            {"type": row.type.split(".")[-2], "causation_id": row.causation_id}
            | (row.data if isinstance(row.data, dict) else json.loads(row.data))
            for row in rows
        ]
        return [each for each in said if not kinds or each["type"] in kinds]

    def broken_invariants(self) -> list[str]:
        with self.service.sessions() as session:
            return [
                name
                for name, question in SERVICE.invariants.items()
                if session.connection().exec_driver_sql(question).scalar() is not True
            ]

    def state(self) -> dict[str, list[str]]:
        """What ``verify`` hashes."""
        with self.service.sessions() as session:
            return {
                name: sorted(session.connection().exec_driver_sql(query).scalars())
                for name, query in SERVICE.state.items()
            }


@pytest.fixture
def programme(service: Callable[..., Any]) -> Programme:
    return Programme(service(SERVICE))


@pytest.fixture
def racing_programme(service: Callable[..., Any]) -> Programme:
    """Real commits on a database of its own."""
    return Programme(service(SERVICE, committing=True))


class Sender(Programme):
    """A programme with its ``work`` at hand."""

    @property
    def context(self) -> Context:
        return Context(self.service.settings, self.service.sessions, self.service.engine)

    def work(self) -> None:
        """Everything that is due now."""
        while deliver(self.context):
            pass

    def run_sql(self, statement: str, **values: Any) -> None:
        with self.service.sessions.begin() as session:
            session.execute(text(statement), values)

    def make_due(self) -> None:
        """The pause before the next try has passed."""
        self.run_sql("update delivery set due_at = clock_timestamp() - interval '1 second'")


@pytest.fixture
def answers() -> Iterator[Answers]:
    with answering() as answers:
        yield answers


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    server = MailServer()
    with server.running() as server.url:
        yield server


@pytest.fixture
def make_sender(service: Callable[..., Any], answers: Answers) -> Callable[..., Sender]:
    def make(**settings: Any) -> Sender:
        urls = {"profile_url": answers.url, "feedback_url": answers.url, "service_key": "rgl_test"}
        return Sender(service(SERVICE, **(urls | settings)))

    return make


@pytest.fixture
def sender(make_sender: Callable[..., Sender], mail_server: MailServer) -> Sender:
    return make_sender(smtp_url=mail_server.url, mail_from="Tea House 茶馆 <hello@tea.example>")


def upgraded(sender: Sender, answers: Answers, **person: Any) -> UUID:
    """A customer who has just risen to gold."""
    customer_id = sender.customer()
    answers.know(customer_id, **person)
    sender.hear(tier(customer_id, "gold"))
    return customer_id
