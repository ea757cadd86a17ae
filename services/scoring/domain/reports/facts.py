"""Facts before a moment, of the customers meant, as reports ask for them."""

# Purchases, with what is left of them by :as_of. Returns are looked up only where there are any and some may lie after it.
BOUGHT = """
    select p.purchase_id, p.customer_id, p.occurred_at, p.amount_minor,
           p.amount_minor - case when p.returned_minor = 0 then 0 when :complete then p.returned_minor else (
               select coalesce(sum(r.amount_minor), 0) from purchase_return r
               where r.purchase_id = p.purchase_id and r.occurred_at < :as_of) end as left_minor
    from purchase p join ({members}) meant using (customer_id)
    where p.occurred_at < :as_of"""

RETURNED = """
    select r.customer_id, r.occurred_at, r.amount_minor
    from purchase_return r join ({members}) meant using (customer_id)
    where r.occurred_at < :as_of"""

# Nothing lies at or after :as_of: what is kept current with every fact is as of then.
COMPLETE = "select not exists (select from metrics where last_fact_at >= :as_of)"
