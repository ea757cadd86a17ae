"""/tier-policies and /backtests: how customers are valued, drafted, tried and published."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy import Row

from services.scoring.domain import backtests, policies
from services.scoring.rules.policy_faults import faults
from shared import jobs
from shared.errors import Conflict
from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.fields import Moment
from shared.http.idempotency import Once
from shared.http.paging import Page, PageOf, page_of
from shared.http.problem import FaultOut
from shared.http.routing import Router
from shared.http.versions import IfMatch, check_version, etag

router = Router(prefix="/v1", tags=["tier-policies"])

Note = Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]


class TierPolicyIn(BaseModel):
    """A draft begins as the latest version with these changes: a JSON merge patch (RFC 7396), in which null takes a field away
    and a list is replaced as a whole."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"changes": {"grace_days": 60}, "note": "Two months to stay"}]},
    )

    changes: dict[str, Any] = Field(default_factory=dict)
    note: Note | None = None


class TierPolicyContent(BaseModel):
    """The whole content of a draft."""

    model_config = ConfigDict(extra="forbid")

    content: dict[str, Any] = Field(description="see the service's README")
    note: Note | None = None


class TierPolicyOut(BaseModel):
    """A policy: a draft until it has a version, which the next calibration follows and which never changes."""

    id: UUID
    state: Literal["draft", "published"]
    version: int | None
    based_on: int | None = Field(description="the version that the draft was begun from")
    note: str | None
    content: dict[str, Any]
    faults: list[FaultOut] = Field(description="what is still wrong with a draft, and where")
    created_at: datetime
    created_by: str | None
    updated_at: datetime
    published_at: datetime | None
    published_by: str | None


class BacktestIn(BaseModel):
    """As of when to count; without it, as of when the next nightly calibration would."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"as_of": "2011-12-10T00:00:00Z"}]}
    )

    as_of: Moment | None = None


class BacktestCell(BaseModel):
    """Customers who go from one tier to another, at once or after the grace; ``none``: they stay where they are."""

    model_config = ConfigDict(populate_by_name=True)

    from_: str | None = Field(alias="from", description="the tier in force; null for one who has none yet")
    to: str | None
    effect: Literal["at_once", "after_grace", "none"]
    customers: int
    net_revenue_minor: int = Field(description="of all history")
    share: float = Field(description="of all customers")


class BacktestOut(BaseModel):
    """What a calibration by this policy as of then would do to everybody's tier. Whoever falls after the grace is told so by
    the calibration and falls at the first one after it, unless the tier is deserved again. Tiers held by hand stay."""

    id: UUID
    policy_id: UUID
    version: int | None = Field(description="null where a draft was tried")
    as_of: datetime
    counted: int | None = Field(
        description="customers with a counted purchase before as_of; null while it is counting"
    )
    customers: int
    rising: int
    falling: int
    first: int = Field(description="customers who would get their first tier")
    displaced: int = Field(
        description="customers whose tier the policy does not know: they get another at once"
    )
    rising_share: float
    falling_share: float
    cells: list[BacktestCell]
    created_at: datetime
    created_by: str | None
    finished_at: datetime | None = Field(description="null while it runs: see the job of the same id")


class BacktestExampleOut(BaseModel):
    """A customer whom it would move."""

    customer_id: UUID
    from_tier: str | None
    to_tier: str
    effect: Literal["at_once", "after_grace"]
    net_revenue_minor: int


class BacktestStarted(BaseModel):
    """The job that tries the policy; its id is the backtest's."""

    id: UUID
    kind: Literal["backtest"] = "backtest"
    state: Literal["queued"] = "queued"
    as_of: datetime


