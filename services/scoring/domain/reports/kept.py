"""Answers that a large company would wait for, computed at night and kept until the next one."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.scoring.domain.reports import cohorts, first_purchases, groups, value

Answer = dict[str, Any]

# By the report and what it is asked by; everything else as it is unless said.
NIGHTLY: Mapping[str, Callable[[Session], Answer]] = {
    "cohorts": partial(cohorts.retention, asked={}, as_of=None, months=cohorts.MONTHS),
    "repurchase-rate": partial(cohorts.repurchase, asked={}, as_of=None, months=cohorts.MONTHS),
    "pareto": partial(value.pareto, asked={}, as_of=None),
    "clv-distribution": partial(value.clv_distribution, asked={}),
    "first-purchases": partial(first_purchases.first_purchases, asked={}),
    **{
        f"development:{by}": partial(groups.development, asked={}, by=[by], as_of=None, months=groups.MONTHS)
        for by in (groups.CATEGORY, "tier", "segment")
    },
    **{
        f"white-space:{by}": partial(groups.untouched, asked={}, by=by, as_of=None, days=groups.DAYS)
        for by in ("segment", "tier")
    },
}

# What nobody kept is computed while the caller waits, up to a minute.
_PATIENCE = "select set_config('statement_timeout', '60s', true)"


def make(session: Session, key: str) -> None:
    """Compute one of NIGHTLY and keep it instead of the last one."""
    session.execute(
        text("""
            insert into report (key, answer, made_at) values (:key, cast(:answer as jsonb), now())
            on conflict (key) do update set answer = excluded.answer, made_at = excluded.made_at
        """),
        {"key": key, "answer": json.dumps(NIGHTLY[key](session), default=str)},
    )


def answer(session: Session, key: str | None, compute: Callable[[], Answer]) -> Answer:
    """What was kept under ``key`` since yesterday, else what ``compute`` finds."""
    found: Answer | None = session.scalar(
        text("select answer from report where key = :key and made_at > now() - interval '36 hours'"),
        {"key": key},
    )
    if found is None:
        session.execute(text(_PATIENCE))
        return compute()
    return found
