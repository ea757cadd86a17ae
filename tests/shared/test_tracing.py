import re

import pytest

from shared import tracing

VALID = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


def test_a_trace_goes_on_with_a_span_of_its_own():
    ours = tracing.continue_trace(VALID)
    assert ours[:36] == VALID[:36]
    assert ours[36:52] != VALID[36:52]
    assert ours.endswith("-01")


@pytest.mark.parametrize(
    "received",
    [None, "", "nonsense", VALID.upper(), VALID + "-x", "00-" + "0" * 32 + VALID[35:], VALID[:36] + "0" * 16 + "-01", "ff" + VALID[2:]],
)  # fmt: skip
def test_what_is_no_trace_is_not_followed(received):
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", tracing.continue_trace(received))
    assert "a" * 32 not in tracing.continue_trace(received)
