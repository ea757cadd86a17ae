"""What ``verify`` asks profile's database: its state by natural keys, and what must always be true of it.

Ids, processing times and what depends on the clock stay out of the state, so that two deployments that were told the
same facts agree. Rows are compared bytewise, whatever the cluster's collation.
"""

from services.profile.verification import behaviour, merges

_NAME = """coalesce((select min((x.source || ':' || x.external_id) collate "C") from customer_external_id x
    where x.customer_id = {customer_id}), case when {customer_id} is null then 'anonymous' else '-' end)"""


def _name(customer_id: str) -> str:
    return _NAME.format(customer_id=customer_id)


STATE: dict[str, str] = {
    "customers": f"""
        select concat_ws('|', {_name("c.customer_id")},
            (select string_agg((x.source || ':' || x.external_id) collate "C", ',' order by
                (x.source || ':' || x.external_id) collate "C") from customer_external_id x
                where x.customer_id = c.customer_id),
            c.kind, coalesce(c.country, '-'), coalesce(c.region, '-'), coalesce(c.language, '-'),
            coalesce(c.time_zone, '-'), coalesce(c.birth_month_day, '-'), coalesce(c.acquisition_channel, '-'),
            c.tags::text, c.state, c.name_sealed is not null, c.email_sealed is not null, c.phone_sealed is not null
        ) as row from customer c""",
    "purchases": f"""
        select concat_ws('|', p.source, p.external_id, {_name("p.customer_id")}, extract(epoch from p.occurred_at),
            p.currency, coalesce(p.exchange_rate, 1), coalesce(p.channel, '-'), coalesce(p.store, '-'),
            coalesce(p.staff_id, '-'), coalesce(p.tender, '-'), coalesce(p.campaign_id, '-'), p.coupon_codes::text,
            p.total_minor, p.accounting_total_minor, p.returned_minor, p.accounting_returned_minor
        ) as row from purchase p""",
    "cancellations": """
        select concat_ws('|', p.source, p.external_id, extract(epoch from c.occurred_at), coalesce(c.reason, '-'),
            c.amount_minor, c.accounting_amount_minor
        ) as row from purchase_cancellation c join purchase p using (purchase_id)""",
    "fulfilments": """
        select concat_ws('|', p.source, p.external_id, coalesce(extract(epoch from f.shipped_at), 0),
            coalesce(extract(epoch from f.delivered_at), 0), coalesce(f.promised_on::text, '-'),
            coalesce(f.carrier, '-'), f.tracking_number_sealed is not null
        ) as row from fulfilment f join purchase p using (purchase_id)""",
    "products": """
        select concat_ws('|', sku, coalesce(name_zh, '-'), coalesce(name_en, '-'), coalesce(brand, '-'),
            coalesce(category, '-'), coalesce(price_minor, -1), coalesce(currency, '-'), coalesce(stock::text, '-'),
            replenishable, coalesce(accessory_of, '-'), active, complete
        ) as row from product""",
    "purchase_lines": """
        select concat_ws('|', p.source, p.external_id, l.line, l.sku, coalesce(l.description, '-'),
            coalesce(l.brand, '-'), coalesce(l.category, '-'), l.quantity, trim_scale(l.unit_price), l.discount_minor,
            l.amount_minor, l.accounting_amount_minor, coalesce(l.unit_cost_minor, -1), l.returned_quantity
        ) as row from purchase_line l join purchase p using (purchase_id)""",
    "returns": f"""
        select concat_ws('|', r.source, r.external_id, {_name("r.customer_id")}, coalesce(p.source, '-'),
            coalesce(p.external_id, '-'), extract(epoch from r.occurred_at), r.currency, coalesce(r.exchange_rate, 1),
            r.amount_minor, r.accounting_amount_minor
        ) as row from purchase_return r left join purchase p on p.purchase_id = r.purchase_id""",
    "return_lines": """
        select concat_ws('|', r.source, r.external_id, l.position, coalesce(l.line, 0), l.sku, l.quantity,
            coalesce(trim_scale(l.unit_price), -1), l.amount_minor, l.accounting_amount_minor
        ) as row from purchase_return_line l join purchase_return r using (return_id)""",
    "consents": f"""
        select concat_ws('|', {_name("s.customer_id")}, s.purpose, s.channel, s.state) as row from (
            select distinct on (customer_id, purpose, channel) customer_id, purpose, channel, state from consent
            where state <> 'expired'
            order by customer_id, purpose, channel, in_force_from desc, (state = 'granted'), state desc, expires_at, number desc
        ) s""",
} | behaviour.state(_name)

INVARIANTS: dict[str, str] = {
    "purchase_totals_are_sums_of_lines": """
        select not exists (
            select from purchase p left join (
                select purchase_id, sum(amount_minor) as amount, sum(accounting_amount_minor) as accounting
                from purchase_line group by purchase_id
            ) l using (purchase_id)
            where (p.total_minor, p.accounting_total_minor) is distinct from (l.amount, l.accounting)
        )""",
    "return_amounts_are_sums_of_lines": """
        select not exists (
            select from purchase_return r left join (
                select return_id, sum(amount_minor) as amount, sum(accounting_amount_minor) as accounting
                from purchase_return_line group by return_id
            ) l using (return_id)
            where (r.amount_minor, r.accounting_amount_minor) is distinct from (l.amount, l.accounting)
        )""",
    "returned_amounts_are_sums_of_returns_and_cancellations": """
        select not exists (
            select from purchase p left join (
                select purchase_id, sum(amount_minor) as amount, sum(accounting_amount_minor) as accounting
                from (
                    select purchase_id, amount_minor, accounting_amount_minor from purchase_return
                    where purchase_id is not null
                    union all
                    select purchase_id, amount_minor, accounting_amount_minor from purchase_cancellation
                ) back group by purchase_id
            ) r using (purchase_id)
            where (p.returned_minor, p.accounting_returned_minor)
                is distinct from (coalesce(r.amount, 0), coalesce(r.accounting, 0))
        )""",
    "cancelled_purchases_are_worth_nothing": """
        select not exists (
            select from purchase p full join purchase_cancellation c using (purchase_id)
            where p.cancelled_at is distinct from c.occurred_at
                or (p.cancelled_at is not null and p.returned_minor <> p.total_minor)
        )""",
    "nothing_returned_beyond_what_was_bought": """
        select not exists (
            select from purchase_line b left join (
                select r.purchase_id, l.line, sum(l.quantity) as quantity, sum(l.amount_minor) as amount
                from purchase_return_line l join purchase_return r using (return_id)
                where r.purchase_id is not null group by r.purchase_id, l.line
            ) r using (purchase_id, line)
            where b.returned_quantity <> coalesce(r.quantity, 0) or b.returned_quantity > b.quantity
                or coalesce(r.amount, 0) > b.amount_minor
                or (b.returned_quantity = b.quantity and coalesce(r.amount, 0) <> b.amount_minor)
        )""",
    "amounts_agree_in_the_accounting_currency": """
        select not exists (
            select from purchase p where p.exchange_rate is null
                and (p.currency, p.total_minor) is distinct from
                    ((select currency from accounting), p.accounting_total_minor)
        )""",
} | merges.INVARIANTS
INVARIANTS |= behaviour.INVARIANTS
