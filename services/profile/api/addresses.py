"""/customers/{id}/addresses: the address book."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query, Response
from pydantic import BaseModel, Field, StrictBool, StrictStr, StringConstraints
from sqlalchemy import Row
from sqlalchemy.orm import Session

from services.profile.api.fields import PRINTABLE, Country, Label
from services.profile.domain import addresses
from shared.auth.callers import Caller
from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.idempotency import Once
from shared.http.routing import Router
from shared.http.versions import IfMatch, check_version, etag

router = Router(prefix="/v1/customers/{customer_id}/addresses", tags=["addresses"])

Kind = Literal["shipping", "visit", "billing"]
Part = Annotated[StrictStr, StringConstraints(min_length=1, max_length=200, pattern=PRINTABLE)]
Street = Annotated[
    StrictStr, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00-\x09\x0b-\x1f\x7f]*$")
]


class AddressIn(BaseModel):
    """What is known of an address. A field that is absent stays as it is, null removes it."""

    kind: Kind | None = None
    default: StrictBool | None = Field(
        default=None, description="the one of its kind that is used unless said"
    )
    recipient: Part | None = Field(default=None, examples=["王芳"])
    phone: Annotated[str, Field(max_length=40)] | None = Field(default=None, examples=["+8613812345678"])
    street: Street | None = Field(
        default=None, description="may have several lines", examples=["中山路 1 号"]
    )
    district: Part | None = None
    city: Part | None = Field(default=None, examples=["杭州"])
    postcode: Part | None = None
    region: Label | None = Field(default=None, examples=["Zhejiang"])
    country: Country | None = None


class NewAddressIn(AddressIn):
    kind: Kind


class AddressOut(BaseModel):
    """Everything but kind, country and region is shown to callers with the scope pii:read and to the customer."""

    id: UUID
    customer_id: UUID
    kind: str
    default: bool
    personal_data: Literal["shown", "withheld"]
    recipient: str | None
    phone: str | None
    street: str | None
    district: str | None
    city: str | None
    postcode: str | None
    region: str | None
    country: str | None
    created_at: datetime
    updated_at: datetime
    version: int


class AddressBookOut(BaseModel):
    items: list[AddressOut]


@router.post("", scopes=["profile:write"], owner="customer_id", status_code=201, response_model=AddressOut)
def add_address(
    customer_id: UUID,
    body: NewAddressIn,
    session: Transaction,
    now: Now,
    caller: Caller_,
    once: Once,
    response: Response,
) -> Any:
    """Add an address; with `default` it becomes the one of its kind."""

    def add() -> AddressOut:
        row = addresses.add(session, customer_id, body.model_dump(exclude_unset=True), now)
        response.headers["Location"] = f"/profile/v1/customers/{row.customer_id}/addresses/{row.address_id}"
        return _shown(session, row, caller, response)

    return once(AddressOut, add)


@router.get("", scopes=["profile:read"], owner="customer_id")
def list_addresses(
    customer_id: UUID,
    session: Transaction,
    caller: Caller_,
    kind: Annotated[list[Kind], Query(max_length=3)] = [],  # noqa: B006
) -> AddressBookOut:
    """A customer's addresses, the defaults first; a merge brings those of both."""
    rows = addresses.of_customer(session, customer_id, kind)
    return AddressBookOut(
        items=[_out(one, caller) for one in addresses.shown(session, rows, clear=_sees(caller))]
    )


@router.get("/{address_id}", scopes=["profile:read"], owner="customer_id", response_model=AddressOut)
def get_address(
    customer_id: UUID, address_id: UUID, session: Transaction, caller: Caller_, response: Response
) -> Any:
    """One address."""
    return _shown(session, addresses.get(session, customer_id, address_id), caller, response)


@router.patch("/{address_id}", scopes=["profile:write"], owner="customer_id", response_model=AddressOut)
def update_address(
    customer_id: UUID,
    address_id: UUID,
    body: AddressIn,
    session: Transaction,
    now: Now,
    caller: Caller_,
    response: Response,
    if_match: IfMatch = None,
) -> Any:
    """Change some fields (JSON merge patch): null removes, absent stays. Needs If-Match."""
    row = addresses.lock(session, customer_id, address_id)
    check_version(if_match, row.version)
    changed = addresses.change(session, row, body.model_dump(exclude_unset=True), now)
    return _shown(session, changed, caller, response)


@router.delete("/{address_id}", scopes=["profile:write"], owner="customer_id", status_code=204)
def remove_address(customer_id: UUID, address_id: UUID, session: Transaction) -> None:
    """Remove an address."""
    addresses.remove(session, addresses.lock(session, customer_id, address_id))


def _shown(session: Session, row: Row[Any], caller: Caller, response: Response) -> AddressOut:
    response.headers["ETag"] = etag(row.version)
    return _out(addresses.shown(session, [row], clear=_sees(caller))[0], caller)


def _out(one: dict[str, Any], caller: Caller) -> AddressOut:
    return AddressOut(**one, personal_data="shown" if _sees(caller) else "withheld")


def _sees(caller: Caller) -> bool:
    return caller.may("pii:read") or caller.customer_id is not None
