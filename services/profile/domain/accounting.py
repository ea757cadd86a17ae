"""The accounting currency: the setting's, else that of the first purchase, and fixed from then on."""

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from services.profile.tables import accounting
from shared.errors import Fault, Invalid

_FIX = text("insert into accounting (currency) values (:currency) on conflict do nothing")


def currency(session: Session) -> str | None:
    """The currency that sums are in; None as long as nothing was recorded and none is set."""
    fixed: str | None = session.scalar(select(accounting.c.currency))
    return fixed or _setting(session)


def fixed_currency(session: Session, first: str) -> str:
    """The accounting currency; without one yet, ``first`` becomes it if this transaction commits.

    Of two first purchases at once, one waits for the other here, so that both see one currency.
    """
    fixed: str | None = session.scalar(select(accounting.c.currency))
    if fixed is None:
        session.execute(_FIX, {"currency": _setting(session) or first})
        fixed = str(session.scalars(select(accounting.c.currency)).one())
    return fixed


def _setting(session: Session) -> str | None:
    currency: str | None = session.info["settings"].currency
    return currency


def exchange_rate_required(currency: str, accounting_currency: str) -> Invalid:
    return Invalid(
        "exchange_rate_required",
        f"sums are in {accounting_currency}: an amount in {currency} needs its exchange_rate",
        faults=[
            Fault(
                "/exchange_rate",
                "exchange_rate_required",
                f"{accounting_currency} per 1 {currency}, as a string",
            )
        ],
    )
