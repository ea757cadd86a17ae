"""The very first event of a database: its id is the one that the sequence names before it was used."""

from shared.messaging.relay import LowWater


def test_the_low_water_mark_of_an_unused_outbox_lies_below_its_first_id(fresh_database) -> None:
    from shared.database import open_engine

    engine = open_engine(fresh_database("profile"), pool_size=1)
    with engine.connect() as plain:
        connection = plain.execution_options(isolation_level="AUTOCOMMIT")
        low = LowWater()
        for _ in range(4):
            low.raise_if_safe(connection)
        first = connection.exec_driver_sql("select nextval('shared.outbox_id_seq')").scalar_one()
    engine.dispose()
    assert low.id < first
