"""Referrals: codes, who brought whom, and what it is worth."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query, Response
from pydantic import BaseModel, Field, StrictStr, StringConstraints
from sqlalchemy import Row

from services.profile.api.fields import CustomerId, CustomerName, Id, When, customer_ref
from services.profile.domain import customer_profiles, influence, referral_codes, referrals
from services.profile.domain.referrals import ReferralFacts
from services.profile.rules.referrals import shown as written
from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.idempotency import Once
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router
from shared.http.versions import IfMatch, check_version, etag

router = Router(prefix="/v1", tags=["referrals"])

Role = Literal["referrer", "referee"]
Count = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
Days = Annotated[int, Field(strict=True, ge=1, le=36_500)]
LinkTemplate = Annotated[
    StrictStr, StringConstraints(pattern=r"^https?://[!-~]*\{code\}[!-~]*$", max_length=500)
]


class ReferralCodeOut(BaseModel):
    """`link` as the terms say; null where they name none."""

    code: str = Field(examples=["K7QF-2M9X"])
    link: str | None
    customer_id: UUID
    created_at: datetime


class ReferralIn(BaseModel):
    code: Annotated[StrictStr, StringConstraints(min_length=1, max_length=40)] = Field(
        description="however it was written", examples=["K7QF-2M9X"]
    )
    customer: Annotated[CustomerName | CustomerId, Field(union_mode="left_to_right")] = Field(
        description="who came"
    )
    referred_at: When | None = Field(default=None, description="now unless said")
    device_id: Id | None = Field(default=None, description="on which; kept as a keyed hash only")


class ReferralOut(BaseModel):
    """`flags` say what speaks for one person being on both sides; a flagged referral counts once it is approved."""

    id: UUID
    code: str
    referrer_id: UUID
    referee_id: UUID
    state: str = Field(description="pending, qualified, voided")
    state_since: datetime
    flags: list[str]
    review: str | None = Field(description="required, approved, rejected; null = nothing to look at")
    reviewed_at: datetime | None
    reviewed_by: str | None
    purchase_id: UUID | None = Field(description="the purchase by which it qualified")
    referred_at: datetime
    qualify_until: datetime | None


class ReviewIn(BaseModel):
    decision: Literal["approved", "rejected"]


class ProgrammeIn(BaseModel):
    """The terms. They hold for what is recorded from now on."""

    link_template: LinkTemplate | None = Field(default=None, examples=["https://shop.example/?ref={code}"])
    most_per_period: Count | None = Field(
        default=None, description="more than so many by one referrer are held for review"
    )
    period_days: Days = 30
    qualify_within_days: Days | None = Field(default=None, description="without end unless said")


class ProgrammeOut(ProgrammeIn):
    version: int
    updated_at: datetime | None
    updated_by: str | None


class LevelOut(BaseModel):
    level: int = Field(description="1 = brought by the customer, 2 = brought by those, …")
    customers: int
    net_revenue_minor: int = Field(description="since they were brought, in the accounting currency")


class InfluenceOut(BaseModel):
    """What qualified referrals brought, directly and through others."""

    customers: int
    net_revenue_minor: int
    levels: list[LevelOut]


@router.get("/referral-programme", scopes=["referrals:read"], response_model=ProgrammeOut, reach="anyone")
def get_referral_programme(session: Transaction, response: Response) -> Any:
    """The terms of bringing others."""
    return _terms(referral_codes.programme(session), response)


@router.put("/referral-programme", scopes=["referrals:write"], response_model=ProgrammeOut)
def change_referral_programme(
    body: ProgrammeIn, session: Transaction, caller: Caller_, response: Response, if_match: IfMatch = None
) -> Any:
    """Change the terms. Needs If-Match."""
    check_version(if_match, referral_codes.programme(session, lock=True).version)
    return _terms(referral_codes.change_programme(session, body.model_dump(), caller.name), response)


@router.put(
    "/customers/{customer_id}/referral-code",
    scopes=["referrals:write"],
    owner="customer_id",
    response_model=ReferralCodeOut,
    responses={201: {"model": ReferralCodeOut, "description": "The code was made"}},
)
def give_referral_code(customer_id: UUID, session: Transaction, now: Now, response: Response) -> Any:
    """The customer's code and link; made (201) if there is none."""
    row, made = referral_codes.give(session, customer_id, now)
    response.status_code = 201 if made else 200
    return _code(session, row)


@router.get("/customers/{customer_id}/referral-code", scopes=["referrals:read"], owner="customer_id")
def get_referral_code(customer_id: UUID, session: Transaction) -> ReferralCodeOut:
    """The code with which a customer brings others."""
    return _code(session, referral_codes.in_use(session, customer_id))


