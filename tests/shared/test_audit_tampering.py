"""A superuser of the database against the audit log: 100 times something is changed, 100 times it shows."""

import json
import random
from pathlib import Path

import pytest
from sqlalchemy import text

from shared import audit
from shared.audit.verification import verify

LENGTH = 40


@pytest.fixture
def log(shop_with, tmp_path):
    shop = shop_with(audit_anchors=str(tmp_path / "anchors.jsonl"))
    for number in range(LENGTH // 2):
        with shop.sessions.begin() as session:
            audit.record(session, "issued", by="operator", subject=f"k-{number}", scopes=number)
            audit.record(
                session, "revoked", by="operator" if number % 2 else "auditor", subject=f"k-{number}"
            )
    return shop


def changes(chance):
    """SQL of a superuser: an edit, a removal, an addition or a reordering of entries, heads and all."""
    one, other = chance.sample(range(1, LENGTH + 1), 2)
    low, high = min(one, other), max(one, other)
    shift = f"update shared.audit_entry set number = number - 1 where number > {one}"
    last = "update shared.audit_head set (number, hash) = (select number, hash from shared.audit_entry order by number desc limit 1)"
    return {
        "edit who": [f"update shared.audit_entry set actor = 'nobody' where number = {one}"],
        "edit what": [f"update shared.audit_entry set action = 'seen' where number = {one}"],
        "edit when": [f"update shared.audit_entry set at = at - interval '1 us' where number = {one}"],
        "edit subject": [f"update shared.audit_entry set subject = null where number = {one}"],
        "edit facts": [f"update shared.audit_entry set facts = facts || '{{\"scopes\": 99}}' where number = {one}"],
        "edit hash": [f"update shared.audit_entry set hash = sha256(hash) where number = {one}"],
        "delete": [f"delete from shared.audit_entry where number = {one}", last],
        "delete and close up": [f"delete from shared.audit_entry where number = {one}", shift, last],
        "delete several": [f"delete from shared.audit_entry where number between {low} and {high}", last],
        "cut off the tail": [f"delete from shared.audit_entry where number >= {one}"],
        "cut off the tail and set the head": [f"delete from shared.audit_entry where number >= {high}", last],
        "cut off the beginning": [f"delete from shared.audit_entry where number <= {low}"],
        "truncate": ["truncate shared.audit_entry"],
        "truncate and forget the head": ["truncate shared.audit_entry", "truncate shared.audit_head"],
        "truncate and begin again": [
            "truncate shared.audit_entry",
            "update shared.audit_head set number = 0, hash = decode(repeat('00', 32), 'hex')",
        ],
        "set the head back": [f"update shared.audit_head set number = {low}"],
        "forget the head": ["delete from shared.audit_head"],
        "add": [
            (f"insert into shared.audit_entry select {LENGTH + 1}, at, action, actor, subject, facts, hash"
            f" from shared.audit_entry where number = {one}"),
            last,
        ],
        "add in between": [
            f"update shared.audit_entry set number = -number where number > {one}",
            "update shared.audit_entry set number = 1 - number where number < 0",
            (f"insert into shared.audit_entry select {one} + 1, at, 'issued', 'nobody', null, '{{}}', sha256(hash)"
            f" from shared.audit_entry where number = {one}"),
            last,
        ],
        "add before": [
            (f"insert into shared.audit_entry select 0, at, action, actor, subject, facts, hash"
            f" from shared.audit_entry where number = {one}")
        ],
        "exchange": [
            (f"update shared.audit_entry set number = case number when {one} then -{other} else -{one} end"
            f" where number in ({one}, {other})"),
            "update shared.audit_entry set number = -number where number < 0",
            last,
        ],
        "exchange what is said": [
            (f"update shared.audit_entry e set (at, action, actor, subject, facts) ="
            f" (select at, action, actor, subject, facts from shared.audit_entry o where o.number ="
            f" case e.number when {one} then {other} else {one} end) where number in ({one}, {other})")
        ],
        "say one twice": [
            (f"update shared.audit_entry e set (at, action, actor, subject, facts, hash) ="
            f" (select at, action, actor, subject, facts, hash from shared.audit_entry o where o.number = {one})"
            f" where number = {other}"),
            last,
        ],
        "count twice": [
            "alter table shared.audit_entry drop constraint pk_audit_entry",
            f"insert into shared.audit_entry select * from shared.audit_entry where number = {one}",
        ],
        "turn around": [f"update shared.audit_entry set number = {LENGTH + 1} - number + 1000",
                        "update shared.audit_entry set number = number - 1000", last],
    }  # fmt: skip


def found(shop, session):
    return [finding.code for finding in verify(session, {}).findings]


def test_of_100_tamperings_by_a_superuser_100_are_noticed(log):
    noticed: dict[str, list[bool]] = {}
    with log.sessions() as session:
        assert found(log, session) == []
    for turn in range(4):
        chance = random.Random(turn)
        for name, statements in changes(chance).items():
            with log.sessions() as session:
                session.execute(text("set local session_replication_role = replica"))
                for statement in statements:
                    session.execute(text(statement))
                noticed.setdefault(name, []).append(bool(found(log, session)))
                session.rollback()
    with log.sessions() as session:
        assert found(log, session) == [], "every one was taken back"
    assert sum(map(len, noticed.values())) >= 100
    assert [name for name, times in noticed.items() if not all(times)] == []


def test_a_part_is_verified_like_the_whole(log):
    reply = log.client.get("/v1/audit/verification", params={"first": 11}).json()
    assert (reply["intact"], reply["first"], reply["last"], reply["entries"]) == (True, 11, LENGTH, 30)
    assert (reply["anchors"], reply["complete"], reply["findings"]) == (30, True, [])
    with log.sessions.begin() as session:
        session.execute(text("update shared.audit_entry set actor = 'nobody' where number = 12"))
    reply = log.client.get("/v1/audit/verification", params={"first": 11}).json()
    assert [(one["code"], one["number"]) for one in reply["findings"]] == [("entry_changed", 12)]
    assert log.client.get("/v1/audit/verification", params={"first": 13}).json()["intact"]


def test_an_anchor_that_nobody_told_is_noticed(log):
    anchors = Path(log.settings.audit_anchors)
    anchors.write_text(anchors.read_text().replace('"action": "issued"', '"action": "revoked"', 1))
    with log.sessions() as session:
        assert found(log, session) == ["anchor_forged"]


def test_anchors_gathered_from_the_log_stream_do_as_well(log, tmp_path):
    lines = Path(log.settings.audit_anchors).read_text().splitlines()
    gathered = tmp_path / "stream.log"
    gathered.write_text(
        "".join(json.dumps({"event": "audit_anchor", "anchor": json.loads(line)}) + "\n" for line in lines)
        + 'no JSON\n{"event": "other"}\n'
    )
    with log.sessions() as session:
        assert verify(session, {}, file=str(gathered)).anchors == LENGTH
        session.execute(text("delete from shared.audit_entry where number > 30"))
        session.execute(
            text(
                "update shared.audit_head set (number, hash) = (select number, hash from shared.audit_entry where number = 30)"
            )
        )
        assert [one.code for one in verify(session, {}, file=str(gathered)).findings] == ["cut_off"]


def test_the_log_is_read_newest_first_and_by_who_what_and_when(log):
    def read(**filters):
        return log.client.get("/v1/audit", params=filters).json()["items"]

    assert [one["number"] for one in read(limit=3)] == [40, 39, 38]
    assert [one["number"] for one in read(subject="k-7")] == [16, 15]
    assert {one["by"] for one in read(by="auditor")} == {"auditor"}
    assert {one["action"] for one in read(action="issued")} == {"issued"}
    assert read(action=["issued", "revoked"], limit=200) == read(limit=200)
    moment = read(subject="k-7")[0]["at"]
    assert {one["number"] for one in read(at_lt=moment, limit=200)} <= set(range(1, 17))
    first = log.client.get("/v1/audit", params={"limit": 25}).json()
    rest = log.client.get("/v1/audit", params={"limit": 25, "cursor": first["next_cursor"]}).json()
    assert [one["number"] for one in first["items"] + rest["items"]] == list(range(40, 0, -1))


def test_a_key_that_was_replaced_still_verifies_what_it_wrote(log, shop_with):
    old = log.settings.audit_key
    with log.sessions() as session:
        session.info["settings"] = log.settings.model_copy(
            update={"audit_key": f"another-key-of-enough-length,{old}"}
        )
        audit.record(session, "issued", by="operator")
        session.commit()
        assert verify(session, {}).findings == []
        session.info["settings"] = log.settings.model_copy(
            update={"audit_key": "another-key-of-enough-length"}
        )
        assert not verify(session, {}).intact
