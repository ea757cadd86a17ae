"""Clusters find the groups that are there, stay the same from run to run and say truthfully what they are."""

import json
from datetime import date

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from services.scoring.rules import clusters as c
from services.scoring.rules.features import FEATURES, POSITION, Integers, Matrix, buyers
from tests import real_file
from tests.scoring import shoppers
from tests.scoring.shoppers import KINDS

DAY, WEEK_LATER = date(2026, 11, 1), date(2026, 11, 8)


@pytest.fixture(scope="module")
def planted() -> tuple[Matrix, Matrix, Integers]:
    """Features on two days a week apart and the kind of every customer."""
    people, kind = shoppers.of_four_kinds(400, seed=1)
    return people.features(DAY), people.features(WEEK_LATER), kind


@pytest.fixture(scope="module")
def found(planted: tuple[Matrix, Matrix, Integers]) -> tuple[c.Model, Integers]:
    fitted = c.fit(planted[0])
    return fitted, c.assign(fitted, planted[0])


def kept(before: Integers, after: Integers) -> float:
    """Share of those in a cluster both times whose label is the same."""
    both = (before > 0) & (after > 0)
    return float((before == after)[both].mean())


def label_of(kind: str, kinds: Integers, labels: Integers) -> int:
    """Where most customers of a kind are."""
    return int(np.bincount(labels[kinds == KINDS.index(kind)]).argmax())


def test_the_kinds_that_are_there_are_found(
    planted: tuple[Matrix, Matrix, Integers], found: tuple[c.Model, Integers]
) -> None:
    fitted, labels = found
    assert sorted(fitted.labels) == [1, 2, 3, 4]
    own = {kind: label_of(kind, planted[2], labels) for kind in KINDS}
    assert len(set(own.values())) == 4
    assert np.mean([own[KINDS[kind]] == label for kind, label in zip(planted[2], labels, strict=True)]) > 0.95


def test_words_in_both_languages_name_what_a_kind_is_known_for(
    planted: tuple[Matrix, Matrix, Integers], found: tuple[c.Model, Integers]
) -> None:
    fitted, labels = found
    words = {each.label: each.words for each in c.describe(fitted, planted[0], labels)}
    for kind, en, zh in [
        ("regular", "buys often", "购买频繁"),
        ("bargain hunter", "buys on discount", "偏好折扣"),
        ("weekender", "buys at weekends", "周末购买"),
        ("lapsed", "has not bought for long", "很久没有购买"),
    ]:
        said = words[label_of(kind, planted[2], labels)]
        assert en in said["en"].split(", ")
        assert zh in said["zh"].split("，")


def test_every_feature_that_is_clustered_has_words_and_is_known() -> None:
    assert set(c.PHRASES) == set(c.CLUSTERED) <= set(POSITION)


def test_a_cluster_like_everybody_says_so() -> None:
    people, _ = shoppers.of_four_kinds(100, seed=2)
    matrix = people.features(DAY)
    fitted = c.fit(matrix)
    middle = c.Model(fitted.scaling, np.zeros((1, len(c.CLUSTERED))), (1,), 2, 0.0)
    (only,) = c.describe(middle, matrix, c.assign(middle, matrix))
    assert only.words == c.AVERAGE and only.leading == () and only.rule is None


def test_rules_hold_on_the_data_with_the_stated_precision_and_coverage(
    planted: tuple[Matrix, Matrix, Integers], found: tuple[c.Model, Integers]
) -> None:
    fitted, labels = found
    matrix = planted[0]
    for each in c.describe(fitted, matrix, labels):
        assert each.customers == (labels == each.label).sum()
        assert each.rule is not None
        met = np.array([read(str(each.rule), row) for row in matrix])
        members = labels == each.label
        assert each.rule.precision == (met & members).sum() / met.sum() > 0.9
        assert each.rule.coverage == (met & members).sum() / members.sum() > 0.9
        assert 1 <= len(each.rule.conditions) <= c.RULE_DEPTH


def read(rule: str, row: np.ndarray) -> bool:
    """A rule as a person reads it."""
    for condition in rule.split(" and "):
        name, operator, threshold = condition.split(" ")
        value = row[POSITION[name]]
        if not (value <= float(threshold) if operator == "<=" else value > float(threshold)):
            return False
    return True


def test_labels_stay_while_the_data_grow_by_a_week(
    planted: tuple[Matrix, Matrix, Integers], found: tuple[c.Model, Integers]
) -> None:
    before, labels = found
    after = c.fit(planted[1], before)
    assert after.labels == before.labels and after.next_label == before.next_label
    assert kept(labels, c.assign(after, planted[1])) > 0.98


def test_the_order_of_the_customers_changes_nothing(
    planted: tuple[Matrix, Matrix, Integers], found: tuple[c.Model, Integers]
) -> None:
    fitted, labels = found
    order = np.random.default_rng(3).permutation(len(labels))
    shuffled = c.fit(planted[0][order])
    assert shuffled.as_data() == fitted.as_data()
    assert_array_equal(c.assign(shuffled, planted[0][order]), labels[order])
    assert c.describe(shuffled, planted[0][order], labels[order]) == c.describe(fitted, planted[0], labels)


