"""/v1/webhooks: this service's events, told by HTTP."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.fields import Moment
from shared.http.idempotency import Once
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router
from shared.http.versions import IfMatch, check_version, etag
from shared.webhooks import subscriptions

router = Router(prefix="/v1/webhooks", tags=["webhooks"])

Url = Annotated[str, StringConstraints(max_length=2_000, pattern=r"^https?://[^\s/?#@\\]+([/?][^\s#\\]*)?$")]
Description = Annotated[str, StringConstraints(max_length=500)]
EventTypes = Annotated[
    list[Annotated[str, StringConstraints(pattern=r"^regulars\.[a-z_.]{1,180}v[0-9]{1,3}$")]],
    Field(max_length=100, description="types of events of this service; empty = all of them"),
]
_EXAMPLE: dict[str, Any] = {
    "url": "https://example.com/hooks/regulars",
    "description": "our shop's back office",
    "event_types": [],
}


class WebhookIn(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})

    url: Url
    description: Description | None = None
    event_types: EventTypes = []


class WebhookChange(BaseModel):
    """What is left out stays."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"active": False}]})

    url: Url = Field(default="", validate_default=False)
    description: Description | None = None
    event_types: EventTypes = []
    active: bool = True


class WebhookOut(BaseModel):
    """Who is called, and whether the calls arrive."""

    webhook_id: UUID
    url: str
    description: str | None
    event_types: list[str]
    active: bool
    created_at: datetime
    created_by: str
    failing_since: datetime | None = Field(
        description="since when no call has arrived; null when the last one did"
    )
    stopped_reason: str | None = Field(description="gone: the receiver answered 410, and is called no more")


class WebhookWithSecret(WebhookOut):
    """``secret`` is shown this once; with it the receiver checks the signature (Standard Webhooks)."""

    secret: str = Field(examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])


class DeliveryOut(BaseModel):
    """One event on its way to one webhook."""

    delivery_id: UUID
    event_id: UUID = Field(description="the `webhook-id` of the call, and the event's own id on Kafka")
    event_type: str
    announced_at: datetime
    state: Literal["pending", "delivered", "failed"]
    attempts: int
    due_at: datetime
    status_code: int | None = Field(description="what the receiver answered last")
    error: str | None = Field(
        description="http_…, timeout, connection_failed, url_refused (an inner address), event_expired"
    )
    finished_at: datetime | None


class EventTypesOut(BaseModel):
    items: list[str]


class RedeliveryIn(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"since": "2026-11-20T00:00:00Z"}]}
    )

    since: Moment


class RedeliveryOut(BaseModel):
    count: int = Field(description="failed calls that are made again")


@router.post("", scopes=["webhooks:write"], status_code=201)
def create_webhook(
    body: WebhookIn, session: Transaction, caller: Caller_, now: Now, once: Once, response: Response
) -> WebhookWithSecret:
    """Have events told to an address.

    Each event that this service announces from now on is POSTed as a CloudEvent, signed as Standard Webhooks has it. An
    answer of 2xx within 10 s is arrival; anything else is tried again for 24 hours, later and later. Repeats are
    possible (`webhook-id` tells them) and so is another order (`sequence` tells it). Inner addresses are refused.
    """

    def make() -> dict[str, Any]:
        row, secret = subscriptions.create(
            session,
            url=body.url,
            types=body.event_types,
            description=body.description,
            by=caller.name,
            now=now,
        )
        response.headers["ETag"] = etag(row.version)
        return {**row._mapping, "secret": secret}

    return once(WebhookWithSecret, make)


@router.get("", scopes=["webhooks:read"])
def list_webhooks(session: Transaction, page: Page) -> PageOf[WebhookOut]:
    """Who is called, the oldest first."""
    rows = subscriptions.listing(
        session, limit=page.limit + 1, after=page.after(("created_at", "webhook_id"))
    )
    return page_of(WebhookOut, rows, page, key=lambda row: (row.created_at, row.webhook_id))  # type: ignore[return-value]


