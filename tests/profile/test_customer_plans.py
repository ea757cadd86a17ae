"""However many customers there are, a page of them is found by indexes: nothing reads a whole table."""

from datetime import UTC, datetime, timedelta

import pytest

from services.profile.app import SERVICE
from tests.profile.conftest import Profile
from tests.profile.population import people, populate

CUSTOMERS = 12_000
# Definitions and policies are small and may be read whole.
LARGE = (
    "customer",
    "customer_external_id",
    "customer_token",
    "customer_measure",
    "purchase",
    "purchase_line",
    "purchase_return",
    "consent",
    "subject_key",
)


@pytest.fixture
def crowd(service):
    profile = Profile(service(SERVICE))
    with profile.under_test.sessions() as session:
        populate(session, CUSTOMERS)
        session.commit()
    profile.client.put("/v1/attributes/height", json={"type": "number"})
    profile.client.put("/v1/attributes/colour", json={"type": "text"})
    return profile


def read_whole(profile):
    rows = profile.ask(
        "select relname, seq_scan from pg_stat_xact_user_tables where relname = any(:large)",
        large=list(LARGE),
    )
    return {row.relname: row.seq_scan for row in rows}


def customers_fetched(profile):
    [row] = profile.ask("select idx_tup_fetch from pg_stat_xact_user_tables where relname = 'customer'")
    return row.idx_tup_fetch


def test_no_list_search_or_overview_reads_a_whole_table(crowd):
    somebody = next(iter(people(CUSTOMERS, datetime.now(UTC))))
    ago = {
        days: (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
        for days in (3, 30, 900)
    }
    lists = (
        "",
        "&country=CN",
        "&country=NZ&tier=platinum",
        "&tag=t7&region=CN-3",
        "&gender=female&interest=tea&interest=music",
        "&city=US-17&city=GB-3",
        "&attribute=colour:red&tier=gold",
        "&attribute_gte=height:195&country=DE",
        f"&last_purchase_at_gte={ago[3]}",
        f"&last_purchase_at_lt={ago[900]}",
        f"&last_purchase_at_gte={ago[30]}&tier=gold",
        f"&created_at_gte={ago[3]}",
        "&source=shop&external_id=p77",
    )
    searches = (
        {"email": somebody.email},
        {"phone": somebody.phone},
        {"name": "James Smith"},
        {"name": "Smith"},
        {"name": "王伟"},
        {"external_id": {"external_id": "p77"}},
        {"email": "nobody@example.com"},
    )
    before = read_whole(crowd)
    for query in lists:
        cursor = ""
        for _ in range(2):
            reply = crowd.client.get(f"/v1/customers?limit=50{query}{cursor}")
            assert reply.status_code == 200, reply.text
            assert read_whole(crowd) == before, query
            if reply.json()["next_cursor"] is None:
                break
            cursor = f"&cursor={reply.json()['next_cursor']}"
    for known in searches:
        fetched = customers_fetched(crowd)
        reply = crowd.client.post("/v1/customers/search", json=known)
        assert reply.status_code == 200, reply.text
        assert bool(reply.json()["items"]) == (known.get("email") != "nobody@example.com")
        assert read_whole(crowd) == before, known
        assert customers_fetched(crowd) - fetched < 200, known  # a page's worth, however frequent the name
    found = crowd.client.post("/v1/customers/search", json={"email": somebody.email}).json()["items"]
    assert [one["name"] for one in found] == [somebody.name]
    for path in (f"{found[0]['id']}/overview", f"{found[0]['id']}/timeline", "due"):
        assert crowd.client.get(f"/v1/customers/{path}").status_code == 200
        assert read_whole(crowd) == before, path
