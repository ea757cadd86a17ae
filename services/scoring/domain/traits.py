"""What profile says of customers beside who they are: where they live, how they came, how they are tagged."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.scoring.tables import customer
from shared.customers import lock_owners
from shared.events.profile import CustomerFacts
from shared.events.profile_behaviour import TagsChanged

# Tags one by one: arrays of several lengths are no rectangle, and Postgres has no others.
_KEEP = text("""
    insert into trait (customer_id, kind, country, region, acquisition_channel, tags, registered_at)
    select f.customer_id, f.kind, f.country, f.region, f.channel, array(
               select g.tag from unnest(cast(:tagged as uuid[]), cast(:tags as text[])) as g (customer_id, tag)
               where g.customer_id = f.customer_id order by g.tag), f.registered_at
    from unnest(
        cast(:ids as uuid[]), cast(:kinds as text[]), cast(:countries as text[]), cast(:regions as text[]),
        cast(:channels as text[]), cast(:registered as timestamptz[]))
        as f (customer_id, kind, country, region, channel, registered_at)
    join customer c on c.customer_id = f.customer_id and c.state <> 'erased'
    order by f.customer_id
    on conflict (customer_id) do update set kind = excluded.kind, country = excluded.country, region = excluded.region,
        acquisition_channel = excluded.acquisition_channel, tags = excluded.tags, registered_at = excluded.registered_at
""")


def keep(session: Session, events: Sequence[CustomerFacts]) -> None:
    """The last word about each (locked) customer; nothing of one who was erased."""
    latest = {event.customer_id: event for event in events}
    told = [latest[each] for each in sorted(latest)]
    session.execute(
        _KEEP,
        {
            "ids": [each.customer_id for each in told],
            "kinds": [each.kind for each in told],
            "countries": [each.country for each in told],
            "regions": [each.region for each in told],
            "channels": [each.acquisition_channel for each in told],
            "registered": [each.registered_at for each in told],
            "tagged": [each.customer_id for each in told for _ in each.tags],
            "tags": [tag for each in told for tag in each.tags],
        },
    )


def keep_tags(session: Session, events: Sequence[TagsChanged]) -> None:
    """The tags that hold now; what comes late for an erased customer finds nothing to change."""
    latest = {event.customer_id: event for event in events}
    lock_owners(session, customer, latest)
    session.execute(
        text(
            "update trait set tags = array(select unnest(cast(:tags as text[])) order by 1) where customer_id = :id"
        ),
        [{"id": each, "tags": list(latest[each].tags)} for each in sorted(latest)],
    )
