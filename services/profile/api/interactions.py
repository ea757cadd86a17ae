"""/interactions: contacts with a person, and what comes next."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query, Response
from pydantic import BaseModel, Field, StrictStr, StringConstraints
from sqlalchemy import Row
from sqlalchemy.orm import Session

from services.profile.api.fields import CustomerId, CustomerName, Id, Label, When, customer_ref
from services.profile.domain import customer_profiles, customers, interactions
from services.profile.domain.interactions import InteractionFacts, Texts
from services.profile.domain.reach import reaches
from shared.auth.callers import Caller
from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.idempotency import Once
from shared.http.paging import Page, PageOf, page_of
from shared.http.reach import beyond_reach
from shared.http.routing import Router

router = Router(prefix="/v1", tags=["interactions"])

Kind = Literal["call", "email", "visit", "chat", "letter", "other"]
FreeText = Annotated[StrictStr, StringConstraints(min_length=1, max_length=8000)]


class NextStepIn(BaseModel):
    """What is to be done, and by when."""

    text: FreeText | None = Field(default=None, examples=["Send the brochure"])
    due_at: When


class InteractionIn(BaseModel):
    """A contact. `notes` and the text of the next step are kept under seal."""

    customer: Annotated[CustomerName | CustomerId, Field(union_mode="left_to_right")]
    kind: Kind
    direction: Literal["inbound", "outbound"]
    occurred_at: When | None = Field(default=None, description="now unless said")
    source: Id | None = Field(default=None, description="with external_id: what another system calls it")
    external_id: Id | None = None
    channel: Label | None = Field(default=None, examples=["hotline"])
    store: Label | None = None
    staff_id: Label | None = Field(default=None, examples=["li.na"])
    outcome: Annotated[StrictStr, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")] | None = Field(
        default=None, description="a code of the company's, not a sentence", examples=["reached"]
    )
    case_id: UUID | None = Field(default=None, description="the case of feedback that it belongs to")
    notes: FreeText | None = None
    next_step: NextStepIn | None = None

    def facts(self) -> InteractionFacts:
        ref = customer_ref(self.customer)
        assert ref is not None
        return InteractionFacts(
            customer=ref,
            kind=self.kind,
            direction=self.direction,
            occurred_at=self.occurred_at,
            source=self.source,
            external_id=self.external_id,
            channel=self.channel,
            store=self.store,
            staff_id=self.staff_id,
            outcome=self.outcome,
            case_id=self.case_id,
            notes=self.notes,
            next_step=None if self.next_step is None else self.next_step.text,
            next_step_due_at=None if self.next_step is None else self.next_step.due_at,
        )


class NextStepOut(BaseModel):
    text: str | None
    due_at: datetime
    done_at: datetime | None
    done_by: str | None


class InteractionOut(BaseModel):
    """Free text is shown to callers with the scope pii:read."""

    id: UUID
    customer_id: UUID
    kind: str
    direction: str
    occurred_at: datetime
    recorded_at: datetime
    recorded_by: str
    source: str | None
    external_id: str | None
    channel: str | None
    store: str | None
    staff_id: str | None
    outcome: str | None
    case_id: UUID | None
    personal_data: Literal["shown", "withheld"]
    notes: str | None
    next_step: NextStepOut | None


@router.post(
    "/interactions",
    scopes=["interactions:write"],
    reach="filtered",
    status_code=201,
    response_model=InteractionOut,
    responses={200: {"model": InteractionOut, "description": "Recorded before under this name"}},
)
def record_interaction(
    body: InteractionIn, session: Transaction, now: Now, caller: Caller_, once: Once, response: Response
) -> Any:
    """Record a contact with a customer.

    Repeatable with an Idempotency-Key or with `source` and `external_id`: the same again is the same contact, other
    facts under the same name are 409 `interaction_differs`.
    """

    facts = body.facts()
    if caller.reach is not None:
        known = customers.resolve_many(session, [facts.customer]).get(facts.customer)
        _demand_reach(session, caller, known and known.customer_id)

    def create() -> InteractionOut:
        row, new = interactions.record(session, facts, caller.name, now)
        response.status_code = 201 if new else 200
        response.headers["Location"] = f"/profile/v1/interactions/{row.interaction_id}"
        return _shown(session, [row], caller)[0]

    return once(InteractionOut, create)


@router.get("/interactions/{interaction_id}", scopes=["interactions:read"], reach="filtered")
def get_interaction(interaction_id: UUID, session: Transaction, caller: Caller_) -> InteractionOut:
    """A contact with a customer."""
    row = interactions.get(session, interaction_id)
    _demand_reach(session, caller, row.customer_id)
    return _shown(session, [row], caller)[0]


@router.post(
    "/interactions/{interaction_id}/complete-next-step", scopes=["interactions:write"], reach="filtered"
)
def complete_next_step(
    interaction_id: UUID, session: Transaction, now: Now, caller: Caller_
) -> InteractionOut:
    """Say that the next step was taken. Again changes nothing."""
    _demand_reach(session, caller, interactions.get(session, interaction_id).customer_id)
    return _shown(session, [interactions.complete(session, interaction_id, caller.name, now)], caller)[0]


@router.get("/customers/{customer_id}/interactions", scopes=["interactions:read"])
def list_customer_interactions(
    customer_id: UUID,
    session: Transaction,
    page: Page,
    caller: Caller_,
    kind: Annotated[list[Kind], Query(max_length=10)] = [],  # noqa: B006
) -> PageOf[InteractionOut]:
    """A customer's contacts, latest first."""
    owner = customer_profiles.get(session, customer_id).customer_id
    after = page.after(("-occurred_at", "-id"))
    rows = interactions.of_customer(session, owner, after, page.limit + 1, kinds=kind)
    shown = _shown(session, rows, caller)
    return page_of(InteractionOut, shown, page, key=lambda one: (one.occurred_at, one.id))  # type: ignore[return-value]


