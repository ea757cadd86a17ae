"""The main path, by HTTP only: a purchase travels through all four services."""

import email
import email.policy
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.deployment import Deployment, purchase

pytestmark = pytest.mark.xdist_group("deployment")


def now(**shift: float) -> str:
    return (datetime.now(UTC) + timedelta(**shift)).isoformat(timespec="seconds").replace("+00:00", "Z")


def eventually(ask: Callable[[], Any], holds: Callable[[Any], Any], seconds: float = 30) -> Any:
    end = time.monotonic() + seconds
    while True:
        told = ask()
        if holds(told):
            return told
        assert time.monotonic() < end, f"still {told!r} after {seconds} s"
        time.sleep(0.05)


@pytest.fixture
def api(deployment: Deployment):
    clients = {
        service: deployment.client(service) for service in ("profile", "scoring", "campaigns", "feedback")
    }
    yield clients
    for client in clients.values():
        client.close()


def regular(api, name: str, email: str | None = None) -> str:
    """A Chinese customer who agreed to marketing and surveys by e-mail."""
    body = {
        "kind": "person",
        "name": "王芳",
        "email": email or f"{name}@example.com",
        "country": "CN",
        "language": "zh",
    }
    customer_id = api["profile"].put(f"/customers/by-external-id/shop/{name}", json=body).json()["id"]
    for purpose in ("marketing", "survey"):
        reply = api["profile"].put(
            f"/customers/{customer_id}/consents/{purpose}/email",
            json={
                "state": "granted",
                "text_version": "2026-01",
                "evidence": "checkout",
                "collected_at": now(days=-1),
            },
        )
        assert reply.status_code in (200, 201), reply.text
    return str(customer_id)


def buy(api, name: str, external_id: str, price: str, **changes: Any) -> dict[str, Any]:
    lines = [{"sku": "TEA", "description": "龙井", "quantity": 1, "unit_price": price}]
    body = purchase(name, external_id, lines=lines, **{"occurred_at": now(hours=-1), **changes})
    reply = api["profile"].put(f"/purchases/shop/{external_id}", json=body)
    assert reply.status_code == 201, reply.text
    return dict(reply.json())


def messages(deployment: Deployment, address: str) -> list[str]:
    """The texts of the messages that left for this address."""
    folder = Path(deployment.environment["REGULARS_MAILBOX_DIR"])
    parsed = [
        email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        for path in folder.rglob("*.eml")
    ]
    return [
        body.get_content()
        for message in parsed
        if address in str(message["To"]) and (body := message.get_body(("plain", "html")))
    ]


def test_a_purchase_reaches_score_and_points_and_a_return_takes_both_back(
    deployment: Deployment, api
) -> None:
    made = buy(api, "walker", "walk-1", "200.00")
    customer_id = made["customer_id"]
    score = eventually(
        lambda: api["scoring"].get(f"/customers/{customer_id}/score"), lambda reply: reply.status_code == 200
    ).json()
    assert score["metrics"]["purchase_count"] == 1
    assert score["metrics"]["net_revenue_minor"] == 20_000
    assert eventually(lambda: balance(api, customer_id), lambda points: points == 200)

    returned = {
        "purchase": {"source": "shop", "external_id": "walk-1"},
        "occurred_at": now(),
        "lines": [{"line": 1, "quantity": 1}],
    }
    assert api["profile"].put("/returns/shop/walk-1", json=returned).status_code == 201
    score = eventually(
        lambda: api["scoring"].get(f"/customers/{customer_id}/score").json(),
        lambda told: told["metrics"]["purchase_count"] == 0,
    )
    assert score["metrics"]["net_revenue_minor"] == 0
    assert score["rfm"] is None
    eventually(lambda: balance(api, customer_id), lambda points: points == 0)


def balance(api, customer_id: str) -> int | None:
    reply = api["campaigns"].get(f"/customers/{customer_id}/points")
    return int(reply.json()["balance"]) if reply.status_code == 200 else None


