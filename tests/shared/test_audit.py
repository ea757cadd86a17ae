"""The audit log as it grows: one chain, whatever happens at once, and nothing of what was taken back."""

import json
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from shared import audit


@pytest.fixture
def anchored(shop_with, tmp_path):
    return shop_with(audit_anchors=str(tmp_path / "anchors.jsonl"))


def entries(shop):
    with shop.sessions() as session:
        return session.execute(
            text("select number, action, actor, subject, facts from shared.audit_entry order by number")
        ).all()


def test_what_is_done_is_recorded_with_the_transaction_that_does_it(anchored):
    with anchored.sessions.begin() as session:
        audit.record(session, "key_issued", by="operator", subject="k-1", scopes=3, admin=False)
        audit.record(session, "key_revoked", by="operator", subject="k-0")
    with anchored.sessions() as session:
        audit.record(session, "key_issued", by="operator")
        session.rollback()
    assert entries(anchored) == [
        (1, "key_issued", "operator", "k-1", {"scopes": 3, "admin": False}),
        (2, "key_revoked", "operator", "k-0", {}),
    ]


def test_a_savepoint_takes_back_what_was_recorded_in_it(anchored):
    with anchored.sessions.begin() as session:
        audit.record(session, "kept", by="operator")
        savepoint = session.begin_nested()
        audit.record(session, "lost", by="operator")
        savepoint.rollback()
        with session.begin_nested():
            audit.record(session, "kept as well", by="operator")
    assert [entry.action for entry in entries(anchored)] == ["kept", "kept as well"]


def test_acts_at_once_make_one_chain_without_a_gap(anchored):
    barrier = threading.Barrier(8)

    def act(racer):
        barrier.wait()
        for turn in range(25):
            with anchored.sessions.begin() as session:
                audit.record(session, "acted", by=f"racer {racer}", turn=turn)

    racers = [threading.Thread(target=act, args=(number,)) for number in range(8)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    found = entries(anchored)
    assert [entry.number for entry in found] == list(range(1, 201))
    for racer in range(8):
        turns = [entry.facts["turn"] for entry in found if entry.actor == f"racer {racer}"]
        assert turns == list(range(25))


def test_every_head_is_told_outside_of_the_database(anchored):
    for number in range(3):
        with anchored.sessions.begin() as session:
            audit.record(session, "acted", by="operator", subject=f"s-{number}")
    with Path(anchored.settings.audit_anchors).open() as file:
        lines = [json.loads(line) for line in file]
    assert [(line["number"], line["action"], line["subject"]) for line in lines] == [
        (1, "acted", "s-0"),
        (2, "acted", "s-1"),
        (3, "acted", "s-2"),
    ]
    with anchored.sessions() as session:
        hashes = session.scalars(
            text("select encode(hash, 'hex') from shared.audit_entry order by number")
        ).all()
    assert [line["hash"] for line in lines] == hashes