@router.get("/next-steps", scopes=["interactions:read"], reach="filtered")
def list_next_steps(
    session: Transaction,
    page: Page,
    caller: Caller_,
    staff_id: Annotated[list[Label], Query(max_length=50, description="whose")] = [],  # noqa: B006
    due_at_lt: Annotated[When | None, Query(description="due before")] = None,
) -> PageOf[InteractionOut]:
    """What is still to be done after contacts, the most urgent first. Members of staff see what is about theirs."""
    after = page.after(("next_step_due_at", "id"))
    rows = interactions.next_steps(
        session, after, page.limit + 1, staff_ids=staff_id, due_before=due_at_lt, reach=caller.reach
    )
    due = {row.interaction_id: row.next_step_due_at for row in rows}
    shown = _shown(session, rows, caller)
    return page_of(InteractionOut, shown, page, key=lambda one: (due[one.id], one.id))  # type: ignore[return-value]


def _demand_reach(session: Session, caller: Caller, customer_id: UUID | None) -> None:
    """Raises Forbidden ``beyond_reach``. A customer whom nobody knows is beyond everybody's."""
    if caller.reach is not None and (customer_id is None or not reaches(session, customer_id, caller.reach)):
        raise beyond_reach()


def _shown(session: Session, rows: Sequence[Row[Any]], caller: Caller) -> list[InteractionOut]:
    may_see = caller.may("pii:read")
    clear = interactions.texts_of(session, rows) if may_see else [Texts(None, None)] * len(rows)
    return [
        InteractionOut.model_validate(
            dict(row._mapping)
            | {
                "id": row.interaction_id,
                "personal_data": "shown" if may_see else "withheld",
                "notes": texts.notes,
                "next_step": None
                if row.next_step_due_at is None
                else NextStepOut(
                    text=texts.next_step,
                    due_at=row.next_step_due_at,
                    done_at=row.next_step_done_at,
                    done_by=row.next_step_done_by,
                ),
            }
        )
        for row, texts in zip(rows, clear, strict=True)
    ]
