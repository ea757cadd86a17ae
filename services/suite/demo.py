"""``make demo``: fill the running suite, as an outside system would – over its HTTP API.

Without a file: generated customers, Chinese and English, the same every time. Their history is imported and calibrated,
then their last days are told as they happen, so that points, offers, messages, surveys and a complaint come about. With
the Online Retail file: the file is imported and everybody is scored as of the midnight after its last purchase.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from services.suite import generated
from services.suite.client import Bar, SuiteClient
from services.suite.members import kinds
from services.suite.summary import print_summary
from services.suite.verify import await_settled
from shared.embedded.directory import DataDirectory
from shared.embedded.postgres import CannotStart
from shared.embedded.surroundings import surroundings

ONLINE_RETAIL = {
    "source": "shop",
    "format": "csv",
    "columns": {
        "order": "InvoiceNo",
        "sku": "StockCode",
        "description": "Description",
        "quantity": "Quantity",
        "occurred_at": "InvoiceDate",
        "unit_price": "UnitPrice",
        "customer": "CustomerID",
        "country": "Country",
    },
    "return_prefix": "C",
    "strip_id_suffix": ".0",
    "time_zone": "Europe/London",
    "currency": "GBP",
    "missing_customer": "skip",
}
SURVEY = "How are we doing? 您满意吗？"
REWARDS = (
    {"name": "茶杯 Tea cup", "points_price": 300, "stock": 100},
    {"name": "礼品卡 Gift card", "points_price": 2_000, "stock": 20},
)

Settle = Callable[[str], None]


def demo(file: str | None, customer_count: int, environment: Mapping[str, str] = os.environ) -> int:
    """Fill the suite of the data directory and print what came of it. Raises CannotStart where it does not run."""
    if file is not None and not Path(file).is_file():
        raise CannotStart(f"there is no file {file}")
    with _running_suite(environment) as (suite, settle):
        if file is not None:
            _import_file(suite, Path(file), settle)
        else:
            _generate(suite, customer_count, settle)
    return 0


@contextmanager
def _running_suite(environment: Mapping[str, str]) -> Iterator[tuple[SuiteClient, Settle]]:
    directory = DataDirectory.of_environment(environment)
    directory.must_exist()
    told = {**directory.last_environment(), **environment}
    suite = SuiteClient(
        f"http://127.0.0.1:{told.get('REGULARS_PORT') or 8080}", directory.admin_key_file.read_text().strip()
    )
    try:
        if not suite.is_up():
            raise CannotStart(
                "the suite does not answer: start it with make run, then run the demo beside it"
            )
        # The facts go over HTTP; only whether every event has been applied is asked of the databases.
        with surroundings(kinds(), environment) as settings:

            def settle(doing: str) -> None:
                bar = Bar(doing)
                most = 0

                def show(waiting: int) -> None:
                    nonlocal most
                    most = max(most, waiting)
                    bar.show(most - waiting, most)

                await_settled(settings, show)
                bar.end()

            yield suite, settle
    finally:
        suite.close()


def _import_file(suite: SuiteClient, file: Path, settle: Settle) -> None:
    job = _import(
        suite, "online-retail", ONLINE_RETAIL, _blocks(file), file.suffix == ".gz", f"importing {file.name}"
    )
    settle("applying the events")
    last = datetime.fromisoformat(job["report"]["last_occurred_at"])
    as_of = generated.midnight(last) + timedelta(days=1)
    _calibrate(suite, as_of, settle)
    print_summary(suite, job["report"], as_of)


def _generate(suite: SuiteClient, count: int, settle: Settle) -> None:
    today = generated.midnight(datetime.now().astimezone())
    people = generated.people(count)
    currency = _accounting_currency(suite)
    ids = suite.each(
        people, lambda person: _tell_customer(suite, person, today), "telling customers and their consents"
    )
    content, _ = generated.as_csv(generated.history(people, today))
    columns = {
        "order": "order",
        "customer": "customer",
        "occurred_at": "time",
        "sku": "sku",
        "description": "description",
        "quantity": "quantity",
        "unit_price": "price",
    }
    mapping = {"source": generated.SOURCE, "format": "csv", "columns": columns, "currency": currency}
    job = _import(suite, "demo", mapping, iter([content]), False, "importing their history")
    settle("applying the events")
    _calibrate(suite, None, settle)

    survey = _once_named(suite, "/feedback/v1/surveys", {"name": SURVEY})
    rewards = [_once_named(suite, "/campaigns/v1/rewards", dict(reward)) for reward in REWARDS]
    bought = generated.fresh(people, today)
    reply = suite.post(
        "/profile/v1/purchases/batch", {"items": [generated.item(purchase, currency) for purchase in bought]}
    )
    outcomes = Counter(item["status"] for item in reply["items"])
    print(f"told {len(bought)} purchases of the last {generated.FRESH_DAYS} days: {_counted(outcomes)}")
    _return_one(suite, bought[0])
    settle("applying the events")

    buyers = {purchase.person.number: ids[purchase.person.number - 1] for purchase in bought}
    _answer_surveys(suite, buyers)
    settle("applying the answers")
    _settle_cases(suite, list(buyers.values()))
    _redeem(suite, rewards[0], buyers)
    settle("applying the events")
    _await_deliveries(suite, list(buyers.values()))
    print_summary(suite, job["report"], None, survey=survey["id"], customers=list(buyers.values()))


def _import(
    suite: SuiteClient, name: str, mapping: Any, blocks: Iterator[bytes], gzipped: bool, doing: str
) -> dict[str, Any]:
    suite.put(f"/profile/v1/import-mappings/{name}", mapping)
    started = suite.upload(
        "/profile/v1/imports", blocks, "text/csv", gzipped=gzipped, kind="purchases", mapping=name
    )
    job: dict[str, Any] = suite.follow("profile", started["id"], doing)
    return job


def _blocks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as content:
        while block := content.read(256 * 1024):
            yield block


def _calibrate(suite: SuiteClient, as_of: datetime | None, settle: Settle) -> None:
    started = suite.post("/scoring/v1/calibrations", {"as_of": as_of.isoformat()} if as_of else {})
    suite.follow("scoring", started["id"], "calibrating")
    settle("applying the tiers")


def _accounting_currency(suite: SuiteClient) -> str:
    """That of this suite, where a purchase has fixed it; else the demo's own."""
    first = suite.get("/scoring/v1/scores", limit=1)["items"]
    return (first[0].get("currency") if first else None) or "CNY"


