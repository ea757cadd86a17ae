"""What ``verify`` asks of this database: what must hold whatever happened, and the state by natural keys."""

from services.campaigns.domain.merges import FACTS
from shared.merges import everything_is_with_its_owner

INVARIANTS = {
    "points_sum_zero": "select coalesce(sum(points), 0) = 0 from posting",
    "movements_balanced": """
        select not exists (
            select from movement m full join (
                select movement_id, sum(points) as points, count(*) as postings,
                    count(*) filter (where account = 'customer') as customers
                from posting group by movement_id
            ) p using (movement_id)
            where m.movement_id is null or p.movement_id is null
                or p.points <> 0 or p.postings < 2 or p.customers <> 1
        )
    """,
    "balance_equals_entries": """
        select not exists (
            select from points_account a full join (
                select customer_id, sum(points) as points from posting where account = 'customer' group by customer_id
            ) p using (customer_id)
            where coalesce(a.balance, 0) <> coalesce(p.points, 0)
        )
    """,
    "own_points_equal_entries": """
        select not exists (
            select from points_account a full join (
                select m.recorded_customer_id as customer_id, sum(p.points) as points
                from movement m join posting p using (movement_id)
                where p.account = 'customer' and m.kind <> 'transferred' group by m.recorded_customer_id
            ) p using (customer_id)
            where coalesce(a.own_points, 0) <> coalesce(p.points, 0)
        )
    """,
    # What is handed over arrives: the transfer account is empty, and who was merged has nothing.
    "points_are_with_their_owners": """
        select coalesce((select sum(points) from posting where account = 'transfer'), 0) = 0
            and not exists (
                select from points_account a join customer c using (customer_id)
                where c.merged_into is not null and a.balance <> 0)
    """,
    "facts_are_with_their_owners": everything_is_with_its_owner("customer", FACTS),
    "purchase_points_equal_entries": """
        select not exists (
            select from (select 'purchase:' || purchase_id as source, points from purchase where points <> 0) b
            full join (
                select m.source, sum(p.points) as points
                from movement m join posting p using (movement_id)
                where p.account = 'customer' and starts_with(m.source, 'purchase:') group by m.source
            ) e using (source)
            where coalesce(b.points, 0) <> coalesce(e.points, 0)
        )
    """,
    "stock_never_negative": "select not exists (select from reward where stock < 0)",
    "redemptions_equal_stock_taken": """
        select not exists (
            select from reward r left join (
                select reward_id, count(*) as redeemed from redemption group by reward_id
            ) d using (reward_id)
            where r.redeemed_count <> coalesce(d.redeemed, 0)
        )
    """,
}

# Net points, not how they were split into entries: a late tier books a correction that a prompt one does not need.
STATE = {
    "balances": """
        select c.natural_key || '|' || a.balance from points_account a join customer c using (customer_id)
        where a.balance <> 0
    """,
    "purchase_points": """
        select concat_ws('|', c.natural_key, p.source, p.external_id, p.total_minor, p.points)
        from purchase p join customer c using (customer_id) where p.total_minor is not null
    """,
    "unmatched_returns": """
        select concat_ws('|', c.natural_key, u.source, u.external_id, u.points)
        from unmatched_return u join customer c using (customer_id)
    """,
    "redemptions": """
        select concat_ws('|', c.natural_key, r.name, d.points)
        from redemption d join reward r using (reward_id) join customer c on c.customer_id = d.customer_id
    """,
    "offers": """
        select concat_ws('|', c.natural_key, o.campaign_id, o.kind, o.percent, o.tier)
        from offer o join customer c using (customer_id)
    """,
    "promotion_pauses": """
        select concat_ws('|', c.natural_key, p.satisfaction, p.paused)
        from promotion_pause p join customer c on c.customer_id = p.recorded_customer_id
    """,
}
