"""What speaks for one person, or one household, being on both sides of a referral: for a person to look at.

Addresses, numbers and devices are compared by their blind tokens (shared/blind_indexes), postal addresses by opening
those of the two alone.
"""

from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from services.profile.domain import addresses
from services.profile.domain.activities import DEVICE
from services.profile.rules.referrals import same_address
from shared.blind_indexes import blind

# Of an organisation with hundreds of addresses the first ones have to do.
_ADDRESSES = 50


class Sides(NamedTuple):
    referrer_id: UUID
    referee_id: UUID
    referred_at: datetime


_SHARED = text(
    """
    with trees as (
        select 'referrer' as role, customer_id from customer
        where customer_id = :referrer_id or merged_into = :referrer_id
        union all
        select 'referee', customer_id from customer where customer_id = :referee_id or merged_into = :referee_id
    ), tokens as (
        select t.role, c.field, c.token from trees t join customer_token c using (customer_id)
        where c.field in ('email', 'phone')
    ), devices as (
        (select 'referrer' as role, device_token from activity
         where customer_id = :referrer_id and device_token is not null order by occurred_at desc limit 1000)
        union all
        (select 'referee', device_token from activity
         where customer_id = :referee_id and device_token is not null order by occurred_at desc limit 1000)
        union all
        select t.role, d.device_token from trees t join device_session d using (customer_id)
        union all
        select 'referee', cast(:device as bytea) where cast(:device as bytea) is not null
    )
    select distinct 'same_' || a.field as flag from tokens a join tokens b using (field, token)
    where a.role = 'referrer' and b.role = 'referee'
    union
    select 'same_device' from devices a join devices b using (device_token)
    where a.role = 'referrer' and b.role = 'referee'
    union
    select 'existing_customer' from purchase where customer_id = :referee_id and occurred_at < :referred_at
        and accounting_total_minor > accounting_returned_minor
    union
    select 'over_limit' from (
        select count(*) as referrals from referral_party p join referral r using (referral_id)
        where p.customer_id = :referrer_id and p.role = 'referrer' and r.recorded_at > :period_began
            and r.state <> 'voided' and not 'over_limit' = any(r.flags)
    ) n where n.referrals >= cast(:most as int)
    """
)


def of(
    session: Session, sides: Sides, device_id: str | None, terms: Row[Any], now: datetime
) -> tuple[list[str], bytes | None]:
    """The flags of a referral that is being recorded, and the token of the referee's device."""
    device = None if device_id is None else blind(session, DEVICE, device_id.strip())
    if sides.referrer_id == sides.referee_id:
        return ["self_referral"], device
    values = sides._asdict() | {
        "device": device,
        "period_began": now - timedelta(days=terms.period_days),
        "most": terms.most_per_period,
    }
    flags = set(session.scalars(_SHARED, values))
    if _share_an_address(session, sides):
        flags.add("same_address")
    return sorted(flags), device


def _share_an_address(session: Session, sides: Sides) -> bool:
    books = []
    for customer_id in (sides.referrer_id, sides.referee_id):
        rows = addresses.of_customer(session, customer_id)[:_ADDRESSES]
        books.append(addresses.shown(session, rows, clear=True))
    return any(same_address(one, other) for one in books[0] for other in books[1])
