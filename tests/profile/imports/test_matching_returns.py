"""Returns of a file whose mapping says that their purchases are looked for."""

from tests.profile.imports.conftest import Imports, bought

ROWS = [
    bought("1", "85123A", 6, "2.55"),
    bought("2", "85123A", 6, "2.55", at="2010-12-05 08:26:00"),
    bought("3", "85123A", 6, "2.55", at="2010-12-20 08:26:00"),
    bought("4", "85123A", 6, "2.55", customer="12346.0"),
    bought("C5", "85123A", -4, "2.55", at="2010-12-10 08:26:00"),
    bought("C6", "85123A", -4, "2.55", at="2010-12-11 08:26:00"),
    bought("C7", "85123A", -4, "2.55", at="2010-12-12 08:26:00"),
    bought("C8", "85123A", -1, "1.00", at="2010-12-12 08:26:00"),
]
RULE = {"match_returns": "same_customer_sku_and_price"}


def matched(imports: Imports) -> list[tuple[str, str]]:
    return imports.ask(
        "select r.external_id, p.external_id from purchase_return r join purchase p using (purchase_id) order by 1"
    )


def test_a_mapping_may_say_that_the_purchases_of_returns_are_looked_for(imports: Imports) -> None:
    report = imports.run(ROWS, **RULE)["report"]
    assert report["returns"] == {"recorded": 4, "unchanged": 0, "rejected": 0, "unmatched": 2}
    assert matched(imports) == [("C5", "2"), ("C6", "1")]
    again = imports.run(ROWS, **RULE)["report"]
    assert again["returns"] == {"recorded": 0, "unchanged": 4, "rejected": 0, "unmatched": 2}
    assert matched(imports) == [("C5", "2"), ("C6", "1")]


def test_unless_it_says_so_they_stay_unmatched(imports: Imports) -> None:
    assert imports.run(ROWS)["report"]["returns"]["unmatched"] == 4
    assert matched(imports) == []
