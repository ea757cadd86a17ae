import itertools

from hypothesis import given
from hypothesis import strategies as st

from shared.messaging.runs import runs
from tests.shared.messaging.world import Vocabulary

VOCABULARY = Vocabulary()
EVENTS = st.lists(
    st.builds(
        lambda kind, subject: kind(subject=subject, number=0),
        st.sampled_from([VOCABULARY.happened, VOCABULARY.noticed]),
        st.sampled_from("abcde"),
    ),
    max_size=40,
)


@given(EVENTS)
def test_runs_hold_every_event_once_and_keep_the_order_of_each_key(events):
    found = runs(events)
    flat = [event for _, run in found for event in run]
    assert {id(event) for event in flat} == {id(event) for event in events}
    assert len(flat) == len(events)
    for key in "abcde":
        assert [id(event) for event in flat if event.key == key] == [
            id(event) for event in events if event.key == key
        ]
    assert all(type(event) is kind for kind, run in found for event in run)


@given(EVENTS)
def test_there_are_no_more_runs_than_the_most_restless_key_needs(events):
    changes = [0]
    for key in "abcde":
        kinds = [type(event) for event in events if event.key == key]
        changes.append(1 + sum(left is not right for left, right in itertools.pairwise(kinds)))
    assert len(runs(events)) <= max(changes) + 1
