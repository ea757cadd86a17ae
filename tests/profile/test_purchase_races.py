"""Purchases told by many at once, and over connections that break."""

from tests.profile.conftest import at_once, line


def test_one_new_purchase_of_one_new_customer_told_by_many_at_once_is_recorded_once(committing):
    for order in range(12):
        replies = at_once(
            lambda _, order=order: committing.buy(
                f"{order}", customer={"source": "shop", "external_id": f"c{order}"}
            )
        )
        assert sorted(reply.status_code for reply in replies) == [200] * 7 + [201]
        assert len({reply.json()["id"] for reply in replies}) == 1
    assert committing.ask("select count(*) from purchase") == [(12,)]
    assert committing.ask("select count(*) from customer") == [(12,)]
    assert len(committing.announced("purchase_recorded")) == 12
    assert len(committing.announced("customer_registered")) == 12
    committing.holds()


def test_of_two_versions_told_at_once_one_stands_and_the_others_are_refused(committing):
    committing.customer()
    for order in range(8):
        replies = at_once(lambda number, order=order: committing.buy(f"{order}", line(quantity=number + 1)))
        assert sorted(reply.status_code for reply in replies) == [201] + [409] * 7
    assert len(committing.announced("purchase_recorded")) == 8


def test_many_purchases_of_one_new_customer_at_once_make_one_customer(committing):
    replies = at_once(lambda number: committing.buy(f"{number}"))
    assert {reply.status_code for reply in replies} == {201}
    assert len({reply.json()["customer_id"] for reply in replies}) == 1
    assert committing.ask("select count(*) from customer") == [(1,)]


def test_two_first_purchases_in_two_currencies_agree_on_one(committing):
    replies = at_once(lambda number: committing.buy(f"{number}", currency=["CNY", "GBP"][number % 2]))
    assert sorted(reply.status_code for reply in replies) == [201] * 4 + [422] * 4
    assert len({reply.json()["currency"] for reply in replies if reply.status_code == 201}) == 1
    committing.holds()


def test_a_lost_connection_is_an_unavailable_database_and_the_next_request_finds_another(committing):
    for number in range(3):
        committing.buy(f"before-{number}")
    with committing.under_test.engine.connect() as killer:
        killer.exec_driver_sql(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
    replies = [committing.buy(f"after-{number}") for number in range(40)]
    assert {reply.status_code for reply in replies} <= {201, 503}
    assert replies[-1].status_code == 201
    recorded = committing.ask("select count(*) from purchase where external_id like 'after-%'")[0][0]
    assert recorded == sum(reply.status_code == 201 for reply in replies)
    assert recorded == len(committing.announced("purchase_recorded")) - 3
