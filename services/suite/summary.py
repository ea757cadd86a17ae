"""What a demo came to, read back from the APIs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from services.suite.client import SuiteClient


def print_summary(
    suite: SuiteClient,
    report: Mapping[str, Any],
    as_of: datetime | None,
    *,
    survey: str | None = None,
    customers: Sequence[str] = (),
) -> None:
    """``report`` is the import's; ``customers`` are those whose offers, messages and cases are counted."""
    tiers = suite.get("/scoring/v1/reports/tier-distribution")
    points = suite.get("/campaigns/v1/reports/points")
    print()
    for name, value in (
        ("customers", _customers(report, points)),
        ("purchases", _states(report["purchases"])),
        ("returns", _states(report["returns"])),
        ("rows", _states(report["rows"])),
        ("rejected", _named(report["rejected"])),
        ("skipped", _named(report["skipped"])),
        ("as of", as_of.strftime("%Y-%m-%dT%H:%M:%SZ") if as_of else tiers["as_of"]),
        ("tiers", ", ".join(f"{tier['tier']} {tier['customers']:,}" for tier in tiers["tiers"])),
        (
            "points",
            f"{points['earned']:,} earned, {points['reversed']:,} reversed, {points['spent']:,} spent",
        ),
        ("surveys", _survey(suite, survey)),
        *_reached(suite, customers),
        ("held back", _held_back(suite)),
    ):
        print(f"{name:>10}  {value}")
    if quality := report.get("summary"):
        print(f"{'import':>10}  {quality}")


def _customers(report: Mapping[str, Any], points: Mapping[str, Any]) -> str:
    told = report["customers"]
    return f"{told['in_file']:,} in the file, {told['created']:,} new; {points['customers']:,} with points"


def _states(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items())


def _named(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"


def _survey(suite: SuiteClient, survey: str | None) -> str:
    if survey is None:
        surveys = suite.get("/feedback/v1/surveys", limit=1)["items"]
        if not surveys:
            return "none is set up, nobody was asked"
        survey = surveys[0]["id"]
    results = suite.get(f"/feedback/v1/surveys/{survey}/results")
    told = f"{results['invitations']:,} invited, {results['answers']:,} answered"
    if results["nps"] is None:
        return told
    low, high = results["interval_95"]
    return f"{told}, NPS {results['nps']:+.0f} (95 % between {low:+.0f} and {high:+.0f})"


def _reached(suite: SuiteClient, customers: Sequence[str]) -> list[tuple[str, str]]:
    if not customers:
        return []
    offers = 0
    messages: Counter[str] = Counter()
    cases: Counter[str] = Counter()
    for customer_id in customers:
        offers += len(list(suite.items(f"/campaigns/v1/customers/{customer_id}/offers")))
        for message in suite.items(f"/campaigns/v1/customers/{customer_id}/messages"):
            reason = f" ({message['reason']})" if message["state"] == "skipped" else ""
            messages[f"{message['campaign_id']} {message['state']}{reason}"] += 1
        for case in suite.items("/feedback/v1/cases", customer_id=customer_id):
            cases[case["state"]] += 1
    return [
        ("offers", f"{offers:,} issued"),
        ("messages", _named(dict(sorted(messages.items())))),
        ("cases", _named(cases)),
    ]


def _held_back(suite: SuiteClient) -> str:
    """What old facts and a first calibration would have started, and did not."""
    items = [
        item
        for service in ("campaigns", "feedback")
        for item in suite.get(f"/{service}/v1/reports/held-back")["items"]
    ]
    return ", ".join(f"{item['trigger']} {item['count']:,} ({item['reason']})" for item in items) or "nothing"
