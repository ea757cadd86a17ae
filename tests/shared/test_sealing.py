import threading
from uuid import uuid4

import pytest
from sqlalchemy import text

from shared import sealing
from shared.errors import Gone
from shared.sealing import Keyring, SealBroken

PLACE = "customer.name:1"


def test_what_was_sealed_is_read_again_and_not_in_clear(sessions):
    with sessions.begin() as session:
        sealed = sealing.seal(session, "wang", PLACE, "王芳")
        assert "王芳".encode() not in sealed
        assert sealing.seal(session, "wang", PLACE, "王芳") != sealed
    with sessions() as session:
        assert sealing.unseal(session, "wang", PLACE, sealed) == "王芳"
        assert sealing.unseal(session, "wang", PLACE, None) is None


@pytest.mark.parametrize(
    ("subject", "place"), [("li", PLACE), ("wang", "customer.name:2"), ("wang", "customer.email:1")]
)
def test_a_sealed_value_opens_for_its_subject_and_place_only(sessions, subject, place):
    with sessions.begin() as session:
        sealed = sealing.seal(session, "wang", PLACE, "王芳")
        sealing.seal(session, "li", PLACE, "李雷")
        with pytest.raises(SealBroken):
            sealing.unseal(session, subject, place, sealed)


def test_a_changed_value_does_not_open(sessions):
    with sessions.begin() as session:
        sealed = sealing.seal(session, "wang", PLACE, "王芳")
        for broken in (
            sealed[:-1],
            sealed[:-1] + bytes([sealed[-1] ^ 1]),
            b"\x02" + sealed[1:],
            b"",
            b"\x01",
        ):
            with pytest.raises(SealBroken):
                sealing.unseal(session, "wang", PLACE, broken)


def test_destroying_the_key_destroys_everything_sealed_under_it_for_ever(sessions):
    with sessions.begin() as session:
        wang, li = sealing.seal_many(session, [("wang", PLACE, "王芳"), ("li", PLACE, "李雷")])
        sealing.destroy(session, "wang")
        assert sealing.unseal(session, "wang", PLACE, wang) is None
    with sessions.begin() as session:
        assert sealing.unseal_many(session, [("wang", PLACE, wang), ("li", PLACE, li)]) == [None, "李雷"]
        with pytest.raises(Gone) as refused:
            sealing.seal(session, "wang", PLACE, "王芳")
        assert refused.value.code == "subject_erased"
        sealing.destroy(session, "wang")
        sealing.destroy(session, "never seen")
        with pytest.raises(Gone):
            sealing.seal(session, "never seen", PLACE, "x")
        assert session.scalar(text("select count(*) from shared.subject_key where wrapped is not null")) == 1


def test_many_subjects_take_few_statements(shop):
    from sqlalchemy import event

    statements = []
    event.listen(shop.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    names = [(str(uuid4()), f"customer.name:{number}", f"Customer {number}") for number in range(1000)]
    with shop.sessions.begin() as session:
        sealed = sealing.seal_many(session, names)
        again = sealing.seal_many(session, names)
    assert len(statements) == 1
    statements.clear()
    with shop.sessions() as session:
        wanted = [
            (subject, place, content) for (subject, place, _), content in zip(names, again, strict=True)
        ]
        assert sealing.unseal_many(session, wanted) == [plain for _, _, plain in names]
    assert len(statements) == 1
    assert len(set(sealed)) == 1000


def test_a_key_made_in_a_savepoint_that_is_rolled_back_is_forgotten_with_it(sessions):
    with sessions.begin() as session:
        session.connection()
        savepoint = session.begin_nested()
        sealing.seal(session, "wang", PLACE, "lost")
        savepoint.rollback()
        sealed = sealing.seal(session, "wang", PLACE, "kept")
    with sessions() as session:
        assert sealing.unseal(session, "wang", PLACE, sealed) == "kept"


def test_two_transactions_that_seal_for_a_new_subject_at_once_share_its_key(sessions):
    sealed, barrier = {}, threading.Barrier(8)

    def seal(number):
        barrier.wait()
        with sessions.begin() as session:
            sealed[number] = sealing.seal(session, "wang", PLACE, str(number))

    racers = [threading.Thread(target=seal, args=(number,)) for number in range(8)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    with sessions() as session:
        assert [sealing.unseal(session, "wang", PLACE, sealed[number]) for number in range(8)] == list(
            "01234567"
        )


def test_a_new_key_of_the_environment_wraps_and_the_old_one_can_go(sessions):
    old, new = bytes(range(32)), bytes(range(1, 33))
    with sessions.begin() as session:
        sealed = sealing.seal(session, "wang", PLACE, "王芳")
        sealing.destroy(session, "gone")
    both = Keyring({"k2": new, "k1": old})
    with sessions.begin() as session:
        session.info["keyring"] = both
        assert sealing.unseal(session, "wang", PLACE, sealed) == "王芳"
        assert sealing.rewrap(session) == 1
        assert sealing.rewrap(session) == 0
    with sessions() as session:
        session.info["keyring"] = Keyring({"k2": new})
        assert sealing.unseal(session, "wang", PLACE, sealed) == "王芳"
    with sessions() as session:
        session.info["keyring"] = Keyring({"k1": old})
        with pytest.raises(SealBroken):
            sealing.unseal(session, "wang", PLACE, sealed)
