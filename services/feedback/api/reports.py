"""/reports"""

from typing import Any

from pydantic import BaseModel, ConfigDict

from services.feedback.domain import held_back
from shared.http.dependencies import Transaction
from shared.http.routing import Router

router = Router(prefix="/v1/reports", tags=["reports"])


class HeldBack(BaseModel):
    """How many of ``trigger`` asked nobody: ``historical`` (too old) or ``throttled`` (asked lately)."""

    model_config = ConfigDict(from_attributes=True)

    trigger: str
    reason: str
    count: int


class HeldBackReport(BaseModel):
    items: list[HeldBack]


@router.get("/held-back", scopes=["reports:read"], response_model=HeldBackReport)
def get_held_back_report(session: Transaction) -> Any:
    """What did not reach anybody, and why."""
    return {"items": held_back.report(session)}
