"""/customers/{id}/erasure and /erasures: to be forgotten, everywhere, and not to be brought back unnoticed."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import Query, Response
from pydantic import BaseModel, Field, model_validator

from services.profile.api.fields import Id
from services.profile.domain import erasure, forgotten
from services.profile.rules.contacts import normal_email, normal_phone
from shared.errors import Fault, Invalid
from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.idempotency import Once
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router

router = Router(prefix="/v1", tags=["rights"])

# Erasure reaches everything within this.
WITHIN = timedelta(minutes=5)


class ReceiptOut(BaseModel):
    """What one other service said."""

    service: str
    completed_at: datetime | None = Field(description="null as long as it has not forgotten the customer")
    overdue: bool = Field(description="it has not, after five minutes")


class ErasureOut(BaseModel):
    """An erased customer. Those who answered as this one (merges) were erased with it, under the same `root_id`."""

    customer_id: UUID
    root_id: UUID
    erased_at: datetime = Field(description="since then nothing is readable here, and the id answers 410")
    erased_by: str
    completed_at: datetime | None = Field(
        description="when the last of the services had forgotten the customer"
    )
    receipts: list[ReceiptOut]


class ReturnedOut(BaseModel):
    """A customer who has the address or number of somebody erased: the same person, or who has it now."""

    customer_id: UUID
    field: str = Field(description="`email`, `phone` …", examples=["email"])
    erased_customer_id: UUID
    erased_at: datetime
    known_since: datetime


class WelcomeIn(BaseModel):
    """By what the person is known: a name in an outside system, an address or a number."""

    source: Id | None = None
    external_id: Id | None = None
    email: str | None = Field(default=None, min_length=3, max_length=254, examples=["wang.fang@example.com"])
    phone: str | None = Field(
        default=None, min_length=3, max_length=40, description="E.164", examples=["+8613812345678"]
    )

    @model_validator(mode="after")
    def names_somebody(self) -> Self:
        if (self.source is None) != (self.external_id is None):
            raise ValueError("source and external_id go together")
        if self.source is None and self.email is None and self.phone is None:
            raise ValueError("give source and external_id, email or phone")
        return self


class WelcomeOut(BaseModel):
    lifted: int = Field(description="how many names of erased people are free again")


@router.post(
    "/customers/{customer_id}/erasure",
    scopes=["rights:write"],
    owner="customer_id",
    status_code=202,
    response_model=ErasureOut,
)
def erase_customer(
    customer_id: UUID, session: Transaction, now: Now, caller: Caller_, once: Once, response: Response
) -> Any:
    """Forget a person.

    Done here when this answers: personal data are unreadable, the data keys destroyed, the id and all that were merged
    into it answer 410. What was bought stays, anonymous. The other services follow within minutes; their receipts are at
    the Location. Asked again, it answers the same.
    """

    def erase() -> ErasureOut:
        erasure.erase(session, customer_id, caller.name, now)
        response.headers["Location"] = f"/profile/v1/customers/{customer_id}/erasure"
        return _shown(erasure.get(session, customer_id), now)

    return once(ErasureOut, erase)


@router.get("/customers/{customer_id}/erasure", scopes=["rights:read"], owner="customer_id")
def get_erasure(customer_id: UUID, session: Transaction, now: Now) -> ErasureOut:
    """An erasure and its receipts. 404 for who was not erased."""
    return _shown(erasure.get(session, customer_id), now)


@router.get("/erasures", scopes=["rights:read"])
def list_erasures(
    session: Transaction,
    now: Now,
    page: Page,
    outstanding: Annotated[
        bool | None, Query(description="only those that wait for a receipt, or only those that do not")
    ] = None,
) -> PageOf[ErasureOut]:
    """Erasures, the oldest first."""
    after = page.after(("erased_at", "customer_id"))
    rows = erasure.page(session, after, page.limit + 1, outstanding=outstanding)
    found = page_of(dict, rows, page, key=lambda row: (row.erased_at, row.customer_id))
    return PageOf[ErasureOut](
        items=[_shown(row, now) for row in found["items"]], next_cursor=found["next_cursor"]
    )


@router.get("/erasures/returned", scopes=["rights:read"])
def list_returned_customers(session: Transaction, page: Page) -> PageOf[ReturnedOut]:
    """Customers who have the address or number of somebody erased.

    Nobody writes to it as long as they stand here; a welcome takes them off the list.
    """
    after = page.after(("customer_id", "token"))
    wanted = None if after is None else (after[0], bytes.fromhex(after[1]))
    rows = forgotten.returned(session, wanted, page.limit + 1)
    found = page_of(dict, rows, page, key=lambda row: (row.customer_id, bytes(row.token).hex()))
    return PageOf[ReturnedOut](
        items=[
            ReturnedOut(
                customer_id=row.customer_id,
                field=row.field,
                erased_customer_id=row.erased_id,
                erased_at=row.forgotten_at,
                known_since=row.created_at,
            )
            for row in found["items"]
        ],
        next_cursor=found["next_cursor"],
    )


@router.post("/erasures/welcome", scopes=["rights:write"], response_model=WelcomeOut)
def welcome_back(body: WelcomeIn, session: Transaction, now: Now, caller: Caller_, once: Once) -> Any:
    """Let an erased person return, by own will.

    What is told under the name is recorded again, for a new customer; the address may be written to again. What was
    erased stays erased.
    """

    def lift() -> WelcomeOut:
        tokens = []
        if body.source is not None and body.external_id is not None:
            tokens += forgotten.external_name_tokens(session, [(body.source, body.external_id)])
        for field, given, normal in (
            ("email", body.email, body.email and normal_email(body.email)),
            ("phone", body.phone, body.phone and normal_phone(body.phone, None)),
        ):
            if given is not None and not normal:
                fault = Fault(f"/{field}", f"{field}_invalid", "this cannot be read")
                raise Invalid(f"{field}_invalid", f"this is no {field}", faults=[fault])
            if normal:
                tokens += [token for _, token in forgotten.address_tokens(session, field, normal)]
        return WelcomeOut(lifted=forgotten.lift(session, tokens, caller.name, now))

    return once(WelcomeOut, lift)


def _shown(one: erasure.Erased, now: datetime) -> ErasureOut:
    late = now - one.erased_at > WITHIN
    return ErasureOut(
        **one._asdict()
        | {
            "completed_at": one.completed_at,
            "receipts": [
                ReceiptOut(service=service, completed_at=time, overdue=late and time is None)
                for service, time in one.receipts.items()
            ],
        }
    )
