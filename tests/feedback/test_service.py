"""What the suite expects of every service, kept by this one."""

from services.feedback.app import SERVICE
from shared import migrate


def test_the_tables_in_code_are_the_migrated_database(fresh_database):
    assert migrate.check(fresh_database("feedback"), migrate.chains("feedback", SERVICE.migrations)[1]) == []


def test_the_invariants_hold_after_a_full_day(world):
    world.survey(throttle_days=0)
    for score in range(11):
        _, path = world.invited(tier="gold")
        world.answer(path, score, "…")
    for name, query in SERVICE.invariants.items():
        assert [tuple(row) for row in world.execute(query)] == [(True,)], name


def test_the_invariants_notice_what_went_wrong(world):
    world.survey()
    _, path = world.invited()
    world.answer(path, 1)
    world.execute("update customer_case set answer_id = null")
    world.execute("update satisfaction set score = 9")
    world.execute("update answer set recorded_customer_id = gen_random_uuid()")
    assert {name: world.execute(query)[0][0] for name, query in SERVICE.invariants.items()} == dict.fromkeys(
        SERVICE.invariants, False
    )


def state(world):
    return {name: sorted(row[0] for row in world.execute(query)) for name, query in SERVICE.state.items()}


def test_the_state_is_told_by_natural_keys(world):
    world.survey()
    _, path = world.invited(tier="gold")
    world.answer(path, 3, "…")
    assert state(world) == {
        "customers": ["shop:1|person|zh|active"],
        "tiers": ["shop:1|gold"],
        "surveys": ["After a purchase|nps|purchase|90|0|active"],
        "invitations": ["shop:1|After a purchase|1"],
        "answers": ["shop:1|After a purchase|3"],
        "satisfaction": ["shop:1|detractor|3"],
        "cases": ["shop:1|complaint|normal|survey|open|0|0"],
    }


def test_every_operation_has_a_name_scopes_and_a_summary(world):
    document = world.client.get("/openapi.json").json()
    operations = [o for path in document["paths"].values() for o in path.values() if isinstance(o, dict)]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    assert {"create_survey", "get_survey_results", "list_cases", "look_up_invitation_links"} <= set(names)
    assert all(operation["summary"] for operation in operations)
    assert not any("/s/" in path for path in document["paths"])
