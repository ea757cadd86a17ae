"""/customers: who the customers are."""

from typing import Any
from uuid import UUID

from fastapi import Response

from services.profile.api.customer_bodies import CustomerIn, CustomerOut, NewCustomerIn, said_by, shown
from services.profile.api.fields import ExternalId, Source
from services.profile.domain import customer_profiles as profiles
from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.idempotency import Once
from shared.http.routing import Router
from shared.http.versions import IfMatch, check_version

router = Router(prefix="/v1/customers", tags=["customers"])


@router.put(
    "/by-external-id/{source}/{external_id}",
    scopes=["profile:write"],
    response_model=CustomerOut,
    responses={201: {"model": CustomerOut, "description": "The customer was made"}},
)
def put_customer(
    source: Source,
    external_id: ExternalId,
    body: CustomerIn,
    session: Transaction,
    now: Now,
    caller: Caller_,
    response: Response,
) -> Any:
    """Say what an outside system knows about its customer.

    Makes the customer (201) or writes the given fields over what is known (200). The same again changes nothing.
    """
    row, made = profiles.put(
        session, (source, external_id), body.given(caller), now, told=body.told_by(source)
    )
    response.status_code = 201 if made else 200
    return shown(session, row, caller, response)


@router.post("", scopes=["profile:write"], status_code=201, response_model=CustomerOut)
def create_customer(
    body: NewCustomerIn, session: Transaction, now: Now, caller: Caller_, once: Once, response: Response
) -> Any:
    """Make a customer, with or without names in outside systems. Required attributes must be given."""

    def create() -> CustomerOut:
        names = [(name.source, name.external_id) for name in body.external_ids]
        customer_id = profiles.register(
            session, body.given(caller), names, now, told=body.told_by(said_by(caller)), demand_required=True
        )
        response.headers["Location"] = f"/profile/v1/customers/{customer_id}"
        return shown(session, profiles.get(session, customer_id), caller, response)

    return once(CustomerOut, create)


@router.get("/by-external-id/{source}/{external_id}", scopes=["profile:read"], response_model=CustomerOut)
def get_customer_by_external_id(
    source: Source, external_id: ExternalId, session: Transaction, caller: Caller_, response: Response
) -> Any:
    """The customer whom an outside system calls so."""
    return shown(session, profiles.by_name(session, (source, external_id)), caller, response)


@router.get("/{customer_id}", scopes=["profile:read"], owner="customer_id", response_model=CustomerOut)
def get_customer(customer_id: UUID, session: Transaction, caller: Caller_, response: Response) -> Any:
    """A customer. The id of a merged customer answers with the one it became."""
    return shown(session, profiles.get(session, customer_id), caller, response)


@router.patch("/{customer_id}", scopes=["profile:write"], owner="customer_id", response_model=CustomerOut)
def update_customer(
    customer_id: UUID,
    body: CustomerIn,
    session: Transaction,
    now: Now,
    caller: Caller_,
    response: Response,
    if_match: IfMatch = None,
) -> Any:
    """Change some fields (JSON merge patch): null removes, absent stays. Needs If-Match."""
    row = profiles.lock(session, customer_id)
    check_version(if_match, row.version)
    changed = profiles.change(session, row, body.given(caller), now, told=body.told_by(said_by(caller)))
    return shown(session, changed, caller, response)
