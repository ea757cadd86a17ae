"""Nothing that is bound to a person escapes an access request or an erasure: every table and column is accounted for."""

import pytest

from services.profile.domain.erasure import _STATEMENTS
from services.profile.domain.holdings import DELETE, HOLDINGS, KEEP, LEFT_OUT
from services.profile.tables import metadata

_LEADS_TO_SOMEBODY = ("customer_id", "winner_id", "loser_id", "first_id", "second_id")
_BLIND_TO = {"api_key"}  # an HMAC of a key, nobody's data


def about_somebody(table):
    """Whether a table tells of customers: by an id, a seal, a token, or a parent that does."""
    for column in table.columns:
        if column.name.endswith(("_sealed", "_token", "sealed")) or column.name in (
            "token",
            *_LEADS_TO_SOMEBODY,
        ):
            return True
    return any(
        key.column.table is not table and about_somebody(key.column.table)
        for column in table.columns
        for key in column.foreign_keys
    )


def test_every_table_about_customers_is_a_section_or_left_out_for_a_reason():
    bound = {name for name, table in metadata.tables.items() if about_somebody(table)} - _BLIND_TO
    held = [holding.table_name for holding in HOLDINGS]
    assert len(held) == len(set(held)) and not set(held) & set(LEFT_OUT)
    missing = bound - set(held) - set(LEFT_OUT)
    assert not missing, f"say in domain/holdings.py what an access request shows of {sorted(missing)}"
    assert not (set(held) | set(LEFT_OUT)) - set(metadata.tables), "tables that are no more"


@pytest.mark.parametrize("holding", HOLDINGS, ids=lambda holding: holding.section)
def test_every_column_is_shown_or_hidden_for_a_reason(holding):
    columns = {column.name for column in holding.table.columns}
    assert set(holding.hidden) <= columns
    assert all(holding.hidden.values())
    assert not [name for name in holding.hidden if name.endswith("_sealed")], "what is sealed is personal"
    assert {*holding.owners, holding.subject} <= {column.name for column in holding.bound_to.columns}
    if holding.parent:
        assert holding.parent[1] in columns


@pytest.mark.parametrize("holding", HOLDINGS, ids=lambda holding: holding.section)
def test_an_erasure_leaves_no_seal_and_no_token(holding):
    """Ids and amounts may stay; what was sealed is emptied, and what is blind does not lead from one life to the next."""
    if holding.erasure == DELETE:
        return
    emptied = set() if holding.erasure == KEEP else set(holding.erasure) | set(holding.sealed)
    blind = {column.name for column in holding.table.columns if column.name.endswith(("token", "_sealed"))}
    assert blind <= emptied


def test_what_is_left_out_of_the_copy_is_not_left_out_of_the_erasure():
    told = " ".join(str(statement) for statement in _STATEMENTS)
    for table, reason in LEFT_OUT.items():
        if "deleted by an erasure" in reason:
            assert f"delete from {table} " in told


def test_of_the_customers_own_row_an_erasure_leaves_an_id_and_dates():
    holding = next(holding for holding in HOLDINGS if holding.table_name == "customer")
    emptied = set(holding.erasure) | set(holding.sealed)
    left = {column.name for column in holding.table.columns} - emptied
    made_of_the_others = {column.name for column in holding.table.columns if column.computed is not None}
    assert left - made_of_the_others == {"customer_id", "kind", "registered_at", "created_at", "updated_at"}
