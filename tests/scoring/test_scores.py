from tests.scoring.world import MIDNIGHT, NOON, World, days


def test_metrics_follow_purchases_returns_and_cancellations(world: World) -> None:
    world.happens(
        world.registered("ann"),
        world.purchase("ann", "P1", 10_000, NOON - days(10)),
        world.purchase("ann", "P2", 5_000, NOON - days(4)),
        world.purchase("ann", "P3", 2_500, NOON),
        world.returned("ann", "P1", 4_000),
        world.returned("ann", None, 1_000),
        world.cancelled("ann", "P3", 2_500),
    )
    score = world.score("ann")
    assert score["metrics"] == {
        "first_purchase_at": "2026-02-28T12:00:00Z",
        "last_purchase_at": "2026-03-06T12:00:00Z",
        "purchase_count": 2,
        "net_revenue_minor": 10_000,
        "gross_revenue_minor": 17_500,
        "returned_minor": 5_000,
        "cancelled_minor": 2_500,
        "average_order_value_minor": 5_500,
        "returns_rate": 0.2857,
        "mean_gap_days": 6.0,
        "occasions": 2,
        "windows": [
            {"days": days, "purchase_count": 2, "net_revenue_minor": 10_000} for days in (30, 90, 365)
        ],
    }
    assert score["as_of"] == "2026-03-11T00:00:00Z", "the end of the last fact's day"
    assert score["rfm"] == {
        "recency_days": 4, "frequency": 2, "monetary_minor": 10_000,
        "r": None, "f": None, "m": None, "segment": None, "basis": None,
    }  # fmt: skip
    assert score["tier"] is None and score["value"] is None and score["calibration"] is None
    world.assert_sound()


def test_a_customer_whose_purchases_all_came_back_has_no_rfm(world: World) -> None:
    world.happens(
        world.registered("bob"), world.returned("bob", "P1", 700), world.purchase("bob", "P1", 700, NOON)
    )
    score = world.score("bob")
    assert score["rfm"] is None
    assert score["metrics"]["purchase_count"] == 0
    assert score["metrics"]["net_revenue_minor"] == 0
    world.assert_sound()


def test_an_event_delivered_twice_moves_nothing(world: World) -> None:
    batch = (
        world.registered("ann"),
        world.purchase("ann", "P1", 10_000),
        world.returned("ann", "P1", 4_000),
        world.cancelled("ann", "P1", 6_000),
    )
    world.happens(*batch)
    before = world.state()
    world.happens(*batch)
    assert world.state() == before
    world.assert_sound()


def test_an_anonymous_purchase_concerns_nobody(world: World) -> None:
    world.happens(world.purchase("nobody", "P1", 100, customer_id=None))
    assert world.state(["metrics"]) == {"metrics": []}


def test_what_comes_late_for_an_erased_customer_is_left_alone(world: World) -> None:
    from shared.events.profile import CustomerErased

    world.happens(world.registered("ann"), world.purchase("ann", "P1", 100))
    world.happens(CustomerErased(customer_id=world.customer("ann"), erased_at=NOON))
    before = world.state(["metrics"])
    world.happens(world.purchase("ann", "P2", 100), world.registered("ann"))
    assert world.state(["metrics"]) == before
    reply = world.scoring.client.get(f"/v1/customers/{world.customer('ann')}/score")
    assert (reply.status_code, reply.json()["code"]) == (410, "customer_erased")


def test_satisfaction_is_shown_beside_the_score(world: World) -> None:
    # Another topic may be faster than the customer's own registration.
    world.happens(
        world.satisfaction("ann", "unknown", "passive"), world.satisfaction("ann", "passive", "detractor")
    )
    world.happens(world.registered("ann"))
    assert world.score("ann")["satisfaction"] == {
        "state": "detractor", "measure": "nps", "since": "2026-03-10T12:00:00Z",
    }  # fmt: skip


def test_the_list_has_everybody_in_pages(world: World) -> None:
    world.happens(*(world.registered(f"c{i}") for i in range(5)))
    world.happens(*(world.purchase(f"c{i}", f"P{i}", 100 * i) for i in range(5)))
    items, cursor = [], ""
    while cursor is not None:
        page = world.scoring.client.get("/v1/scores", params={"limit": 2, "cursor": cursor}).json()
        items, cursor = items + page["items"], page["next_cursor"]
    assert [item["customer_id"] for item in items] == sorted(str(world.customer(f"c{i}")) for i in range(5))
    assert all(item == world.score(name) for name in world.customers for item in items
               if item["customer_id"] == str(world.customer(name)))  # fmt: skip


def test_a_small_base_is_banded_and_tiered_by_fixed_thresholds(world: World) -> None:
    world.happens(*(world.registered(name) for name in ("ann", "bob", "cem")))
    world.happens(
        *(world.purchase("ann", f"A{i}", 110_000, NOON - days(i)) for i in range(10)),
        world.purchase("bob", "B1", 50_000, NOON - days(100)),
        world.purchase("cem", "C1", 49_999, NOON - days(400)),
    )
    world.calibrated(MIDNIGHT)
    ann, bob, cem = (world.score(name) for name in ("ann", "bob", "cem"))
    assert (ann["rfm"]["r"], ann["rfm"]["f"], ann["rfm"]["m"], ann["rfm"]["segment"]) == (
        5,
        5,
        5,
        "champions",
    )
    assert (bob["rfm"]["r"], bob["rfm"]["f"], bob["rfm"]["m"]) == (3, 1, 3)
    assert (cem["rfm"]["r"], cem["rfm"]["f"], cem["rfm"]["m"]) == (1, 1, 2)
    assert [each["tier"]["code"] for each in (ann, bob, cem)] == ["platinum", "silver", "standard"]
    assert [each["value"]["class"] for each in (ann, bob, cem)] == ["high", "medium", "low"]
    assert ann["calibration"]["basis"] == ann["rfm"]["basis"] == "fixed"
    # 100 × (0.2 × R + 0.4 × F + 0.4 × M), each the share strictly worse; bob and cem bought once each.
    assert [each["value"]["score"] for each in (ann, bob, cem)] == [66.6667, 20.0, 0.0]
    world.assert_sound()
