import pytest

from shared import languages


@pytest.mark.parametrize(
    ("asked", "customer", "accepted", "language"),
    [
        ("en", "zh", "zh", "en"),
        (None, "zh-CN", "en-GB,en;q=0.9", "zh"),
        (None, "de", "fr, zh;q=0.8, en;q=0.5", "zh"),
        (None, None, "zh-TW,zh;q=0.9,en;q=0.8", "zh"),
        ("xx", "fr", "de", "en"),
        (None, None, "en;q=nonsense,zh;q=0.1", "zh"),
        (None, None, None, "en"),
    ],
)
def test_a_page_speaks_the_language_asked_for_then_the_customers_then_the_browsers(
    asked, customer, accepted, language
):
    assert languages.chosen(asked, customer, accepted) == language
