"""/merges: two records that are one customer, and how to take that back."""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query, Response
from pydantic import BaseModel, Field
from sqlalchemy import Row

from services.profile.api.fields import Label
from services.profile.domain import merges
from services.profile.domain.customer_values import PERSONAL
from services.profile.domain.upkeep import PREFIX
from services.profile.rules.merging import Strategy
from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.idempotency import Once
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router

router = Router(prefix="/v1/merges", tags=["merges"])


class MergeIn(BaseModel):
    """`loser_id` becomes an alias of `winner_id`. `strategies`: what becomes of a field, by its name, a defined attribute
    as `attributes.<name>`: the `newest` or `oldest` telling, the winner's unless it is empty (`non_empty`), or both lists
    in one (`union`). Unless said: `union` for lists, `oldest` for `registered_at`, `non_empty` for all others."""

    winner_id: UUID
    loser_id: UUID
    strategies: dict[Label, Strategy] = Field(default={}, max_length=200, examples=[{"phone": "newest"}])


class MergeOut(BaseModel):
    """`origin`: `person` where somebody decided it, `identity` where both proved to hold an identity that only one person
    can have."""

    id: UUID
    winner_id: UUID
    loser_id: UUID
    state: Literal["merged", "undone"]
    origin: str
    strategies: dict[str, str]
    merged_at: datetime
    merged_by: str
    undo_until: datetime
    undone_at: datetime | None
    undone_by: str | None


Value = str | int | float | bool | list[str] | None


class MergedFieldOut(BaseModel):
    """A field that either knows; personal values are null to callers without the scope pii:read."""

    field: str
    strategy: str
    personal: bool
    winner: Value
    loser: Value
    outcome: Value
    changes: bool = Field(description="the winner's value becomes another one")


class RefusalOut(BaseModel):
    purpose: str
    channel: str


class PreviewOut(BaseModel):
    """What the merge would do: fields, how many facts of which kind would change their owner, and the consents that would
    stop because one of the two refused."""

    winner_id: UUID
    loser_id: UUID
    personal_data: Literal["shown", "withheld"]
    fields: list[MergedFieldOut]
    moved: dict[str, int] = Field(examples=[{"purchase": 12, "purchase_return": 1}])
    refusals: list[RefusalOut]


@router.post(
    "",
    scopes=["merges:write"],
    status_code=201,
    response_model=MergeOut,
    responses={200: {"model": MergeOut, "description": "Exactly this was merged before, and lasts"}},
)
def merge_customers(
    body: MergeIn, session: Transaction, now: Now, caller: Caller_, once: Once, response: Response
) -> Any:
    """Merge two records of one customer.

    The loser's id keeps answering, as the winner. Purchases, returns, consents and everything else that was recorded of
    the loser follow; where one of the two refused a consent, the refusal holds. Can be undone for 30 days.
    """

    def merge() -> MergeOut:
        edge, new = merges.join(session, body.winner_id, body.loser_id, body.strategies, caller.name, now)
        response.status_code = 201 if new else 200
        response.headers["Location"] = f"/profile/v1/merges/{edge.merge_id}"
        return _shown(edge)

    return once(MergeOut, merge)


@router.post("/preview", scopes=["merges:read"])
def preview_merge(body: MergeIn, session: Transaction, caller: Caller_) -> PreviewOut:
    """What a merge would do, without doing it."""
    found = merges.preview(session, body.winner_id, body.loser_id, body.strategies)
    may_see = caller.may("pii:read")
    definitions = merges.personal_attributes(session)
    fields = []
    for field in sorted({*found.plan.winner, *found.plan.loser}):
        personal = field in PERSONAL or field.removeprefix(PREFIX) in definitions
        own, other = found.plan.winner.get(field), found.plan.loser.get(field)
        change = found.plan.changes.get(field)
        outcome = own if change is None else change.given
        hidden = personal and not may_see
        fields.append(
            MergedFieldOut(
                field=field,
                strategy=found.plan.strategies[field],
                personal=personal,
                winner=None if hidden else _value(own),
                loser=None if hidden else _value(other),
                outcome=None if hidden else _value(outcome),
                changes=change is not None,
            )
        )
    return PreviewOut(
        winner_id=found.winner.customer_id,
        loser_id=found.loser.customer_id,
        personal_data="shown" if may_see else "withheld",
        fields=fields,
        moved=dict(found.moved),
        refusals=[RefusalOut(purpose=purpose, channel=channel) for purpose, channel in found.refusals],
    )


@router.post("/{merge_id}/undo", scopes=["merges:write"])
def undo_merge(merge_id: UUID, session: Transaction, now: Now, caller: Caller_) -> MergeOut:
    """Make two customers of one again.

    The loser gets back what was recorded under its own names, before the merge or since; the winner its fields, where
    they still have the value that the merge gave them. What was refused meanwhile holds for both. Safe to repeat.
    """
    edge, _ = merges.undo(session, merge_id, caller.name, now)
    return _shown(edge)


@router.get("/{merge_id}", scopes=["merges:read"])
def get_merge(merge_id: UUID, session: Transaction) -> MergeOut:
    """A merge."""
    return _shown(merges.get(session, merge_id))


@router.get("", scopes=["merges:read"])
def list_merges(
    session: Transaction,
    page: Page,
    customer_id: Annotated[UUID | None, Query(description="as winner or as loser")] = None,
    state: Annotated[Literal["merged", "undone"] | None, Query()] = None,
) -> PageOf[MergeOut]:
    """Merges, latest first."""
    rows = merges.page(
        session,
        page.after(("-merged_at", "-id")),
        page.limit + 1,
        customer_id=customer_id,
        undone=None if state is None else state == "undone",
    )
    shown = [_shown(row) for row in rows]
    return page_of(MergeOut, shown, page, key=lambda one: (one.merged_at, one.id))  # type: ignore[return-value]


def _shown(edge: Row[Any]) -> MergeOut:
    return MergeOut.model_validate(
        dict(edge._mapping) | {"id": edge.merge_id, "state": "merged" if edge.undone_at is None else "undone"}
    )


def _value(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime | date) else value
