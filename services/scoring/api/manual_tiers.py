"""/customers/{customer_id}/tier: a tier that is held by hand."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from services.scoring.api.scores import TierOut
from services.scoring.domain import manual_tiers, sheets
from shared.errors import Fault, Invalid
from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.fields import Moment
from shared.http.routing import Router

router = Router(prefix="/v1/customers/{customer_id}/tier", tags=["scores"])

Code = Annotated[str, StringConstraints(min_length=1, max_length=50)]
Why = Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]


class ManualTierIn(BaseModel):
    """A tier of the policy in force, and why; without ``until`` it is held until it is released."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"tier": "gold", "reason": "Ambassador of 2026", "until": "2027-01-01T00:00:00Z"}]
        },
    )

    tier: Code
    reason: Why
    until: Moment | None = Field(default=None, description="in the future; it ends by the day after")


@router.put("", scopes=["tiers:write"])
def hold_tier(
    customer_id: UUID, body: ManualTierIn, session: Transaction, now: Now, caller: Caller_
) -> TierOut:
    """Give a customer exactly this tier, whatever is deserved.

    Announced as `tier_changed` with the reason `manual` if it is another one. Repeating it changes nothing. 409 `no_calibration`
    before the first one, 422 `unknown_tier`, 422 `until_past`, 410 for an erased customer.
    """
    until: datetime | None = body.until
    if until is not None and until <= now:
        raise Invalid(
            "until_past", "until lies in the future", faults=[Fault("/until", "until_past", "in the future")]
        )
    owner = manual_tiers.hold(session, customer_id, body.tier, body.reason, until, caller.name)
    return TierOut.model_validate(sheets.one(session, owner)["tier"])


@router.delete("", scopes=["tiers:write"], status_code=204)
def release_tier(customer_id: UUID, session: Transaction, caller: Caller_) -> None:
    """Let the policy judge again: the tier rises, stays or falls at once as a review after the grace decides.

    Where none is held nothing changes. 409 `no_calibration` before the first one, 410 for an erased customer.
    """
    manual_tiers.release(session, customer_id, caller.name)
