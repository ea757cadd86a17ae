"""What follows from what a purchase says and the accounting currency, and from nothing else: for those who record many."""

from collections.abc import Mapping
from typing import NamedTuple

from services.profile.rules.amounts import Amounts, Unpriceable, price
from services.profile.rules.facts import PurchaseFacts
from services.profile.rules.fingerprint import fingerprint
from services.profile.rules.written_purchases import Written, written

# A line takes at most 3.5 KB of its event (the longest names, four bytes a character), an event 900 KB.
SURELY_ANNOUNCEABLE = 250


class Accounting(NamedTuple):
    """The currency that the company reckons in, and the digits of every currency's minor unit."""

    currency: str
    exponents: Mapping[str, int]


class Reckoned(NamedTuple):
    """A purchase written already: ``facts`` have no lines any more, ``amounts`` only the totals."""

    facts: PurchaseFacts
    amounts: Amounts
    fingerprint: bytes
    written: Written


def reckon(facts: PurchaseFacts, accounting: Accounting) -> Reckoned | None:
    """None for a purchase that has to be looked at more closely: it may be refused, or not fit into its event."""
    rate = facts.exchange_rate
    if facts.currency == accounting.currency:
        if rate is not None and rate != 1:
            return None
        rate = None
    elif rate is None:
        return None
    if facts.currency not in accounting.exponents or len(facts.lines) > SURELY_ANNOUNCEABLE:
        return None
    try:
        amounts = price(
            facts.lines,
            accounting.exponents[facts.currency],
            rate,
            accounting.exponents[accounting.currency],
        )
    except Unpriceable:
        return None
    facts = facts._replace(exchange_rate=rate)
    print_ = fingerprint(facts)
    return Reckoned(
        facts._replace(lines=()),
        Amounts((), (), amounts.total, amounts.accounting_total),
        print_,
        written(facts, amounts, print_),
    )
