"""What happens to facts, metrics, scores and tiers when customers are merged, unmerged or erased.

Facts go where they belong now and metrics are made again from them, for both sides. A tier is no fact: a customer's own
rests while it takes part in a merge (``tier_resting``), as the merged customer's is the root's. Whoever stands alone
again, or loses a part, begins with the tier that rested and rises at once to what the facts that are left deserve; what
is announced is the difference to what was announced last.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.scoring.domain import calibrations, clusterings, facts, outlooks, scores
from services.scoring.domain.calibrations import Calibration
from services.scoring.domain.causes import Cause
from services.scoring.tables import customer
from shared import merges
from shared.events.envelope import Event
from shared.events.profile import CustomerErased
from shared.events.scoring import ErasureCompletedInScoring, TierChanged
from shared.merges import Merge, Moves
from shared.messaging.outbox import announce

FACTS = ("purchase", "purchase_return", "satisfaction", "alert_customer", "acquisition")


def follow(session: Session, events: Sequence[Merge]) -> None:
    calibrations.enter(session)
    moves = merges.follow(session, customer, events)
    if moves is None or not moves.moved:
        return
    calibration = calibrations.current(session)
    if calibration is not None:
        # Not the erased: their numbers are nobody's score.
        scores.catch_up(session, calibration, [each for each in moves.sides if each not in moves.erased])
    merges.move(session, FACTS, moves)
    facts.derive(session, moves.sides)
    _rest_tiers(session, moves)
    owners = set(moves.after.values())
    session.execute(
        text("""
            delete from score where customer_id = any(cast(:sides as uuid[]))
                and (customer_id = any(cast(:merged as uuid[]))
                     or not exists (select from metrics m where m.customer_id = score.customer_id))
        """),
        {"sides": moves.sides, "merged": [each for each in moves.sides if each not in owners]},
    )
    outlooks.forget_unscored(session, moves.sides)
    clusterings.forget(session, moves.sides)
    if calibration is not None:
        standing = [each for each in moves.sides if each in owners and each not in moves.erased]
        _score(session, calibration, standing, moves)


def erase(session: Session, events: Sequence[CustomerErased]) -> None:
    """The numbers stay, as nobody's; what was thought about the person goes."""
    calibrations.enter(session)
    erased = merges.erase(session, customer, events)
    for name in (
        "score", "outlook", "stage_change", "tier", "tier_resting", "tier_change", "manual_tier", "backtest_example", "trait",
    ):  # fmt: skip
        session.execute(
            text(f"delete from {name} where customer_id = any(cast(:ids as uuid[]))"), {"ids": erased}
        )
    clusterings.forget(session, erased)
    for name in ("satisfaction", "alert_customer", "acquisition"):
        session.execute(
            text(f"delete from {name} where recorded_customer_id = any(cast(:ids as uuid[]))"),
            {"ids": erased},
        )
    merges.announce_erased(session, ErasureCompletedInScoring, events, erased)


def _rest_tiers(session: Session, moves: Moves) -> None:
    """Lay the tiers of those to rest who begin to take part in a merge, and bring back those that rested."""
    before, after = moves.members(moves.before), moves.members(moves.after)
    concerned = set(moves.sides) | set(moves.moved)
    apart = {each for each in concerned if len(after.get(each, ())) == 1}
    joined = {each for each in concerned if len(before.get(each, ())) == 1} - apart
    lost_a_part = {each for each in after if before.get(each, set()) - after[each]} & concerned
    became_a_root = {each for each in after if each not in before} & concerned
    merged = {each for each in concerned if each not in after}
    ids = {
        "joined": sorted(joined),
        "returning": sorted(lost_a_part | became_a_root),
        "merged": sorted(merged),
        "apart": sorted(apart),
    }
    session.execute(_REST, ids)
    session.execute(_WAKE, ids)
    session.execute(_HOLD, ids)
    session.execute(_CLEAR, ids)


