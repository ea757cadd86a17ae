from types import SimpleNamespace

from shared.blind_indexes import blind, blind_many, tokens

KEY = "a-blind-index-key-that-only-tests-know"


def session_with(key):
    return SimpleNamespace(info={"settings": SimpleNamespace(blind_index_key=key)})


def test_the_same_value_of_the_same_field_gives_the_same_token():
    session = session_with(KEY)
    assert blind(session, "email", "wang@example.com") == blind(session, "email", "wang@example.com")
    assert len(blind(session, "email", "wang@example.com")) == 16


def test_another_value_field_or_key_gives_another_token():
    session = session_with(KEY)
    tokens = {
        blind(session, "email", "wang@example.com"),
        blind(session, "email", "li@example.com"),
        blind(session, "phone", "wang@example.com"),
        blind(session_with(KEY + "!"), "email", "wang@example.com"),
    }
    assert len(tokens) == 4


def test_a_token_cannot_be_made_without_the_key_nor_the_value_be_read_in_it():
    made = blind(session_with(KEY), "name", "王芳")
    assert "王芳".encode() not in made
    assert made != tokens("", "name", ["王芳"])[0]


def test_many_values_keep_their_order():
    session = session_with(KEY)
    values = ["wang", "li", "wang", ""]
    assert blind_many(session, "name", values) == [blind(session, "name", value) for value in values]