@router.get("/event-types", scopes=["webhooks:read"])
def list_webhook_event_types(session: Transaction) -> EventTypesOut:
    """What can be subscribed to here."""
    return EventTypesOut(items=subscriptions.event_types(session.info["settings"].service))


@router.get("/{webhook_id}", scopes=["webhooks:read"])
def get_webhook(session: Transaction, webhook_id: UUID, response: Response) -> WebhookOut:
    """One webhook."""
    return _shown(subscriptions.get(session, webhook_id), response)


@router.patch("/{webhook_id}", scopes=["webhooks:write"])
def change_webhook(
    session: Transaction,
    webhook_id: UUID,
    body: WebhookChange,
    caller: Caller_,
    response: Response,
    if_match: IfMatch = None,
) -> WebhookOut:
    """Change where or what is told, let it rest, or wake it again."""
    row = subscriptions.get(session, webhook_id, lock=True)
    check_version(if_match, row.version)
    given = body.model_dump(include=body.model_fields_set)
    return _shown(subscriptions.change(session, row, given, caller.name), response)


@router.delete("/{webhook_id}", scopes=["webhooks:write"], status_code=204)
def delete_webhook(session: Transaction, webhook_id: UUID, caller: Caller_) -> None:
    """Tell nothing more; what waited is dropped."""
    subscriptions.remove(session, webhook_id, caller.name)


@router.post("/{webhook_id}/secret", scopes=["webhooks:write"])
def replace_webhook_secret(
    session: Transaction, webhook_id: UUID, caller: Caller_, now: Now, once: Once
) -> WebhookWithSecret:
    """Replace the secret; for a day each call carries a signature by both."""

    def replace() -> dict[str, Any]:
        row, secret = subscriptions.replace_secret(session, webhook_id, caller.name, now)
        return {**row._mapping, "secret": secret}

    return once(WebhookWithSecret, replace)


@router.post("/{webhook_id}/test", scopes=["webhooks:write"], status_code=202)
def check_webhook(session: Transaction, webhook_id: UUID, now: Now, once: Once) -> DeliveryOut:
    """Make one call that is about nothing; what became of it stands among the deliveries."""
    return once(DeliveryOut, lambda: subscriptions.test(session, webhook_id, now))


@router.get("/{webhook_id}/deliveries", scopes=["webhooks:read"])
def list_webhook_deliveries(
    session: Transaction,
    webhook_id: UUID,
    page: Page,
    state: Annotated[
        list[Literal["pending", "delivered", "failed"]] | None, Query(description="repeat for several")
    ] = None,
) -> PageOf[DeliveryOut]:
    """What was told and what became of it, the newest first; what arrived is kept for 3 days, what failed for 14."""
    rows = subscriptions.deliveries(
        session,
        webhook_id,
        limit=page.limit + 1,
        after=page.after(("announced_at", "delivery_id")),
        states=state or (),
    )
    return page_of(DeliveryOut, rows, page, key=lambda row: (row.announced_at, row.delivery_id))  # type: ignore[return-value]


@router.post("/{webhook_id}/deliveries/{delivery_id}/redeliver", scopes=["webhooks:write"], status_code=202)
def redeliver_webhook_delivery(
    session: Transaction, webhook_id: UUID, delivery_id: UUID, now: Now, once: Once
) -> DeliveryOut:
    """Tell one event once more, whatever became of it. 409 `event_expired` when it is no longer kept (14 days)."""
    return once(DeliveryOut, lambda: subscriptions.redeliver(session, webhook_id, delivery_id, now))


@router.post("/{webhook_id}/redeliver", scopes=["webhooks:write"], status_code=202)
def redeliver_failed_webhook_deliveries(
    session: Transaction, webhook_id: UUID, body: RedeliveryIn, now: Now, once: Once
) -> RedeliveryOut:
    """Tell everything once more that failed and was announced since a moment, after the receiver was away for long."""
    return once(
        RedeliveryOut,
        lambda: RedeliveryOut(count=subscriptions.redeliver_failed(session, webhook_id, body.since, now)),
    )


def _shown(row: Any, response: Response) -> WebhookOut:
    response.headers["ETag"] = etag(row.version)
    return WebhookOut.model_validate(row, from_attributes=True)
