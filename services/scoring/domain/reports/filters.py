"""Into whom every report can be drilled, by one definition: who is meant, as SQL that joins no more than is asked of."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from services.scoring.domain.facts import books
from shared.errors import Fault, Invalid

# Values by name. Of one name any of the values, of several names all; a name without values asks for nothing.
Filter = Mapping[str, Sequence[Any]]

# Where each table of a customer stands in a query; `customer c` is always there, and only who is active counts: a merged
# customer is one with the winner, an erased one is nobody.
TABLES = {
    "m": "left join metrics m using (customer_id)",
    "s": "left join score s using (customer_id)",
    "o": "left join outlook o using (customer_id)",
    "t": "left join tier t using (customer_id)",
    "q": "left join trait q using (customer_id)",
}
# One who never bought is a prospect, before any calibration as well.
STAGE = "coalesce(o.stage, case when coalesce(m.purchase_count, 0) = 0 then 'prospect' end)"
NET = "m.gross_minor - m.returned_minor - m.cancelled_minor"

_TEXTS = {
    "tier": "t.tier",
    "segment": "s.segment",
    "value_class": "s.value_class",
    "stage": STAGE,
    "churn_band": "o.churn_band",
    "trend": "o.trend",
    "country": "q.country",
    "region": "q.region",
    "acquisition_channel": "q.acquisition_channel",
    "cohort": "to_char(m.first_purchase_at at time zone :only_zone, 'YYYY-MM')",
}
_CONDITIONS = {name: f"{column} = any(cast(:only_{name} as text[]))" for name, column in _TEXTS.items()} | {
    "r": "s.r = any(cast(:only_r as integer[]))",
    "fm": "(s.f + s.m + 1) / 2 = any(cast(:only_fm as integer[]))",
    "tag": "q.tags && cast(:only_tag as text[])",
}


def joined(expressions: Iterable[str]) -> str:
    """``customer c`` with those of TABLES that the expressions speak of."""
    said = set(re.findall(r"\b(\w)\.", " ".join(expressions)))
    return " ".join(["customer c", *(join for name, join in TABLES.items() if name in said)])


def members(asked: Filter) -> str:
    """A query that gives the customer_id of everybody meant; its parameters are those of ``parameters``."""
    conditions = [_CONDITIONS[name] for name, values in asked.items() if values]
    return f"select c.customer_id from {joined(conditions)} where " + " and ".join(
        ["c.state = 'active'", *conditions]
    )


def parameters(session: Session, asked: Filter) -> dict[str, Any]:
    """Of ``members``. Raises Invalid for a tier, segment or value class that no policy knows."""
    _check(session, asked)
    given: dict[str, Any] = {f"only_{name}": list(values) for name, values in asked.items() if values}
    return given | ({"only_zone": books(session).time_zone} if asked.get("cohort") else {})


def ask(
    session: Session, query: str, asked: Filter, more: Mapping[str, Any] | None = None
) -> Sequence[Row[Any]]:
    """What ``query`` gives, in which ``{members}`` stands for who is meant; ``more`` are its own parameters."""
    given = parameters(session, asked) | dict(more or {})
    # A million customers are joined and sorted in memory: few ask at the same time.
    session.execute(text("select set_config('work_mem', '64MB', true)"))
    return session.execute(text(query.format(members=members(asked))), given).all()


def _check(session: Session, asked: Filter) -> None:
    if not any(asked.get(name) for name in _OF_POLICIES):
        return
    known = {name: codes(session, name) for name in _OF_POLICIES}
    faults = [
        Fault(f"/query/{name}/{i}", f"unknown_{name}", f"known are {', '.join(sorted(known[name]))}")
        for name in _OF_POLICIES
        for i, value in enumerate(asked.get(name, ()))
        if value not in known[name]
    ]
    if faults:
        raise Invalid("unknown_value", "the filter names what is not known", faults=faults)


def codes(session: Session, name: str) -> set[str]:
    """The tiers, segments or value classes (``name``: tier, segment, value_class) that any policy has known."""
    policies = session.scalars(text("select content from policy"))
    return {code for each in policies for code in _OF_POLICIES[name](each)}


_OF_POLICIES: Mapping[str, Any] = {
    "tier": lambda content: [each["code"] for each in content["tiers"]],
    "segment": lambda content: [each for row in content["segments"] for each in row],
    "value_class": lambda content: [each["code"] for each in content["value_classes"]],
}
