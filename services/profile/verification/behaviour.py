"""What verify asks about contacts, tags, referrals and region sets. Activities are kept for a time only, which is the
clock's affair: they are in no state."""

from collections.abc import Callable


def state(name: Callable[[str], str]) -> dict[str, str]:
    """The state by natural keys; ``name`` gives the SQL of a customer's."""
    return {
        "interactions": f"""
            select concat_ws('|', coalesce(i.source, '-'), coalesce(i.external_id, '-'), {name("i.customer_id")}, i.kind,
                i.direction, coalesce(i.channel, '-'), coalesce(i.store, '-'), coalesce(i.staff_id, '-'),
                coalesce(i.outcome, '-'), i.notes_sealed is not null, i.next_step_due_at is not null,
                i.next_step_done_at is not null) as row from interaction i""",
        "tags": f"""
            select concat_ws('|', {name("t.customer_id")}, t.tag, t.source, coalesce(extract(epoch from t.expires_at), 0))
                as row from customer_tag t""",
        "referrals": f"""
            select concat_ws('|', {name("p.customer_id")}, {name("e.customer_id")}, r.state, r.flags::text,
                coalesce(r.review, '-')) as row
            from referral r
            join referral_party p on p.referral_id = r.referral_id and p.role = 'referrer'
            join referral_party e on e.referral_id = r.referral_id and e.role = 'referee'""",
        "region_places": """
            select concat_ws('|', s.name, s.kind, p.area, p.country, p.region, p.city) as row
            from region_set s join region_place p on p.region_set = s.name""",
    }


INVARIANTS: dict[str, str] = {
    "tags_are_what_their_reasons_add_up_to": """
        select not exists (
            select from customer c left join (
                select customer_id, array_agg(distinct tag collate "C" order by tag collate "C") as tags
                from customer_tag group by customer_id
            ) t using (customer_id)
            where c.state = 'active' and c.tags <> coalesce(t.tags, '{}')
        )""",
    "tags_are_where_their_history_ends": """
        select not exists (
            select from (
                select distinct on (recorded_customer_id, tag, source) recorded_customer_id, tag, source, action
                from tag_change order by recorded_customer_id, tag, source, change_id desc
            ) h full join customer_tag t using (recorded_customer_id, tag, source)
            where (h.action = 'added') is distinct from (t.customer_id is not null)
        )""",
    "referrals_have_two_sides": """
        select not exists (
            select from referral r left join referral_party p using (referral_id)
            group by r.referral_id having count(p.role) <> 2
        )""",
}
