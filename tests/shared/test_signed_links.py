"""Links that open one thing, for whoever holds them."""

import string
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from shared import signed_links

KEY = b"a key of the company that signs its links"
SURVEY, OTHER = "regulars/feedback/invitation/v1", "regulars/profile/preferences/v1"


@given(st.binary(min_size=1, max_size=100))
def test_a_token_opens_what_it_was_made_for(about):
    assert signed_links.opened(SURVEY, signed_links.token(SURVEY, about, KEY), [KEY]) == about


@given(
    st.uuids(),
    st.integers(min_value=0, max_value=42),
    st.sampled_from(string.ascii_letters + string.digits + "-_"),
)
def test_a_token_with_any_other_character_opens_nothing(about, place, character):
    token = signed_links.token(SURVEY, about.bytes, KEY)
    changed = token[:place] + character + token[place + 1 :]
    assert changed == token or signed_links.opened(SURVEY, changed, [KEY]) is None


@given(st.text(max_size=500))
def test_no_text_of_a_strangers_making_opens_anything(text):
    assert signed_links.opened(SURVEY, text, [KEY]) is None


@given(st.uuids())
def test_a_link_for_one_thing_opens_no_other(about):
    assert signed_links.opened(OTHER, signed_links.token(SURVEY, about.bytes, KEY), [KEY]) is None


def test_a_replaced_key_goes_on_opening_old_links_until_it_is_taken_away():
    about = uuid4().bytes
    token = signed_links.token(SURVEY, about, b"the old key")
    assert signed_links.opened(SURVEY, token, signed_links.keys_of("the new key, the old key")) == about
    assert signed_links.opened(SURVEY, token, signed_links.keys_of("the new key")) is None


def test_a_token_fits_in_a_message():
    assert len(signed_links.token(SURVEY, UUID(int=0).bytes, KEY)) == 43
