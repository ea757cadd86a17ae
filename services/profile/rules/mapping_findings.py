"""What deserves a look in the orders of a file, gathered order by order so that no file is too long for it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from services.profile.rules.mapping_orders import StagedRow
from services.profile.rules.mapping_rows import PURCHASE, RETURN, SKIPPED

_EXAMPLES = 10
_KINDS = {PURCHASE: "purchase", RETURN: "return", SKIPPED: "skipped"}
# The return of an unusual purchase, by the same customer, of as many of the same thing.
_TAKEN_BACK_WITHIN = timedelta(days=7)

State = dict[str, Any]


def nothing(largest_usual: int | None) -> State:
    """No order seen yet; a quantity above ``largest_usual`` is unusual."""
    return {
        "repeats": {"rows": 0, "kept": 0, "examples": []},
        "several_times": 0,
        "largest_usual": largest_usual,
        "unusual": {"rows": 0, "purchase": [], "return": [], "skipped": []},
    }


def note(state: State, kind: int, rows: Sequence[StagedRow]) -> None:
    """Add the rows of one order. Orders come by kind: purchases, then returns, then what is skipped."""
    if len(rows) > 1:
        if len({row[3:] for row in rows}) < len(rows):
            _note_repeats(state["repeats"], kind, rows)
        if kind != SKIPPED and any(row.occurred_at != rows[0].occurred_at for row in rows):
            state["several_times"] += 1
    fence = state["largest_usual"]
    if fence is not None:
        for row in rows:
            if abs(row.quantity) > fence:
                _note_unusual(state["unusual"], kind, row)


def told(state: State) -> dict[str, Any]:
    """The findings as the report has them."""
    unusual = state["unusual"]
    examples = sorted(
        [*unusual["purchase"], *unusual["return"], *unusual["skipped"]],
        key=lambda one: (-abs(one["quantity"]), one["line"]),
    )
    shown = ("line", "order", "kind", "sku", "quantity", "returned_by")
    return {
        "possible_repeats": state["repeats"],
        "orders_with_several_times": {"orders": state["several_times"]},
        "unusual_quantities": {
            "rows": unusual["rows"],
            "above": state["largest_usual"],
            "examples": [{name: one[name] for name in shown} for one in examples[:_EXAMPLES]],
        },
    }


def _note_repeats(repeats: State, kind: int, rows: Sequence[StagedRow]) -> None:
    lines: dict[tuple[Any, ...], list[int]] = {}
    for row in rows:
        lines.setdefault(row[3:], []).append(row.line)
    again = [sorted(same) for same in lines.values() if len(same) > 1]
    more = sum(len(same) - 1 for same in again)
    repeats["rows"] += more
    if kind != SKIPPED:
        repeats["kept"] += more
    repeats["examples"] = sorted([*repeats["examples"], *(same[:2] for same in again)])[:_EXAMPLES]


def _note_unusual(unusual: State, kind: int, row: StagedRow) -> None:
    unusual["rows"] += 1
    if kind == RETURN and row.customer is not None:
        for bought in unusual["purchase"]:
            if (bought["customer"], bought["sku"], bought["quantity"]) == (
                row.customer,
                row.sku,
                row.quantity,
            ):
                at = datetime.fromisoformat(bought["occurred_at"])
                if at <= row.occurred_at <= at + _TAKEN_BACK_WITHIN:
                    bought["returned_by"] = min(bought["returned_by"] or row.order_number, row.order_number)
    examples = unusual[_KINDS[kind]]
    examples.append(
        {
            "line": row.line,
            "order": row.order_number,
            "kind": _KINDS[kind],
            "sku": row.sku,
            "quantity": row.quantity,
            "returned_by": None,
            "customer": row.customer,
            "occurred_at": row.occurred_at.isoformat(),
        }
    )
    examples.sort(key=lambda one: (-abs(one["quantity"]), one["line"]))
    del examples[_EXAMPLES:]
