"""Long work of profile: its jobs by kind, and what happens at set times."""

from sqlalchemy import func, select

from services.profile.domain import activities, duplicates, referrals, upkeep
from services.profile.jobs.exports import forget_exports, write_export
from services.profile.jobs.fetches import fetch_imports
from services.profile.jobs.import_records import import_records_of_a_kind
from services.profile.jobs.imports import forget_abandoned_imports, import_purchases
from services.profile.jobs.rights import gather_personal_data
from services.profile.jobs.tags import change_tags, evaluate_tag_rule, evaluate_tag_rules, expire_tags
from services.profile.rules.import_kinds import KINDS
from shared.jobs.runner import JobFunction
from shared.jobs.schedule import Context, Scheduled

# Deleted in one transaction, so that no lock is held for long.
ACTIVITIES_FORGOTTEN = 10_000


def forget_activities(context: Context) -> None:
    """What is older than the setting keeps it, in portions that commit by themselves."""
    while True:
        with context.sessions.begin() as session:
            if activities.forget_old(session, ACTIVITIES_FORGOTTEN) < ACTIVITIES_FORGOTTEN:
                return


def assess_customers(context: Context, size: int = 1_000) -> None:
    """Hold every customer against what is expected now, where that changed since the last time; may run again."""
    with context.sessions.begin() as session:
        kinds = upkeep.outdated_kinds(session)
    for kind in kinds:
        with context.sessions.begin() as session:
            held = upkeep.standard(session)
        after, more = None, True
        while more:
            with context.sessions.begin() as session:
                after = upkeep.assess_some(session, held, kind, after, size)
            more = after is not None
        with context.sessions.begin() as session:
            upkeep.note_assessed(session, kind, held.digest(kind))


def void_overdue_referrals(context: Context, size: int = 1_000) -> None:
    """Who was brought and bought nothing in time."""
    seen = size
    while seen == size:
        with context.sessions.begin() as session:
            seen = referrals.sweep(session, size, session.execute(select(func.now())).scalar_one())


def find_duplicates(context: Context) -> None:
    """Customers who might be one, for a person to decide."""
    with context.sessions.begin() as session:
        duplicates.find_all(session, session.execute(select(func.now())).scalar_one())


JOBS: dict[str, JobFunction] = {
    "access_request": gather_personal_data,
    "export": write_export,
    "import_purchases": import_purchases,
    **{f"import_{kind}": import_records_of_a_kind for kind in KINDS},
    "change_tags": change_tags,
    "evaluate_tag_rule": evaluate_tag_rule,
}
SCHEDULE = (
    Scheduled("find_duplicates", "30 2 * * *", find_duplicates),
    Scheduled("assess_customers", "*/5 * * * *", assess_customers),
    Scheduled("forget_abandoned_imports", "40 3 * * *", forget_abandoned_imports),
    Scheduled("forget_exports", "25 * * * *", forget_exports),
    Scheduled("fetch_imports", "*/15 * * * *", fetch_imports),
    Scheduled("forget_activities", "10 3 * * *", forget_activities),
    Scheduled("evaluate_tag_rules", "20 * * * *", evaluate_tag_rules),
    Scheduled("expire_tags", "*/15 * * * *", expire_tags),
    Scheduled("void_overdue_referrals", "50 2 * * *", void_overdue_referrals),
)