def test_a_tier_upgrade_issues_an_offer_and_an_email_leaves_only_with_consent(
    deployment: Deployment, api
) -> None:
    agreed, silent = regular(api, "upgraded"), None
    buy(api, "upgraded", "up-1", "10.00")
    silent = buy(api, "silent", "up-2", "10.00")["customer_id"]
    calibration = api["scoring"].post("/calibrations", json={})
    assert calibration.status_code == 202, calibration.text
    job = httpx.URL(calibration.headers["Location"]).path.removeprefix("/scoring/v1")
    eventually(lambda: api["scoring"].get(job).json(), lambda told: told["state"] == "succeeded")

    for name, external_id in (("upgraded", "up-3"), ("silent", "up-4")):
        buy(api, name, external_id, "12000.00")
    for customer_id in (agreed, silent):
        eventually(
            lambda customer_id=customer_id: (
                api["scoring"].get(f"/customers/{customer_id}/score").json()["tier"]
            ),
            # Which of the two depends on whom other tests made.
            lambda tier: tier and tier["code"] in ("gold", "platinum"),
        )
        offers = eventually(
            lambda customer_id=customer_id: (
                api["campaigns"].get(f"/customers/{customer_id}/offers").json()["items"]
            ),
            lambda items: items,
        )
        assert len(offers) == 1

    told = eventually(
        lambda: api["campaigns"].get(f"/customers/{agreed}/messages").json()["items"],
        lambda items: any(item["state"] == "sent" for item in items),
    )
    assert any(item["state"] == "sent" for item in told)
    assert any("王芳" in text for text in messages(deployment, "upgraded@example.com"))
    skipped = eventually(
        lambda: api["campaigns"].get(f"/customers/{silent}/messages").json()["items"],
        lambda items: any(item["state"] == "skipped" for item in items),
    )
    assert {item["reason"] for item in skipped if item["state"] == "skipped"} <= {
        "no_consent",
        "no_contact_point",
    }


def test_a_detractor_opens_a_case_that_is_answered_and_resolved(deployment: Deployment, api) -> None:
    assert api["feedback"].post("/surveys", json={"name": "After purchase"}).status_code == 201
    customer_id = regular(api, "unhappy")
    buy(api, "unhappy", "sad-1", "50.00")
    invitation = eventually(
        lambda: api["feedback"].get(f"/customers/{customer_id}/invitations").json()["items"],
        lambda items: items,
    )[0]
    page = httpx.get(invitation["answer_url"])
    assert page.status_code == 200
    assert 'lang="zh' in page.text
    names = set(re.findall(r'name="([a-z_]+)"', page.text))
    assert {"score", "comment"} <= names
    answered = httpx.post(
        invitation["answer_url"], data={"score": "2", "comment": "送货太慢"}, follow_redirects=True
    )
    assert answered.status_code == 200, answered.text

    case = eventually(
        lambda: api["feedback"].get("/cases", params={"customer_id": customer_id}).json()["items"],
        lambda items: items,
    )[0]
    assert case["state"] == "open"
    eventually(
        lambda: api["scoring"].get(f"/customers/{customer_id}/score").json().get("satisfaction"),
        lambda satisfaction: satisfaction and satisfaction["state"] == "detractor",
    )
    results = api["feedback"].get(f"/surveys/{invitation['survey_id']}/results").json()
    assert results["detractors"] >= 1

    reply = api["feedback"].post(f"/cases/{case['id']}/messages", json={"text": "非常抱歉，我们马上处理。"})
    assert reply.status_code == 201, reply.text
    assert api["feedback"].post(f"/cases/{case['id']}/resolve", json={}).status_code == 200
    eventually(
        lambda: api["feedback"].get(f"/cases/{case['id']}").json()["state"], lambda state: state == "resolved"
    )


def test_after_everything_the_invariants_hold_and_a_replay_changes_nothing(
    deployment: Deployment, api
) -> None:
    buy(api, "replayed", "again-1", "77.00")
    told = deployment.settle()
    assert all(all(part["invariants"].values()) for part in told.values())
    assert all(part["parked"] == part["dead_letters"] == 0 for part in told.values())
    replayed = deployment.suite("replay")
    assert replayed["events_applied"] == 0
    assert replayed["events_reread"] > 0
    assert deployment.hashes() == {service: part["state_hash"] for service, part in told.items()}
    buy(api, "replayed", "again-2", "77.00")
    moved = deployment.settle()
    for service in ("profile", "scoring", "campaigns"):
        assert moved[service]["state_hash"] != told[service]["state_hash"]


def test_rebuilding_scoring_from_the_topics_gives_the_same_metrics(deployment: Deployment, api) -> None:
    told = deployment.settle()
    rebuilt = deployment.rebuild_scoring()
    assert rebuilt["metrics_hash"] == told["scoring"]["metrics_hash"]
