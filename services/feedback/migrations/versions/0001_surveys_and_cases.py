"""Surveys, invitations, answers, satisfaction and cases."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
create table customer (
    customer_id uuid not null constraint pk_customer primary key,
    natural_key text not null default '-',
    kind text not null default 'unknown',
    country text,
    language text,
    time_zone text,
    state text not null default 'active',
    merged_into uuid,
    registered_at timestamptz
);

create table customer_tier (
    customer_id uuid not null constraint pk_customer_tier primary key,
    tier text not null,
    effective_at timestamptz not null
);

create table survey (
    survey_id uuid not null constraint pk_survey primary key,
    name text not null,
    measure text not null constraint ck_survey_measure check (measure in ('nps')),
    trigger text not null,
    titles jsonb not null,
    throttle_days integer not null,
    delay_minutes integer not null,
    answer_days integer not null,
    state text not null constraint ck_survey_state check (state in ('active', 'paused')),
    active_since timestamptz not null,
    version integer not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint ck_survey_durations check (throttle_days >= 0 and delay_minutes >= 0 and answer_days > 0)
);
create index ix_survey_created_at on survey (created_at, survey_id);

create table invitation (
    invitation_id uuid not null constraint pk_invitation primary key,
    survey_id uuid not null constraint fk_invitation_survey_id references survey (survey_id),
    customer_id uuid not null,
    recorded_customer_id uuid not null,
    purchase_id uuid not null,
    channel text not null,
    invited_at timestamptz not null,
    due_at timestamptz not null,
    expires_at timestamptz not null,
    announced boolean not null,
    constraint uq_invitation_survey_id_purchase_id unique (survey_id, purchase_id)
);
create index ix_invitation_customer_id on invitation (customer_id, invited_at, invitation_id);
create index ix_invitation_survey_id on invitation (survey_id) where announced;
create index ix_invitation_due_at on invitation (due_at) where not announced;

create table answer (
    answer_id uuid not null constraint pk_answer primary key,
    invitation_id uuid not null
        constraint fk_answer_invitation_id references invitation (invitation_id)
        constraint uq_answer_invitation_id unique,
    survey_id uuid not null constraint fk_answer_survey_id references survey (survey_id),
    customer_id uuid not null,
    recorded_customer_id uuid not null,
    score smallint not null constraint ck_answer_score check (score between 0 and 10),
    comment bytea,
    language text not null,
    answered_at timestamptz not null
);
create index ix_answer_survey_id on answer (survey_id, answered_at, answer_id);
create index ix_answer_customer_id on answer (customer_id, answered_at, answer_id);

create table satisfaction (
    customer_id uuid not null constraint pk_satisfaction primary key,
    measure text not null,
    satisfaction text not null constraint ck_satisfaction_satisfaction
        check (satisfaction in ('promoter', 'passive', 'detractor', 'unknown')),
    score smallint,
    previous text not null,
    since timestamptz not null
);

create table response_promise (
    tier text not null constraint pk_response_promise primary key,
    hours integer not null constraint ck_response_promise_hours check (hours > 0)
);
insert into response_promise (tier, hours)
values ('platinum', 4), ('gold', 8), ('silver', 24), ('standard', 48), ('none', 48);

create sequence case_number start 1001;

create table customer_case (
    case_id uuid not null constraint pk_customer_case primary key,
    number text not null constraint uq_customer_case_number unique,
    customer_id uuid not null,
    recorded_customer_id uuid not null,
    category text not null,
    severity text not null,
    channel text not null,
    state text not null constraint ck_customer_case_state check (state in ('open', 'resolved')),
    subject bytea not null,
    purchase_id uuid,
    answer_id uuid
        constraint fk_customer_case_answer_id references answer (answer_id)
        constraint uq_customer_case_answer_id unique,
    tier text,
    opened_at timestamptz not null,
    opened_by text,
    first_response_due_at timestamptz not null,
    first_responded_at timestamptz,
    resolved_at timestamptz,
    reopened_count integer not null default 0,
    version integer not null default 1,
    updated_at timestamptz not null,
    constraint ck_customer_case_resolved_at check ((state = 'resolved') = (resolved_at is not null))
);
create index ix_customer_case_opened_at on customer_case (opened_at, case_id);
create index ix_customer_case_customer_id on customer_case (customer_id, opened_at, case_id);
create index ix_customer_case_state on customer_case (state, opened_at, case_id);
create index ix_customer_case_first_response_due_at on customer_case (first_response_due_at)
    where state = 'open' and first_responded_at is null;

create table case_message (
    message_id uuid not null constraint pk_case_message primary key,
    case_id uuid not null constraint fk_case_message_case_id references customer_case (case_id),
    recorded_customer_id uuid not null,
    kind text not null constraint ck_case_message_kind check (kind in ('customer', 'reply', 'note')),
    body bytea not null,
    author text,
    written_at timestamptz not null
);
create index ix_case_message_case_id on case_message (case_id, written_at, message_id);

create table held_back (
    trigger text not null,
    reason text not null,
    count bigint not null,
    constraint pk_held_back primary key (trigger, reason)
);
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute(
        "drop table held_back, case_message, customer_case, response_promise, satisfaction, answer, invitation,"
        " survey, customer_tier, customer"
    )
    op.execute("drop sequence case_number")