def test_nor_does_it_where_only_a_sample_is_looked_at(
    planted: tuple[Matrix, Matrix, Integers], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(c, "SAMPLE", 500)
    order = np.random.default_rng(4).permutation(len(planted[0]))
    fitted = c.fit(planted[0])
    assert c.fit(planted[0][order]).as_data() == fitted.as_data()
    assert len(fitted.labels) == 4


def test_a_kind_that_was_not_there_before_gets_a_label_of_its_own() -> None:
    people, kind = shoppers.of_four_kinds(300, seed=5)
    matrix = people.features(DAY)
    without = matrix[kind != KINDS.index("weekender")]
    before = c.fit(without)
    after = c.fit(matrix, before)
    labels = c.assign(after, matrix)
    new = label_of("weekender", kind, labels)
    assert new == before.next_label and after.next_label == new + 1
    assert kept(c.assign(before, without), labels[kind != KINDS.index("weekender")]) > 0.95


def test_a_label_that_is_gone_is_not_given_to_another_cluster() -> None:
    people, kind = shoppers.of_four_kinds(300, seed=6)
    matrix = people.features(DAY)
    before = c.fit(matrix)
    gone = label_of("weekender", kind, c.assign(before, matrix))
    after = c.fit(matrix[kind != KINDS.index("weekender")], before)
    assert gone not in after.labels
    again = c.fit(matrix, after)
    assert gone not in again.labels and len(set(again.labels)) == len(again.labels)


def test_matching_finds_the_clusters_again_in_any_order() -> None:
    previous = np.random.default_rng(7).normal(0, 2, (5, 13))
    order = np.array([3, 0, 4, 1, 2])
    moved = previous[order] + 0.1
    assert c.match(previous, moved, 13) == list(order)


def test_a_cluster_too_far_from_all_previous_ones_is_new() -> None:
    previous = np.zeros((2, 4))
    previous[1] = 5
    apart = c.SAME_CLUSTER
    assert c.match(previous, np.array([[apart * 0.99] * 4, [5 + apart * 1.01] * 4]), 4) == [0, None]
    # Of two that are like one, the nearer: that it is nearer to a hopeless one as well does not count.
    assert c.match(previous * 2, np.array([[0.1] * 4, [-0.4] * 4]), 4) == [0, None]


def test_one_customer_is_assigned_as_all_are(
    planted: tuple[Matrix, Matrix, Integers], found: tuple[c.Model, Integers], monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted, labels = found
    stored = c.model(json.loads(json.dumps(fitted.as_data())))
    assert stored.as_data() == fitted.as_data()
    alone = [c.assign(stored, planted[0][i : i + 1])[0] for i in range(len(labels))]
    assert_array_equal(alone, labels)
    monkeypatch.setattr(c, "CHUNK", 7)
    assert_array_equal(c.assign(stored, planted[0]), labels)


def test_one_without_a_purchase_that_counts_is_in_no_cluster(
    planted: tuple[Matrix, Matrix, Integers], found: tuple[c.Model, Integers]
) -> None:
    nobody = np.full((3, len(FEATURES)), np.nan)
    together = np.vstack([planted[0], nobody])
    assert list(c.assign(found[0], nobody)) == [0, 0, 0]
    assert c.fit(together).as_data() == found[0].as_data()


def test_too_little_to_group_says_why(planted: tuple[Matrix, Matrix, Integers]) -> None:
    matrix = planted[0]
    assert c.insufficient(matrix) == []
    assert c.insufficient(matrix[:199]) == ["too_few_customers"]
    assert c.insufficient(np.tile(matrix[:1], (500, 1))) == ["no_spread"]
    assert c.insufficient(np.tile(matrix[:8], (50, 1))) == ["no_spread"]
    one_feature = np.tile(matrix[:1], (500, 1))
    one_feature[:, POSITION["recency_days"]] = np.arange(500)
    assert c.insufficient(one_feature) == ["no_spread"]
    with pytest.raises(ValueError, match="too_few_customers"):
        c.fit(matrix[:199])


@pytest.mark.skipif(not real_file.FILE.exists(), reason=f"the public retail file is not at {real_file.FILE}")
def test_clusters_of_the_real_file_are_found_again_a_month_later() -> None:
    people = shoppers.of_the_real_file()
    first, second = people.features(date(2011, 11, 9)), people.features(date(2011, 12, 9))
    before = c.fit(first)
    after = c.fit(second, before)
    labels, later = c.assign(before, first), c.assign(after, second)
    assert set(after.labels) == set(before.labels)
    # In a month many customers do become others: lapse, come back, grow.
    assert kept(labels, later) > 0.75
    assert kept(labels, c.assign(c.fit(second), second)) < kept(labels, later)
    descriptions = c.describe(after, second, later)
    assert sum(each.customers for each in descriptions) == buyers(second).sum()
    assert len({each.words["en"] for each in descriptions}) == len(descriptions)
    assert all(each.rule is not None and each.rule.precision > 0.5 for each in descriptions)
