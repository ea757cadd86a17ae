"""What purchases and returns are refused for before anything is asked of the database: time, currency, amounts."""

from datetime import datetime, timedelta
from decimal import Decimal

from services.profile.domain import accounting
from services.profile.rules.amounts import Amounts, Unpriceable, price
from services.profile.rules.facts import PurchaseFacts, UnmatchedReturnFacts
from shared import money
from shared.errors import Fault, Invalid

# A clock a little ahead is an accident, a purchase of next week is an error.
LONGEST_AHEAD = timedelta(days=1)


def check_time(moment: datetime, now: datetime, field: str = "occurred_at") -> None:
    """Raises Invalid ``occurred_in_the_future``, pointing at ``field``."""
    if moment > now + LONGEST_AHEAD:
        message = f"{field} lies in the future"
        raise Invalid(
            "occurred_in_the_future",
            message,
            faults=[Fault(f"/{field}", "occurred_in_the_future", message)],
        )


def settle_rate(currency: str, rate: Decimal | None, accounting_currency: str) -> Decimal | None:
    """The rate that counts: none in the accounting currency, one in every other. Raises Invalid."""
    if currency not in money.EXPONENTS:
        message = "not a currency of ISO 4217"
        raise Invalid("currency_unknown", message, faults=[Fault("/currency", "currency_unknown", message)])
    if currency != accounting_currency:
        if rate is None:
            raise accounting.exchange_rate_required(currency, accounting_currency)
        return rate
    if rate is not None and rate != 1:
        message = f"sums are in {accounting_currency} already"
        raise Invalid(
            "exchange_rate_unexpected",
            message,
            faults=[Fault("/exchange_rate", "exchange_rate_unexpected", message)],
        )
    return None


def priced(facts: PurchaseFacts | UnmatchedReturnFacts, accounting_currency: str) -> Amounts:
    """The amounts of lines in both currencies. Raises Invalid with a pointer to the line."""
    try:
        return price(
            facts.lines,
            money.exponent(facts.currency),
            facts.exchange_rate,
            money.exponent(accounting_currency),
        )
    except Unpriceable as problem:
        faults = [Fault(f"/lines/{problem.line - 1}", problem.code, str(problem))]
        raise Invalid(problem.code, str(problem), faults=faults) from None
