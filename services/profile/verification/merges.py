"""What must always be true of customers who were merged, and of what belongs to them."""

from services.profile.domain.merges import MOVES

# Whom each customer answers as, by the merges that last. Whoever is on a circle of merges is missing.
_ROOTS = """with recursive answers as (
        select c.customer_id, c.customer_id as root_id from customer c
        where not exists (select from merge m where m.loser_id = c.customer_id and m.undone_at is null)
        union all
        select m.loser_id, a.root_id from answers a
        join merge m on m.winner_id = a.customer_id and m.undone_at is null
    )"""

_MISPLACED = "\n        union all ".join(
    f"""select from {table} t left join answers a on a.customer_id = t.recorded_customer_id
        where t.customer_id is distinct from a.root_id"""
    for table in MOVES
)
_OF_THE_MERGED = "\n        union all ".join(
    f"select from {table} t join customer c using (customer_id) where c.state = 'merged'" for table in MOVES
)

INVARIANTS: dict[str, str] = {
    "merges_form_a_forest": f"""
        {_ROOTS}
        select (select count(*) from answers) = (select count(*) from customer)""",
    "merged_customers_answer_as_the_root_of_their_merges": f"""
        {_ROOTS}
        select not exists (
            select from customer c join answers a using (customer_id) left join customer r on r.customer_id = c.merged_into
            where c.state <> 'erased'
                and (coalesce(c.merged_into, c.customer_id) <> a.root_id or coalesce(r.state, 'active') <> 'active')
        )""",
    "facts_belong_to_whom_their_customer_answers_as": f"""
        {_ROOTS}
        select not exists ({_MISPLACED})""",
    "nothing_belongs_to_a_merged_customer": f"""
        select not exists ({_OF_THE_MERGED})""",
}
