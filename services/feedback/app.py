"""The feedback service: what it consists of."""

from pathlib import Path

from services.feedback import jobs, reactions
from services.feedback.domain.merges import FACTS
from services.feedback.settings import FeedbackSettings
from services.feedback.tables import metadata
from shared.merges import everything_is_with_its_owner
from shared.service import Service

# Whose it is, by natural key: ids differ between two deployments that were told the same.
_WHOSE = "left join customer c on c.customer_id = x.customer_id"

# Invitations are counted, not listed: which of two purchases at once asked the customer is nobody's promise. Of those who
# ever took part in a merge not even that: whether one's throttle held the other back depends on what was heard first.
STATE = {
    "customers": (
        "select concat_ws('|', natural_key, kind, country, language, time_zone, state) as row from customer"
        " where registered_at is not null or state <> 'active'"
    ),
    "tiers": f"select concat_ws('|', c.natural_key, x.tier) as row from customer_tier x {_WHOSE}",
    "surveys": "select concat_ws('|', name, measure, trigger, throttle_days, delay_minutes, state) as row from survey",
    "invitations": (
        f"select concat_ws('|', c.natural_key, s.name, count(*)) as row from invitation x {_WHOSE}"
        " join survey s on s.survey_id = x.survey_id where not coalesce(c.merged_ever, false) group by c.natural_key, x.customer_id, s.name"
    ),
    "answers": (
        f"select concat_ws('|', c.natural_key, s.name, x.score) as row from answer x {_WHOSE}"
        " join survey s on s.survey_id = x.survey_id"
    ),
    "satisfaction": (
        "select concat_ws('|', c.natural_key, x.satisfaction, x.score) as row from satisfaction x"
        " left join customer c on c.customer_id = x.recorded_customer_id"
    ),
    "cases": (
        "select concat_ws('|', c.natural_key, x.category, x.severity, x.channel, x.state, x.reopened_count,"
        " (select count(*) from case_message m where m.case_id = x.case_id and m.kind = 'reply')) as row"
        f" from customer_case x {_WHOSE}"
    ),
}

INVARIANTS = {
    "facts_are_with_their_owners": everything_is_with_its_owner("customer", FACTS),
    "detractors_have_a_case": (
        "select not exists (select from answer a where a.score <= 6"
        " and not exists (select from customer_case c where c.answer_id = a.answer_id))"
    ),
    "satisfaction_follows_answers": (
        "select not exists (select from answer a where not exists"
        " (select from satisfaction s where s.recorded_customer_id = a.recorded_customer_id and s.score in"
        " (select score from answer o where o.recorded_customer_id = a.recorded_customer_id))"
        " and not exists (select from customer c where c.customer_id = a.recorded_customer_id"
        " and c.state = 'erased'))"
    ),
    "answers_are_by_the_invited": (
        "select not exists (select from answer a join invitation i on i.invitation_id = a.invitation_id"
        " where a.survey_id <> i.survey_id or a.recorded_customer_id <> i.recorded_customer_id)"
    ),
}

SERVICE = Service(
    name="feedback",
    metadata=metadata,
    migrations=Path(__file__).parent / "migrations",
    api="services.feedback.api",
    settings=FeedbackSettings,
    consumers=(reactions.CONSUMER,),
    steps=jobs.STEPS,
    state=STATE,
    invariants=INVARIANTS,
)