class PublicationIn(BaseModel):
    """``calibrate``: do not wait for the night, start a calibration by it at once."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"calibrate": True}]})

    calibrate: bool = False


class PublicationOut(BaseModel):
    """The version that calibrations follow from now on, and the calibration that was started."""

    policy: TierPolicyOut
    calibration_id: UUID | None


@router.get("/tier-policies", scopes=["scores:read"], response_model=PageOf[TierPolicyOut])
def list_tier_policies(session: Transaction, page: Page) -> Any:
    """Drafts and versions, the one begun last first."""
    rows = policies.listed(session, page.after(("-created_at", "-id")), page.limit + 1)
    return page_of(TierPolicyOut, map(_shown, rows), page, key=lambda each: (each.created_at, each.id))


@router.get("/tier-policies/{policy_id}", scopes=["scores:read"])
def get_tier_policy(policy_id: UUID, session: Transaction, response: Response) -> TierPolicyOut:
    """One policy, with who published it when."""
    return _tagged(response, policies.find(session, policy_id))


@router.post("/tier-policies", scopes=["policies:write"], status_code=201)
def create_tier_policy(
    body: TierPolicyIn, session: Transaction, response: Response, caller: Caller_, once: Once
) -> TierPolicyOut:
    """Begin a draft from the latest version.

    It may have faults: each is told with its place, and it cannot be tried or published before they are mended.
    """

    def create() -> TierPolicyOut:
        made = _tagged(response, policies.draft(session, body.changes, body.note, caller.name))
        response.headers["Location"] = f"/scoring/v1/tier-policies/{made.id}"
        return made

    return once(TierPolicyOut, create)


@router.put("/tier-policies/{policy_id}", scopes=["policies:write"])
def replace_tier_policy(
    policy_id: UUID,
    body: TierPolicyContent,
    session: Transaction,
    response: Response,
    if_match: IfMatch = None,
) -> TierPolicyOut:
    """Replace the content of a draft.

    409 `tier_policy_published` for one that is published.
    """
    current = policies.find_draft(session, policy_id)
    check_version(if_match, current.revision)
    return _tagged(response, policies.edit(session, current, body.content, body.note))


@router.delete("/tier-policies/{policy_id}", scopes=["policies:write"], status_code=204)
def discard_tier_policy(policy_id: UUID, session: Transaction, if_match: IfMatch = None) -> None:
    """Throw a draft away, and what was tried with it.

    409 `tier_policy_published` for one that is published.
    """
    current = policies.find_draft(session, policy_id)
    check_version(if_match, current.revision)
    policies.discard(session, current)


@router.post("/tier-policies/{policy_id}/backtest", scopes=["policies:write"], status_code=202)
def start_backtest(
    policy_id: UUID,
    body: BacktestIn,
    session: Transaction,
    response: Response,
    now: Now,
    caller: Caller_,
    once: Once,
) -> BacktestStarted:
    """Try a policy, draft or version, on everybody: who would move, and how many.

    A job; nobody's tier is touched. 409 `tier_policy_not_whole` names what is wrong with a draft, 409 `as_of_too_late` a
    moment more than a year ahead.
    """
    if body.as_of is not None and body.as_of > now + timedelta(days=366):
        raise Conflict("as_of_too_late", "as_of lies at most a year ahead of the database's clock")

    def start() -> BacktestStarted:
        tried = policies.find(session, policy_id, lock=True)
        policies.whole(tried)
        job_id = jobs.create(session, "backtest", {"policy_id": str(policy_id)}, created_by=caller.name)
        backtests.begin(session, job_id, tried, body.as_of, caller.name)
        response.headers["Location"] = f"/scoring/v1/jobs/{job_id}"
        return BacktestStarted(id=job_id, as_of=backtests.find(session, job_id).as_of)

    return once(BacktestStarted, start)


@router.post("/tier-policies/{policy_id}/publish", scopes=["policies:publish"])
def publish_tier_policy(
    policy_id: UUID,
    body: PublicationIn,
    session: Transaction,
    response: Response,
    caller: Caller_,
    once: Once,
    if_match: IfMatch = None,
) -> PublicationOut:
    """Make a draft the version that calibrations follow from now on.

    It never changes again. 409 `tier_policy_published` if it is one already, 409 `tier_policy_not_whole` names what is wrong.
    """

    def publish() -> PublicationOut:
        current = policies.find_draft(session, policy_id)
        check_version(if_match, current.revision)
        policy = _tagged(response, policies.publish(session, current, caller.name))
        job_id = None
        if body.calibrate:
            parameters = {"follow_pin": True, "reason": "policy"}
            job_id = jobs.create(session, "calibration", parameters, created_by=caller.name)
        return PublicationOut(policy=policy, calibration_id=job_id)

    return once(PublicationOut, publish)


@router.get(
    "/tier-policies/{policy_id}/backtests", scopes=["scores:read"], response_model=PageOf[BacktestOut]
)
def list_backtests(policy_id: UUID, session: Transaction, page: Page) -> Any:
    """What was tried with a policy, the latest first."""
    policies.find(session, policy_id)
    key = page.after(("-id",))
    rows = backtests.of_policy(session, policy_id, None if key is None else key[0], page.limit + 1)
    return page_of(BacktestOut, map(_backtest, rows), page, key=lambda each: (each.id,))


@router.get("/backtests/{backtest_id}", scopes=["scores:read"])
def get_backtest(backtest_id: UUID, session: Transaction) -> BacktestOut:
    """Who would move, and how many; it grows while the job runs."""
    return _backtest(backtests.find(session, backtest_id))


@router.get(
    "/backtests/{backtest_id}/customers", scopes=["scores:read"], response_model=PageOf[BacktestExampleOut]
)
def list_backtest_customers(
    backtest_id: UUID,
    session: Transaction,
    page: Page,
    from_tier: Annotated[str | None, Query(max_length=50)] = None,
    to_tier: Annotated[str | None, Query(max_length=50)] = None,
    effect: Literal["at_once", "after_grace"] | None = None,
) -> Any:
    """Customers whom it would move, by id: up to 300 for each move."""
    key = page.after(("customer_id",))
    moves = {"from_tier": from_tier, "to_tier": to_tier, "effect": effect}
    rows = backtests.examples(session, backtest_id, moves, None if key is None else key[0], page.limit + 1)
    return page_of(BacktestExampleOut, rows, page, key=lambda row: (row.customer_id,))


def _shown(row: Row[Any]) -> TierPolicyOut:
    draft = row.version is None
    return TierPolicyOut(
        id=row.policy_id,
        state="draft" if draft else "published",
        faults=[
            FaultOut(pointer=f"/content{each.pointer}", code=each.code, message=each.message)
            for each in faults(row.content)[:100]
        ]
        if draft
        else [],
        **{
            name: getattr(row, name)
            for name in TierPolicyOut.model_fields
            if name not in ("id", "state", "faults")
        },
    )


def _tagged(response: Response, row: Row[Any]) -> TierPolicyOut:
    response.headers["ETag"] = etag(row.revision)
    return _shown(row)


def _backtest(row: Row[Any]) -> BacktestOut:
    found = backtests.outcome(row)
    whole = max(1, found["customers"])
    return BacktestOut(
        id=row.backtest_id,
        policy_id=row.policy_id,
        version=row.version,
        as_of=row.as_of,
        counted=row.counted,
        **found,
        rising_share=round(found["rising"] / whole, 6),
        falling_share=round(found["falling"] / whole, 6),
        cells=[
            BacktestCell(**cell, share=round(cell["customers"] / whole, 6))
            for cell in sorted(row.cells, key=lambda cell: -cell["customers"])
        ],
        created_at=row.created_at,
        created_by=row.created_by,
        finished_at=row.finished_at,
    )