def _tell_customer(suite: SuiteClient, person: generated.Person, today: datetime) -> str:
    address = f"/profile/v1/customers/by-external-id/{generated.SOURCE}/{person.external_id}"
    customer_id: str = suite.put(address, person.body(today))["id"]
    for purpose, granted in (("marketing", person.email_granted), ("survey", person.survey_granted)):
        suite.put(
            f"/profile/v1/customers/{customer_id}/consents/{purpose}/email",
            {
                "state": "granted" if granted else "denied",
                "text_version": "demo-1",
                "collected_at": person.body(today)["registered_at"],
            },
        )
    return customer_id


def _once_named(suite: SuiteClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """What has this name already, from an earlier demo, or a new one."""
    for item in suite.items(path):
        if item["name"] == body["name"]:
            return dict(item)
    return dict(suite.post(path, body))


def _return_one(suite: SuiteClient, purchase: generated.Purchase) -> None:
    body = {
        "purchase": {"source": generated.SOURCE, "external_id": purchase.external_id},
        "occurred_at": (purchase.occurred_at + timedelta(hours=1)).isoformat(),
        "lines": [{"line": 1, "quantity": 1}],
    }
    suite.put(f"/profile/v1/returns/{generated.SOURCE}/return-{purchase.external_id}", body)


def _answer_surveys(suite: SuiteClient, buyers: dict[int, str]) -> None:
    """Two in three answer; most are content, one in five is not and says why."""
    answered = 0
    for number, customer_id in buyers.items():
        for invitation in suite.items(f"/feedback/v1/customers/{customer_id}/invitations"):
            if invitation["answered_at"] is None and number % 3:
                score = (10, 9, 10, 2, 8)[number % 5]
                comment = "杯子到的时候碎了。 The cup arrived broken." if score == 2 else ""
                answered += suite.answer(invitation["answer_url"], {"score": str(score), "comment": comment})
    print(f"{answered} customers answered the survey on its page")


def _settle_cases(suite: SuiteClient, customer_ids: list[str]) -> None:
    """The first complaint of these customers is answered and resolved; the others stay open for the staff."""
    for customer_id in customer_ids:
        for case in suite.items("/feedback/v1/cases", customer_id=customer_id, state="open"):
            suite.post(
                f"/feedback/v1/cases/{case['id']}/messages",
                {"text": "我们马上给您补发。 A new one is on its way."},
            )
            suite.post(f"/feedback/v1/cases/{case['id']}/resolve")
            print(f"case {case['number']} was answered and resolved")
            return


def _redeem(suite: SuiteClient, reward: dict[str, Any], buyers: dict[int, str]) -> None:
    """The first three who can afford it take a reward."""
    redeemed = 0
    for customer_id in buyers.values():
        if suite.get(f"/campaigns/v1/customers/{customer_id}/points")["balance"] >= reward["points_price"]:
            suite.post(
                f"/campaigns/v1/customers/{customer_id}/redemptions",
                {"reward_id": reward["id"]},
                once=f"demo-{reward['id']}-{customer_id}",
            )
            redeemed += 1
        if redeemed == 3:
            break
    print(f"{redeemed} customers redeemed {reward['name']!r}")


def _await_deliveries(suite: SuiteClient, customer_ids: list[str], within: float = 30) -> None:
    """Messages leave a moment after the event that asked for them."""
    deadline = time.monotonic() + within
    waiting = customer_ids
    while waiting and time.monotonic() < deadline:
        waiting = [
            customer_id
            for customer_id in waiting
            if any(
                message["state"] == "pending"
                for message in suite.items(f"/campaigns/v1/customers/{customer_id}/messages")
            )
        ]
        time.sleep(0.5 if waiting else 0)


def _counted(outcomes: Mapping[int, int]) -> str:
    names = {201: "recorded", 200: "known already"}
    return ", ".join(f"{count} {names.get(status, status)}" for status, count in sorted(outcomes.items()))