def _score(session: Session, calibration: Calibration, customer_ids: Sequence[UUID], moves: Moves) -> None:
    causes = {each: _cause(moves.cause_of(each)) for each in customer_ids}
    scores.score_customers(session, calibration, customer_ids, causes.__getitem__, raise_quietly=True)
    tiers = calibration.policy.tiers
    session.execute(
        _LOWEST,
        {"ids": list(customer_ids), "lowest": tiers[0].code, "version": calibration.policy.version},
    )
    differences = session.execute(_DIFFERENCES, {"ids": list(customer_ids), "lowest": tiers[0].code})
    told = [(row, causes[row.customer_id]) for row in differences]
    if not told:
        return
    session.execute(
        _TELL,
        {
            "customers": [row.customer_id for row, _ in told],
            "tiers": [row.tier for row, _ in told],
            "previous": [row.previous_tier for row, _ in told],
            "effective": [cause.effective_at for _, cause in told],
            "as_of": [row.as_of or calibration.as_of for row, _ in told],
            "version": calibration.policy.version,
        },
    )
    announce(
        session,
        *(
            cause.led_to(
                TierChanged(
                    customer_id=row.customer_id,
                    tier=row.tier,
                    previous_tier=row.previous_tier,
                    effective_at=cause.effective_at,
                    reason=cause.reason,
                    initial=False,
                    historical=False,
                    as_of=row.as_of or calibration.as_of,
                    policy_version=calibration.policy.version,
                ),
            )
            for row, cause in told
        ),
    )


def _cause(event: Event) -> Cause:
    moment: datetime = event.effective_at  # type: ignore[attr-defined]
    return Cause(reason="merge", effective_at=moment, historical=False, event=event)


_REST = text("""
    insert into tier_resting (customer_id, tier, since, policy_version, downgrade_due_at, manual)
    select customer_id, tier, since, policy_version, downgrade_due_at, manual from tier
    where customer_id = any(cast(:joined as uuid[]))
    on conflict (customer_id) do nothing
""")

# Whoever had none of its own keeps no tier here; if one was announced while merged, _DIFFERENCES says what is left of it.
_WAKE = text("""
    with gone as (
        delete from tier where customer_id = any(cast(:returning as uuid[]) || cast(:merged as uuid[]))
            and not exists (
                select from tier_resting r
                where r.customer_id = tier.customer_id and r.customer_id = any(cast(:returning as uuid[]))))
    insert into tier as t (customer_id, tier, since, policy_version, downgrade_due_at, manual)
    select customer_id, tier, since, policy_version, downgrade_due_at, manual from tier_resting
    where customer_id = any(cast(:returning as uuid[]))
    on conflict (customer_id) do update set tier = excluded.tier, since = excluded.since,
        policy_version = excluded.policy_version, downgrade_due_at = excluded.downgrade_due_at, manual = excluded.manual
""")

# Whoever was given a tier by hand while merged keeps it.
_HOLD = text("""
    with held as (
        select * from manual_tier where customer_id = any(cast(:returning as uuid[])))
    insert into tier as t (customer_id, tier, since, policy_version, manual)
    select customer_id, tier, set_at, (select max(version) from policy), true from held
    on conflict (customer_id) do update set tier = excluded.tier, downgrade_due_at = null, manual = true
""")

_CLEAR = text("delete from tier_resting where customer_id = any(cast(:apart as uuid[]))")

# One to whom a tier was announced keeps one, if only the lowest: there is no word for having none again.
_LOWEST = text("""
    insert into tier (customer_id, tier, since, policy_version)
    select each, :lowest, now(), :version from unnest(cast(:ids as uuid[])) each
    where exists (select from tier_change c where c.customer_id = each)
    on conflict (customer_id) do nothing
""")

# What each has now against what was announced for it last. One who had a tier only while merged is left the lowest.
_DIFFERENCES = text("""
    with now as (
        select each as customer_id, t.tier, s.as_of,
               (select c.tier from tier_change c where c.customer_id = each
                order by c.tier_change_id desc limit 1) as previous_tier
        from unnest(cast(:ids as uuid[])) each
        left join tier t on t.customer_id = each left join score s on s.customer_id = each)
    select customer_id, coalesce(tier, :lowest) as tier, previous_tier, as_of from now
    where coalesce(tier, case when previous_tier is not null then :lowest end) is distinct from previous_tier
    order by customer_id
""")

_TELL = text("""
    with told as (
        insert into tier_change (
            customer_id, tier, previous_tier, effective_at, reason, initial, historical, as_of, policy_version)
        select customer_id, tier, previous, effective_at, 'merge', false, false, as_of, :version from unnest(
            cast(:customers as uuid[]), cast(:tiers as text[]), cast(:previous as text[]),
            cast(:effective as timestamptz[]), cast(:as_of as timestamptz[]))
            as t (customer_id, tier, previous, effective_at, as_of)
        returning customer_id, tier, effective_at)
    insert into tier (customer_id, tier, since, policy_version)
    select customer_id, tier, effective_at, :version from told
    on conflict (customer_id) do nothing
""")