@router.delete("/customers/{customer_id}/referral-code", scopes=["referrals:write"], status_code=204)
def revoke_referral_code(customer_id: UUID, session: Transaction, now: Now) -> None:
    """The customer's code brings nobody any more. What it brought stays, and the next code is another one."""
    referral_codes.revoke(session, customer_id, now)


@router.post(
    "/referrals",
    scopes=["referrals:write"],
    status_code=201,
    response_model=ReferralOut,
    responses={200: {"model": ReferralOut, "description": "Recorded before"}},
)
def record_referral(body: ReferralIn, session: Transaction, now: Now, once: Once, response: Response) -> Any:
    """Record that a customer came with another's code.

    Somebody is brought once: the same code again is the same referral, another code is 409 `already_referred`.
    """

    def create() -> ReferralOut:
        ref = customer_ref(body.customer)
        assert ref is not None
        facts = ReferralFacts(body.code, ref, body.referred_at, body.device_id)
        row, new = referrals.record(session, facts, now)
        response.status_code = 201 if new else 200
        response.headers["Location"] = f"/profile/v1/referrals/{row.referral_id}"
        return _shown(row)

    return once(ReferralOut, create)


@router.get("/referrals", scopes=["referrals:read"])
def list_referrals_for_review(session: Transaction, page: Page) -> PageOf[ReferralOut]:
    """Flagged referrals that nobody has looked at yet, oldest first."""
    rows = referrals.for_review(session, page.after(("recorded_at", "id")), page.limit + 1)
    recorded = {row.referral_id: row.recorded_at for row in rows}
    shown = [_shown(row) for row in rows]
    return page_of(ReferralOut, shown, page, key=lambda one: (recorded[one.id], one.id))  # type: ignore[return-value]


@router.get("/referrals/{referral_id}", scopes=["referrals:read"])
def get_referral(referral_id: UUID, session: Transaction) -> ReferralOut:
    """A referral."""
    return _shown(referrals.get(session, referral_id))


@router.post("/referrals/{referral_id}/review", scopes=["referrals:write"])
def review_referral(
    referral_id: UUID, body: ReviewIn, session: Transaction, now: Now, caller: Caller_
) -> ReferralOut:
    """Decide about a referral: approved counts in spite of its flags, rejected is voided."""
    return _shown(referrals.review(session, referral_id, body.decision, caller.name, now))


@router.get("/customers/{customer_id}/referrals", scopes=["referrals:read"])
def list_customer_referrals(
    customer_id: UUID,
    session: Transaction,
    page: Page,
    role: Annotated[Role, Query(description="referrer: whom the customer brought")] = "referrer",
) -> PageOf[ReferralOut]:
    """Whom a customer brought, or by whom it was brought; latest first."""
    owner = customer_profiles.get(session, customer_id).customer_id
    after = page.after(("-referred_at", "-id"))
    shown = [_shown(row) for row in referrals.of_customer(session, owner, role, after, page.limit + 1)]
    return page_of(ReferralOut, shown, page, key=lambda one: (one.referred_at, one.id))  # type: ignore[return-value]


@router.get("/customers/{customer_id}/influence", scopes=["referrals:read"])
def get_customer_influence(
    customer_id: UUID,
    session: Transaction,
    levels: Annotated[int, Query(ge=1, le=influence.DEEPEST, description="how far to follow")] = 5,
) -> InfluenceOut:
    """Whom a customer brought, directly and through others, and what they bought since."""
    owner = customer_profiles.get(session, customer_id).customer_id
    found = [LevelOut.model_validate(row._mapping) for row in influence.levels(session, owner, levels)]
    return InfluenceOut(
        customers=sum(level.customers for level in found),
        net_revenue_minor=sum(level.net_revenue_minor for level in found),
        levels=found,
    )


def _code(session: Transaction, row: Row[Any]) -> ReferralCodeOut:
    terms = referral_codes.programme(session)
    return ReferralCodeOut(
        code=written(row.code),
        link=referral_codes.link(terms, row.code),
        customer_id=row.customer_id,
        created_at=row.created_at,
    )


def _shown(row: Row[Any]) -> ReferralOut:
    return ReferralOut.model_validate(dict(row._mapping) | {"id": row.referral_id, "code": written(row.code)})


def _terms(row: Row[Any], response: Response) -> ProgrammeOut:
    response.headers["ETag"] = etag(row.version)
    return ProgrammeOut.model_validate(row._mapping)
