"""Alerts in words, Chinese and English."""

from collections.abc import Mapping
from datetime import date

Words = Mapping[str, str]

# What is watched, by kind and series; {of} is which tier, country, channel or product.
_WHAT: Mapping[str, Words] = {
    "purchases": {"en": "Purchases were", "zh": "购买次数为"},
    "active_customers": {"en": "Customers who bought were", "zh": "购买客户数为"},
    "net_revenue": {"en": "Net revenue was", "zh": "净收入为"},
    "taken_back": {"en": "The amount taken back was", "zh": "退货金额为"},
    "tier": {"en": "Purchases of {of} customers were", "zh": "{of}等级客户的购买次数为"},
    "country": {"en": "Net revenue from {of} was", "zh": "{of}的净收入为"},
    "channel": {"en": "Purchases by {of} were", "zh": "{of}渠道的购买次数为"},
    "product": {"en": "Pieces sold of {of} were", "zh": "{of}的销售件数为"},
    "churn": {"en": "Customers who fell silent were", "zh": "转为沉寂的客户数为"},
    "satisfaction": {"en": "Customers who turned into detractors were", "zh": "转为贬损者的客户数为"},
}


def sentence(
    kind: str,
    name: str,
    of: Words,
    since: date,
    day: date,
    observed: float,
    expected: float,
    currency: str | None,
) -> dict[str, str]:
    """One sentence by language. ``of`` is what ``name`` is called, by language; figures are in whole units of ``currency``,
    or pieces where that is None."""
    what = _WHAT[name if kind == "company" else kind]
    seen, usual = (f"{figure:,.0f}" for figure in (observed, expected))
    unit = f" {currency}" if currency else ""
    one_day = since == day
    when = {
        "en": f"on {day}" if one_day else f"from {since} to {day}",
        "zh": f"{day} " if one_day else f"{since} 至 {day} ",
    }
    return {
        "en": f"{what['en'].format(of=of['en'])} {seen}{unit} instead of about {usual}{unit} {when['en']}.",
        "zh": f"{when['zh']}{what['zh'].format(of=of['zh'])} {seen}{unit}，平常约为 {usual}{unit}。",
    }
