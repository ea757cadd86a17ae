"""/returns: what came back."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Response
from pydantic import BaseModel, Field, StrictBool

from services.profile.api.fields import (
    Currency,
    CustomerId,
    CustomerName,
    ExternalId,
    Id,
    Minor,
    Price,
    Quantity,
    Rate,
    Source,
    When,
    customer_ref,
)
from services.profile.domain import accounting, purchase_reading, return_matching, returns
from services.profile.rules.facts import LineFacts, MatchedReturnFacts, ReturnedLine, UnmatchedReturnFacts
from shared.errors import Fault, Invalid
from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router

router = Router(prefix="/v1/returns", tags=["returns"])


class PurchaseName(BaseModel):
    """A purchase by the name that an outside system has for it."""

    source: Id = Field(examples=["shop"])
    external_id: Id = Field(examples=["536365"])


class ReturnedLineIn(BaseModel):
    line: Quantity = Field(description="the purchase's line, from 1")
    quantity: Quantity


class UnmatchedLineIn(BaseModel):
    sku: Id
    quantity: Quantity
    unit_price: Price
    discount_minor: Minor = 0


class MatchedReturnIn(BaseModel):
    """Lines of a known purchase that came back."""

    purchase: PurchaseName
    occurred_at: When
    lines: list[ReturnedLineIn] = Field(min_length=1, max_length=2500)
    replacement: PurchaseName | None = Field(
        default=None, description="the purchase that replaces what came back"
    )


class UnmatchedReturnIn(BaseModel):
    """A return that names no purchase: accepted, and shown for review."""

    customer: Annotated[CustomerName | CustomerId | None, Field(union_mode="left_to_right")] = None
    create_customer: StrictBool = False
    occurred_at: When
    currency: Currency | None = Field(default=None, description="the accounting currency unless said")
    exchange_rate: Rate | None = None
    lines: list[UnmatchedLineIn] = Field(min_length=1, max_length=2500)


class MatchIn(BaseModel):
    """The purchase that an unmatched return is of."""

    purchase: PurchaseName
    lines: list[ReturnedLineIn] = Field(
        default=[], max_length=2500, description="its lines that came back; found by the sku unless said"
    )


class ReturnLineOut(BaseModel):
    line: int | None
    sku: str
    quantity: int
    unit_price: str | None
    amount_minor: int
    accounting_amount_minor: int


class ReturnOut(BaseModel):
    id: UUID
    source: str
    external_id: str
    purchase_id: UUID | None = Field(description="null = unmatched")
    customer_id: UUID | None
    occurred_at: datetime
    recorded_at: datetime
    historical: bool
    currency: str
    exchange_rate: str | None
    amount_minor: int = Field(description="what is reversed, positive")
    accounting_amount_minor: int
    net_left_minor: int | None = Field(description="what the purchase is worth after it")
    accounting_net_left_minor: int | None
    replacement_purchase_id: UUID | None
    matched_at: datetime | None = Field(description="when its purchase was found, if it came without one")
    lines: list[ReturnLineOut]


@router.put(
    "/{source}/{external_id}",
    scopes=["purchases:write"],
    status_code=201,
    response_model=ReturnOut,
    responses={200: {"model": ReturnOut, "description": "Recorded before with the same facts"}},
)
def record_return(
    source: Source,
    external_id: ExternalId,
    body: MatchedReturnIn | UnmatchedReturnIn,
    session: Transaction,
    now: Now,
    response: Response,
) -> Any:
    """Record a return, against the lines of a purchase or without one.

    Never more than was bought comes back, in whatever steps; the parts of a line add up to its amount exactly. Safe to
    repeat: the same facts again give 200, other facts 409 `return_differs`.
    """
    if isinstance(body, MatchedReturnIn):
        new = returns.record_matched(session, _matched(source, external_id, body), now)
    else:
        currency = body.currency or accounting.currency(session)
        if currency is None:
            message = "no accounting currency is known yet: name the currency"
            raise Invalid(
                "currency_required", message, faults=[Fault("/currency", "currency_required", message)]
            )
        new = returns.record_unmatched(session, _unmatched(source, external_id, body, currency), now)
    response.status_code = 201 if new else 200
    return ReturnOut(**purchase_reading.get_return(session, source, external_id))


@router.post("/{source}/{external_id}/match", scopes=["purchases:write"])
def match_return(
    source: Source,
    external_id: ExternalId,
    body: MatchIn,
    session: Transaction,
    now: Now,
    caller: Caller_,
) -> ReturnOut:
    """Say of which purchase an unmatched return is.

    From then on it reverses what the purchase's lines say instead of what it was told to be worth, and `return_matched`
    announces both. The purchase is one recorded for the same customer and in the same currency. Said again, nothing
    changes.
    """
    lines = _returned(body.lines)
    name = (body.purchase.source, body.purchase.external_id)
    return_matching.match(session, (source, external_id), name, lines, caller.name, now)
    return ReturnOut(**purchase_reading.get_return(session, source, external_id))


@router.get("/{source}/{external_id}", scopes=["purchases:read"])
def get_return(source: Source, external_id: ExternalId, session: Transaction) -> ReturnOut:
    """A return with its lines."""
    return ReturnOut(**purchase_reading.get_return(session, source, external_id))


@router.get("", scopes=["purchases:read"])
def list_returns(
    session: Transaction,
    page: Page,
    matched: Annotated[
        bool | None, Query(description="false = those that name no purchase, for review")
    ] = None,
    customer_id: Annotated[UUID | None, Query()] = None,
) -> PageOf[ReturnOut]:
    """Returns, latest recorded first."""
    after = page.after(("-recorded_at", "-id"))
    rows = purchase_reading.page_of_returns(
        session, after, page.limit + 1, matched=matched, customer_id=customer_id
    )
    return page_of(ReturnOut, rows, page, key=lambda row: (row["recorded_at"], row["id"]))  # type: ignore[return-value]


def _matched(source: str, external_id: str, body: MatchedReturnIn) -> MatchedReturnFacts:
    return MatchedReturnFacts(
        source,
        external_id,
        body.occurred_at,
        body.purchase.source,
        body.purchase.external_id,
        _returned(body.lines),
        (body.replacement.source, body.replacement.external_id) if body.replacement else None,
    )


def _returned(lines: list[ReturnedLineIn]) -> tuple[ReturnedLine, ...]:
    numbers = [line.line for line in lines]
    if len(set(numbers)) < len(numbers):
        message = "a line stands here twice: add the quantities"
        raise Invalid("line_repeated", message, faults=[Fault("/lines", "line_repeated", message)])
    return tuple(ReturnedLine(line.line, line.quantity) for line in lines)


def _unmatched(source: str, external_id: str, body: UnmatchedReturnIn, currency: str) -> UnmatchedReturnFacts:
    return UnmatchedReturnFacts(
        source,
        external_id,
        body.occurred_at,
        currency,
        tuple(
            LineFacts(line.sku, line.quantity, Decimal(line.unit_price), line.discount_minor)
            for line in body.lines
        ),
        customer_ref(body.customer),
        None if body.exchange_rate is None else Decimal(body.exchange_rate),
        body.create_customer,
    )
